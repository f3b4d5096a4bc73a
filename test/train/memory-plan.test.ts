import { describe, expect, it } from 'vitest';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { trainFold } from '../../src/train/fold-training.ts';
import { type MemoryNeeds, planMemory, planOnGpu } from '../../src/train/memory-plan.ts';
import { recipeOf } from '../../src/train/recipe.ts';
import { memorySource } from '../../src/train/training-bag.ts';
import { randomNumbers } from '../mil/small-models.ts';

const DIMENSION = 48;
const changes = { width: 32, attention: 16, epochs: 1, validationShare: 0, balance: 'none' };
const recipe = (more: Record<string, unknown> = {}) => recipeOf('lamina', 'classification', { ...changes, ...more });

function needs(counts: readonly number[], more: Partial<MemoryNeeds> = {}): MemoryNeeds {
  const rows = counts.map((_, i) => {
    const id = `s${i}`;
    const known = { slide: id, id, patient: id, label: 'a' };
    return { line: i + 2, ...known, time: null, event: null, site: null, split: null, mpp: null };
  });
  const rest = { device: 'wasm', recipe: recipe(), classes: ['a', 'b'], dimension: DIMENSION } as const;
  return { ...rest, rows, counts, folds: 4, threads: 4, available: 32e9, ...more };
}

describe('the memory of a training', () => {
  /** What a plan says beyond the program, the thread, the copies of the longest bag and the cache. */
  const onDevice = async (count: number, model: string) => {
    const { bytes, cacheBytes } = await planMemory(needs([count], { folds: 1, recipe: recipe({ model }) }));
    return bytes - cacheBytes - 210e6 - 2 * 4 * DIMENSION * count;
  };

  it.each([
    ['lbmamba', 3000],
    ['lbmamba', 12_000],
    ['srmamba', 12_000],
    ['abmil', 12_000],
    ['clam-sb', 12_000],
    ['dsmil', 3000],
    ['transmil', 3000],
  ])('is that of a real step: %s, %i patches', async (model, count) => {
    const features = randomNumbers(1, count * DIMENSION);
    const bag = { id: 'b', count, dimension: DIMENSION, features, cells: null };
    const device = await openWasm({ threads: 1 });
    await trainFold(device, memorySource([bag]), {
      task: 'classification',
      classes: ['a', 'b'],
      recipe: recipe({ model }),
      seed: 1,
      fold: { train: [0], validation: [], test: [] },
      targets: [{ label: 0, censored: 0, time: 0 }],
      cacheBytes: 1e8,
    });
    const { peak } = device.memory();
    await device.close();
    const planned = await onDevice(count, model);
    expect(planned / peak).toBeGreaterThan(0.95);
    expect(planned / peak).toBeLessThan(1.25);
  });

  it('goes without a word where there is enough', async () => {
    expect(await planMemory(needs([30, 40, 50]))).toMatchObject({
      foldsAtOnce: 4,
      // All bags fit.
      cacheBytes: 4 * DIMENSION * 120,
      warnings: [],
    });
  });

  it('trains fewer folds at once, with less in the cache, where there is not, and says why', async () => {
    const long = [500, 200_000, 700];
    const roomy = await planMemory(needs(long));
    const tight = await planMemory(needs(long, { available: 0.7 * roomy.bytes }));
    expect(roomy.foldsAtOnce).toBe(4);
    expect(tight.foldsAtOnce).toBeLessThan(4);
    expect(tight.bytes).toBeLessThan(0.7 * roomy.bytes);
    expect(tight.warnings).toEqual([
      expect.stringMatching(
        /^With 200000 patches in the longest bag \(line 3 \(s1\)\), [123] folds? at once will take/,
      ),
    ]);
    expect(tight.warnings[0]).toMatch(/no memory to train 4 side by side/);
    const hopeless = await planMemory(needs(long, { available: 3e8 }));
    expect(hopeless).toMatchObject({ foldsAtOnce: 1, cacheBytes: 0 });
    expect(hopeless.warnings[0]).toMatch(/It may fail: set mostPatches/);
  });

  it('thins what would not fit the device, and what was asked to be, naming the rows', async () => {
    const counts = [500, 3_000_000];
    const planned = await planMemory(needs(counts));
    expect(planned.mostPatches).toBeLessThan(3_000_000);
    expect(planned.warnings[0]).toMatch(
      new RegExp(`^line 3 \\(s1\\): too long to train on at once; ${planned.mostPatches} of their patches`),
    );
    const asked = await planMemory(needs([20, 40], { recipe: recipe({ mostPatches: 30 }) }));
    expect(asked).toMatchObject({ mostPatches: 30, warnings: [expect.stringMatching(/^line 3 \(s1\).*; 30 of/)] });
  });

  it('is said for a GPU, and nothing given up for it', async () => {
    expect(await planOnGpu(needs([30, 40]))).toMatchObject({ foldsAtOnce: 1, mostPatches: null, warnings: [] });
    const long = await planOnGpu(needs([500, 3_000_000]));
    expect(long).toMatchObject({ foldsAtOnce: 1, mostPatches: null });
    expect(long.warnings).toEqual([
      expect.stringMatching(
        /^With 3000000 patches in the longest bag \(line 3 \(s1\)\), a step will take about \d+\.\d GB of the GPU/,
      ),
    ]);
    const thinned = await planOnGpu(needs([500, 3_000_000], { recipe: recipe({ mostPatches: 1000 }) }));
    expect(thinned.warnings).toEqual([]);
  });

  it('refuses bags that the model cannot even predict', async () => {
    const tooLong = needs([500, 30_000_000], { recipe: recipe({ model: 'dsmil' }) });
    await expect(planMemory(tooLong)).rejects.toThrow(/line 3 \(s1\): a model of type dsmil cannot predict more than/);
    await expect(planMemory(needs([500, 30_000_000]))).resolves.toBeDefined();
  });
});
