import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { scan } from '../reference/scan.ts';
import { expectClose } from '../run-kernel.ts';
import { randomScan, runScan, type ScanOptions } from '../scan-cases.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

const variants = {
  'with subgroups': undefined,
  'without subgroups, on the smallest limits': {
    subgroups: false,
    limits: {
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16384,
      maxStorageBufferBindingSize: 1 << 27,
    },
  },
  'with as many threads as on a GPU': { scanThreads: 128 },
};

// Few different sizes, because every one is compiled anew.
const shapes: Record<string, ScanOptions> = {
  'one token': { D: 5, N: 3, offsets: [0, 1], K: 16 },
  'K = 4': { D: 5, N: 3, offsets: [0, 37], K: 4 },
  'K = 3, packed': { D: 5, N: 3, offsets: [0, 1, 5, 40, 47], K: 3 },
  'K = 16, several chunks': { D: 5, N: 3, offsets: [0, 1100], K: 16 },
  'K = 16, packed, reversed': { D: 5, N: 3, offsets: [0, 5, 37, 38, 100, 155], K: 16, reversed: true },
  'K = 64, a whole bag in pieces': { D: 5, N: 3, offsets: [0, 50, 110], K: 64 },
  'K = 50, packed, reversed': { D: 5, N: 3, offsets: [0, 5, 37, 38, 100, 155], K: 50, reversed: true },
  'K = 700, across chunks': { D: 5, N: 3, offsets: [0, 1100, 1300], K: 700 },
  'K longer than the bag, reversed': { D: 5, N: 3, offsets: [0, 1100], K: 5000, reversed: true },
  'K = 16, an even number of states': { D: 5, N: 4, offsets: [0, 150, 700], K: 16 },
  'K = 100, an even number of states': { D: 3, N: 4, offsets: [0, 700], K: 100, reversed: true },
  'K auto, reversed, with state': { D: 5, N: 3, offsets: [0, 130, 420], K: 'auto', reversed: true, state: true },
  'forward only, with state': { D: 5, N: 3, offsets: [0, 90], K: 0, state: true },
  'without skip, gate, bias': { D: 5, N: 3, offsets: [0, 19, 60], K: 4, plain: true },
  'without softplus': { D: 5, N: 3, offsets: [0, 33], K: 4, softplus: false },
};

describe.skipIf(withoutSwiftShader).each(Object.entries(variants))('selective scan in WGSL %s', (_, restrict) => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await openSwiftShader(restrict);
  });
  afterAll(() => device.close());

  // More threads only change what two of them share.
  const those = Object.entries(shapes).filter(
    ([name]) => !(restrict && 'scanThreads' in restrict) || /even/.test(name),
  );
  it.each(those)('%s', { timeout: 120_000 }, async (_, options) => {
    const c = randomScan(options);
    const wanted = scan(c.arguments, options.offsets.length - 1);
    const { y, stateOut } = await runScan(device, c);
    expectClose(y!, wanted.y, 5e-6, 'y');
    expectClose(stateOut!, wanted.stateOut, 5e-6, 'stateOut');
  });

  it('gives the same bits twice', async () => {
    const c = randomScan({ D: 5, N: 3, offsets: [0, 70, 200], K: 16 });
    const [one, two] = [await runScan(device, c), await runScan(device, c)];
    expect(two).toEqual(one);
  });
});
