/** Training of models that scan the slide's grid in orders of their own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { createRandom, normal } from '../../src/random.ts';
import { probabilitiesOf } from '../../src/train/fold-prediction.ts';
import { trainFold } from '../../src/train/fold-training.ts';
import { configOf, recipeOf } from '../../src/train/recipe.ts';
import { memorySource, rowsOf, type TrainingBag } from '../../src/train/training-bag.ts';

let device: Device;
beforeAll(async () => void (device = await openWasm({ threads: 1 })));
afterAll(() => device.close());

const BAGS = 20;
const DIMENSION = 4;

/** The first feature of odd bags is higher; 5 x 6 cells each. */
function bag(i: number): TrainingBag {
  const random = createRandom(i + 1);
  const features = Float32Array.from(
    { length: 30 * DIMENSION },
    (_, k) => normal(random) + (k % DIMENSION === 0 ? i % 2 : 0),
  );
  const cells = Int32Array.from({ length: 60 }, (_, k) => (k % 2 === 0 ? Math.floor(k / 12) : (k >> 1) % 6));
  return { id: `b${i}`, count: 30, dimension: DIMENSION, features, cells };
}

function train(bags: readonly TrainingBag[], changes: Record<string, unknown>) {
  const small = {
    width: 16,
    attention: 8,
    epochs: 6,
    lr: 5e-3,
    patience: null,
    warmUp: 0,
    layers: 2,
    state: 4,
    dropout: 0,
  };
  const rows = [...bags.keys()];
  return trainFold(device, memorySource(bags), {
    task: 'classification',
    classes: ['low', 'high'],
    recipe: recipeOf('lamina', 'classification', { ...small, ...changes }),
    seed: 1,
    fold: { train: rows.slice(4), validation: [], test: rows.slice(0, 4) },
    targets: rows.map((i) => ({ label: i % 2, censored: 0, time: 0 })),
    cacheBytes: 1e8,
  });
}

const several = { scanOrders: [['row-major', 'column-major', 'window-2'], ['hilbert']] };
const bags = Array.from({ length: BAGS }, (_, i) => bag(i));

describe('training with scan orders', () => {
  it.each([
    ['one for all layers', { scanOrders: [['hilbert']] }],
    ['several, joined by SCAttn', several],
    ['several, joined by SCAttn with its token gate', { ...several, merge: 'scattn-token' }],
    ['several, searched', { ...several, merge: 'search', flip: 'none' }],
    ['several packed bags a step', { ...several, bagsPerStep: 3 }],
  ])('%s: learns', async (_, changes) => {
    const { history, weights } = await train(bags, changes);
    expect(history.at(-1)!.trainLoss).toBeLessThan(0.8 * history[0]!.trainLoss);
    expect([...weights.values()].every(({ data }) => data.every(Number.isFinite))).toBe(true);
    expect(weights.has('layers.0.1.A_log_2')).toBe(changes.scanOrders.length > 1);
  });

  it('gives the same model from bags whose rows come in another order', async () => {
    const turned = bags.map((one) =>
      rowsOf(
        one,
        Int32Array.from({ length: one.count }, (_, i) => one.count - 1 - i),
      ),
    );
    const of = async (own: readonly TrainingBag[], changes: Record<string, unknown>) =>
      (await train(own, { ...changes, epochs: 2 })).predictions.map(({ logits }) => probabilitiesOf(logits)[1]!);
    const difference = async (changes: Record<string, unknown>) => {
      const [a, b] = [await of(bags, changes), await of(turned, changes)];
      return Math.max(...a.map((p, i) => Math.abs(p - b[i]!)));
    };
    expect(await difference(several)).toBeLessThan(1e-3);
    expect(await difference({})).toBeGreaterThan(1e-3);
  });

  it('refuses bags that do not say where their patches lie', async () => {
    const nowhere = bags.map((one) => ({ ...one, cells: null }));
    await expect(train(nowhere, several)).rejects.toThrow(/does not say where its patches lie/);
  });

  it('is chosen by a recipe that is checked', () => {
    const of = (changes: Record<string, unknown>) => recipeOf('lamina', 'classification', changes);
    expect(configOf(of({ scanOrders: [['snake']], layers: 3 }), 8, ['a', 'b'])).toMatchObject({
      orders: [['snake'], ['snake'], ['snake']],
      merge: 'scattn',
    });
    expect(() => of({ scanOrders: ['snake'] })).toThrow(/Give lists/);
    expect(() => of({ scanOrders: [['zigzag']] })).toThrow(/window-N/);
    expect(() => of({ merge: 'sum' })).toThrow(/scattn, scattn-token, search/);
  });
});
