import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { expectGolden, goldenCases, goldenInput, withoutGolden } from '../golden-cases.ts';
import { scanBackward } from '../reference/scan.ts';
import { expectClose, randomArray } from '../run-kernel.ts';
import { goldenScan, randomScan, runScanBackward, type ScanOptions, sideBySide } from '../scan-cases.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

const variants = {
  'with subgroups': undefined,
  'with the usual 10 buffers, without subgroups': {
    subgroups: false,
    limits: { maxStorageBuffersPerShaderStage: 10 },
  },
  'on the smallest limits': {
    subgroups: false,
    limits: {
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16384,
      maxStorageBufferBindingSize: 1 << 27,
    },
  },
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
  'K auto, reversed': { D: 5, N: 3, offsets: [0, 130, 420], K: 'auto', reversed: true },
  'forward only': { D: 5, N: 3, offsets: [0, 90], K: 0 },
  'without skip, gate, bias': { D: 5, N: 3, offsets: [0, 19, 60], K: 4, plain: true },
  'without softplus': { D: 5, N: 3, offsets: [0, 33], K: 4, softplus: false },
};

const names = ['du', 'ddelta', 'dA', 'dB', 'dC', 'dskip', 'dz', 'ddeltaBias'] as const;
const added = ['dA', 'dskip', 'ddeltaBias'];

describe.skipIf(withoutSwiftShader).each(Object.entries(variants))('scan backward in WGSL %s', (_, restrict) => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await openSwiftShader(restrict);
  });
  afterAll(() => device.close());

  // The usual number of buffers only changes where things lie: one shape will do.
  const those = Object.entries(shapes).filter(
    ([name]) => restrict?.limits.maxStorageBuffersPerShaderStage !== 10 || /packed/.test(name),
  );
  it.each(those)('%s', { timeout: 120_000 }, async (_, options) => {
    const c = randomScan(options);
    const dy = randomArray(99, c.arguments.D * c.arguments.L);
    const wanted = scanBackward(c.arguments, dy);
    const got = await runScanBackward(device, c, dy, 0.25);
    for (const name of names) {
      if (!got[name]) continue;
      const start = added.includes(name) ? 0.25 : 0;
      expectClose(
        got[name],
        wanted[name].map((v) => v + start),
        1e-5,
        name,
      );
    }
  });

  it('gives the same bits twice', async () => {
    const c = randomScan({ D: 5, N: 3, offsets: [0, 70, 200], K: 16 });
    const dy = randomArray(99, 5 * 200);
    const [one, two] = [await runScanBackward(device, c, dy), await runScanBackward(device, c, dy)];
    expect(two).toEqual(one);
  });
});

describe.skipIf(withoutSwiftShader ?? withoutGolden)(
  `scan and its backward in WGSL on golden data ${withoutSwiftShader ?? withoutGolden ?? ''}`,
  () => {
    let device: WebGpuDevice;
    beforeAll(async () => {
      device = await openSwiftShader();
    });
    afterAll(() => device.close());

    it.each(goldenCases('selective_scan').map((c) => [c.name, c] as const))(
      '%s',
      { timeout: 300_000 },
      async (_, c) => {
        const { B: batch, D, L, N } = c.dims as { B: number; D: number; L: number; N: number };
        const dy = sideBySide(goldenInput(c, 'dy')!, batch, D, L);
        const got = await runScanBackward(device, goldenScan(c), dy);
        for (const name of names) {
          const value = got[name];
          if (!value) continue;
          if (['du', 'ddelta', 'dz'].includes(name)) expectGolden(c, name, sideBySide(value, D, batch, L));
          else if (['dB', 'dC'].includes(name)) expectGolden(c, name, sideBySide(value, N, batch, L));
          else expectGolden(c, { dskip: 'dD', ddeltaBias: 'ddelta_bias' }[name as string] ?? name, value);
        }
      },
    );
  },
);
