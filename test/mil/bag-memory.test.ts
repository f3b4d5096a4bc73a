/** What is said of the memory of a bag, against what it takes; and that too little is said before the work. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import type { Bag } from '../../src/features/bag.ts';
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { availableMemory, fileCache } from '../../src/mil/available-memory.ts';
import { madeUpCells, roomOn } from '../../src/mil/bag-memory.ts';
import { createRandomModel, modelKinds } from '../../src/mil/create-model.ts';
import { type ExplanationKind, explainBag, explanationBytes, kindsOf } from '../../src/mil/explain.ts';
import type { ModelCard, ModelConfig } from '../../src/mil/model-card.ts';
import type { OpenModel } from '../../src/mil/model-folder.ts';
import { predictBag } from '../../src/mil/predict.ts';
import type { ScanOrder } from '../../src/row-order.ts';
import { mambaConfig, origin, randomNumbers } from './small-models.ts';

/** What the machine has left; null: what it really has. */
let machine: number | null = null;
vi.mock('../../src/mil/available-memory.ts', async (original) => {
  const real = await original<typeof import('../../src/mil/available-memory.ts')>();
  return { ...real, availableMemory: () => machine ?? real.availableMemory() };
});
beforeEach(() => {
  machine = null;
});

const several: ScanOrder[] = ['row-major', 'column-major', 'window-2', 'window-4'];
const sizes = { width: 32, input: 64, attention: 16, state: 16 };
const kinds: [string, ModelConfig][] = [
  ...Object.keys(modelKinds).map((type): [string, ModelConfig] => [
    type,
    { ...mambaConfig({ type: type as 'mamba' }), ...sizes },
  ]),
  ['lbmamba, an order', mambaConfig({ ...sizes, orders: [['window-4'], ['hilbert']] })],
  ['lbmamba, four orders', mambaConfig({ ...sizes, orders: [several, several] })],
  ['lbmamba, tokens weighed', mambaConfig({ ...sizes, orders: [several, several], merge: 'scattn-token' })],
  ['lbmamba, a search', mambaConfig({ ...sizes, orders: [several, several], merge: 'search' })],
];

function open(device: Device, config: ModelConfig): OpenModel {
  return { ...createRandomModel(device, config, { seed: 1 }), card: { ...config, ...origin } as ModelCard, hash: 'x' };
}

function bagOf(count: number): Bag {
  const meta = { slideId: 'slide-7', encoder: origin.encoder, patchMpp: 0.5, patchLevel0Px: 1, order: 'row-major' };
  const coords = madeUpCells(count).map((_, i, cells) => cells[i ^ 1]!);
  const features = randomNumbers(1, count * sizes.input);
  return { meta: meta as Bag['meta'], count, dimension: sizes.input, features, coords };
}

describe.each(kinds)('the memory of %s', (_, config) => {
  it('in a prediction is what the model says', async () => {
    const peaks: number[] = [];
    let said = 0;
    // Just above a square, which TransMIL fills up.
    for (const n of [4100, 8200]) {
      const device = await openWasm({ threads: 1, native: false });
      const { model } = createRandomModel(device, { ...config, width: 64 }, { seed: 1 });
      said = model.bytesPerInstance;
      const tape = new Tape(device);
      const features = tape.constant(new Float32Array(n * sizes.input), [n, sizes.input]);
      model.forward(tape, { features, offsets: [0, n], cells: madeUpCells(n) });
      peaks.push(device.memory().peak);
      await device.close();
    }
    const taken = peaks[1]! - peaks[0]!;
    // Blocks are whole lines of the cache.
    expect(taken).toBeLessThanOrEqual(4100 * said + 1024);
    expect(taken).toBeGreaterThan(0.6 * 4100 * said);
  });

  it('in an explanation is what is estimated', async () => {
    // Of long bags, layers are computed again on the way back.
    for (const count of 'layers' in config ? [1500, 4500] : [1500]) {
      const device = await openWasm({ threads: 1 });
      const model = open(device, config);
      const estimate = await explanationBytes(model, count, kindsOf(model.model));
      await explainBag(model, bagOf(count));
      const { peak } = device.memory();
      await device.close();
      expect(peak / estimate, `${count} patches`).toBeLessThanOrEqual(1);
      expect(peak / estimate, `${count} patches`).toBeGreaterThan(0.85);
    }
  });
});

describe('a bag that needs more memory than the machine has', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm({ threads: 1 });
  });
  afterAll(() => device.close());
  const config: ModelConfig = { ...mambaConfig(), ...sizes, type: 'transmil' };

  it('is not predicted', async () => {
    const model = open(device, config);
    await predictBag(model, bagOf(3000));
    machine = 2e6;
    await predictBag(model, bagOf(3000));
    await expect(predictBag(model, bagOf(30_000))).rejects.toThrow(
      expect.objectContaining({
        code: 'out-of-memory',
        problem: expect.stringMatching(
          /^slide-7: 30000 patches in a model of type transmil need about \d\d MiB, and there are [1-9] MiB\.$/,
        ),
        hint: expect.stringContaining('fewer patches'),
      }),
    );
    model.parameters.close();
  });

  it('is not explained where it could be predicted', async () => {
    const model = open(device, config);
    const bag = bagOf(3000);
    await predictBag(model, bag);
    const { live } = device.memory();
    machine = 2e6;
    await expect(explainBag(model, bag, ['gradient'])).rejects.toThrow(
      /^slide-7: to explain 3000 patches by a model of type transmil \(gradient\) takes about \d\d MiB, .*--max-patches/,
    );
    expect(device.memory().live).toBe(live);
    machine = null;
    await explainBag(model, bag, ['gradient'] as ExplanationKind[]);
    model.parameters.close();
  });

  it('is said with how much it is on a GPU too, which only knows that it has no more', async () => {
    const { card, model, parameters } = open(device, config);
    const full = {
      kind: 'webgpu',
      create: () => {
        throw new UserError('gpu-memory', 'The GPU has no memory left.', 'Close other programs.');
      },
    } as unknown as Device;
    const onGpu = { card, model, parameters: { device: full }, hash: 'x' } as unknown as OpenModel;
    await expect(predictBag(onGpu, bagOf(300_000))).rejects.toThrow(
      expect.objectContaining({
        code: 'gpu-memory',
        problem: expect.stringMatching(
          /^slide-7: 300000 patches .* need about 3\d\d MiB\. The GPU has no memory left\./,
        ),
        hint: expect.stringMatching(/fewer patches.*Close other programs/),
      }),
    );
    parameters.close();
  });
});

describe('room', () => {
  it('is that of the machine and of what the device has already, and of a GPU unknown', async () => {
    const device = await openWasm({ threads: 1 });
    const storage = device.create(1e6);
    expect(roomOn(device, 1e6)).toBe(1e6);
    device.release(storage);
    expect(roomOn(device, 1e6)).toBeGreaterThanOrEqual(5e6);
    expect(roomOn(device, 1e12)).toBe(device.maxStorageBytes);
    await device.close();
    expect(roomOn({ kind: 'webgpu' } as Device, 1)).toBe(Number.POSITIVE_INFINITY);
    expect(availableMemory()).toBeGreaterThan(1e6);
  });

  const stat = (inactive: number, more = '') => `anon 5\ninactive_file ${inactive}\nactive_file 7\n${more}`;
  it.each([
    ['version 2', '0::/a/b\n', { 'a/b': stat(11) }, 11],
    ['version 2 in a container', '0::/\n', { '': stat(12) }, 12],
    ['version 2 under the name that the host has', '0::/host/c\n', { '': stat(13) }, 13],
    ['version 1', '5:cpu,memory:/a\n4:cpuset:/z\n0::/\n', { 'memory/a': stat(1, 'total_inactive_file 14\n') }, 14],
    ['version 1 in a container', '5:memory:/host/c\n', { memory: stat(1, 'total_inactive_file 15\n') }, 15],
    ['none', '', {}, 0],
  ] as [string, string, Record<string, string>, number][])(
    'counts files that are held: cgroups of %s',
    async (_, groups, stats, bytes) => {
      const root = await mkdtemp(join(tmpdir(), 'lamina-cgroup-'));
      const put = async (path: string, text: string) => {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
      };
      await put('proc/self/cgroup', groups);
      for (const [folder, text] of Object.entries(stats)) await put(`sys/fs/cgroup/${folder}/memory.stat`, text);
      expect(fileCache(root)).toBe(bytes);
      await rm(root, { recursive: true });
    },
  );
});
