import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { syntheticBags } from '../../datasets/synthetic/bags.ts';
import type { Device } from '../../src/kernels/device.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { createRandomModel, modelKinds } from '../../src/mil/create-model.ts';
import { aucOneVsRest } from '../../src/mil/metrics.ts';
import { createRandom, normal } from '../../src/random.ts';
import type { TrainingState } from '../../src/train/checkpoint.ts';
import { bagsOfEpoch, classWeights, learningRate } from '../../src/train/epoch-plan.ts';
import { type BagLogits, lossOf, predictRows, probabilitiesOf } from '../../src/train/fold-prediction.ts';
import { type FoldOutcome, trainFold } from '../../src/train/fold-training.ts';
import { configOf, recipeOf } from '../../src/train/recipe.ts';
import { memorySource, type TrainingBag } from '../../src/train/training-bag.ts';

let device: Device;
beforeAll(async () => void (device = await openWasm({ threads: 1 })));
afterAll(() => device.close());

const small = { width: 16, attention: 8, epochs: 8, lr: 3e-3, patience: null, warmUp: 0, layers: 1, state: 4 };

/** The label is the sign of the first feature's mean. */
function bagsOf(labels: readonly number[], count: (i: number) => number, dimension = 4): TrainingBag[] {
  return labels.map((label, i) => {
    const random = createRandom(i + 1);
    const n = count(i);
    const features = Float32Array.from({ length: n * dimension }, (_, k) => {
      return normal(random) + (k % dimension === 0 ? 2 * label - 1 : 0);
    });
    const cells = Int32Array.from({ length: 2 * n }, (_, k) => (k % 2 === 0 ? Math.floor(k / 20) : (k >> 1) % 10));
    return { id: `b${i}`, count: n, dimension, features, cells };
  });
}

async function train(
  bags: readonly TrainingBag[],
  labels: readonly number[],
  changes: Record<string, unknown> = {},
  tests = Math.floor(bags.length / 3),
): Promise<FoldOutcome> {
  const rows = [...bags.keys()];
  return trainFold(device, memorySource(bags), {
    task: 'classification',
    classes: ['a', 'b'],
    recipe: recipeOf('lamina', 'classification', { ...small, ...changes }),
    seed: 1,
    fold: { train: rows.slice(tests), validation: [], test: rows.slice(0, tests) },
    targets: labels.map((label) => ({ label, censored: 0, time: 0 })),
    cacheBytes: 1e8,
  });
}

const aucOf = ({ predictions }: FoldOutcome, labels: readonly number[]) =>
  aucOneVsRest(
    predictions.map(({ row }) => labels[row]!),
    predictions.map(({ logits }) => probabilitiesOf(logits)),
  );
const finite = ({ history, weights, predictions }: FoldOutcome) =>
  history.every(({ trainLoss }) => Number.isFinite(trainLoss)) &&
  predictions.every(({ logits }) => logits.every(Number.isFinite)) &&
  [...weights.values()].every(({ data }) => data.every(Number.isFinite));

const alternating = (n: number) => Array.from({ length: n }, (_, i) => i % 2);

describe('training of one fold', () => {
  it.each(Object.keys(modelKinds))('teaches %s what is easy', async (model) => {
    const labels = alternating(45);
    const outcome = await train(
      bagsOf(labels, (i) => 4 + (i % 9)),
      labels,
      { model },
    );
    expect(finite(outcome)).toBe(true);
    expect(outcome.history.at(-1)!.trainLoss).toBeLessThan(outcome.history[0]!.trainLoss);
    expect(aucOf(outcome, labels)).toBeGreaterThan(0.9);
  });

  it.each([
    ['20 % of the labels wrong', { epochs: 8 }],
    [
      'every means of regularisation',
      { featureDropout: 0.1, patchDropout: 0.3, layerShuffle: 0.5, rowOrders: ['row-major', 'hilbert'], layers: 2 },
    ],
    ['class weights and accumulation', { balance: 'weights', bagsPerStep: 4, cosine: 'steps' }],
  ])('holds with %s', async (name, changes) => {
    const truth = alternating(60);
    const noisy = name.startsWith('20 %') ? truth.map((label, i) => (i % 5 === 4 ? 1 - label : label)) : truth;
    const outcome = await train(
      bagsOf(truth, () => 12),
      noisy,
      changes,
    );
    expect(finite(outcome)).toBe(true);
    expect(aucOf(outcome, truth)).toBeGreaterThan(0.9);
  });

  it('holds with 1 in 20 of the rarer class, and with bags of one patch', async () => {
    const rare = Array.from({ length: 84 }, (_, i) => Number(i % 21 === 0));
    const outcome = await train(
      bagsOf(rare, () => 10),
      rare,
      {},
      42,
    );
    expect(finite(outcome)).toBe(true);
    expect(aucOf(outcome, rare)).toBeGreaterThan(0.8);
    const labels = alternating(45);
    const single = await train(
      bagsOf(labels, () => 1),
      labels,
    );
    expect(finite(single)).toBe(true);
    expect(aucOf(single, labels)).toBeGreaterThan(0.8);
  });

  it('trains on a bag of 100,000 patches', async () => {
    const labels = alternating(6);
    const bags = bagsOf(labels, (i) => (i === 5 ? 100_000 : 20));
    const outcome = await train(bags, labels, { epochs: 1, balance: 'none' }, 2);
    expect(finite(outcome)).toBe(true);
    expect(outcome.steps).toBe(4);
  }, 60_000);

  it('draws of a bag that is longer than asked so many patches, others each time', async () => {
    const labels = alternating(9);
    const lossesWith = async (changes: Record<string, unknown>) => {
      const bags = bagsOf(labels, () => 60);
      const { history } = await train(bags, labels, { epochs: 2, balance: 'none', dropout: 0, lr: 1e-9, ...changes });
      return history.map(({ trainLoss }) => trainLoss);
    };
    // Weights that hardly move: what differs between the epochs is the patches.
    const [first, second] = await lossesWith({ mostPatches: 6 });
    expect(Math.abs(second! - first!)).toBeGreaterThan(1e-4);
    const [whole, again] = await lossesWith({ mostPatches: 60 });
    expect(again).toBeCloseTo(whole!, 5);
  });

  it('takes as the loss of a step over packed bags the mean of their losses one by one', async () => {
    const labels = alternating(12);
    const bags = bagsOf(labels, (i) => 3 + i);
    const changes = { bagsPerStep: 12, epochs: 1, balance: 'none', dropout: 0, standardise: false };
    const { history } = await train(bags, labels, changes, 0);
    const recipe = recipeOf('lamina', 'classification', { ...small, ...changes });
    const { model, parameters } = createRandomModel(device, configOf(recipe, 4, ['a', 'b']), { seed: 1 });
    const each: BagLogits[] = [];
    for (const row of bags.keys()) each.push(...(await predictRows(device, model, memorySource(bags), [row])));
    parameters.close();
    const targets = labels.map((label) => ({ label, censored: 0 as const, time: 0 }));
    expect(history[0]!.trainLoss).toBeCloseTo(lossOf('classification', each, targets), 5);
  });

  it.each([1, 2, 4])('weighs the gradient of each bag by its class, with %i bags a step', async (bagsPerStep) => {
    const labels = [0, 0, 1, 0];
    const bags = bagsOf(labels, (i) => 4 + i);
    // The weights hardly move, so that all steps are taken at the same place.
    const still = {
      epochs: 1,
      dropout: 0,
      standardise: false,
      shuffle: false,
      lr: 1e-12,
      weightDecay: 0,
      maxNorm: null,
    };
    const momentOf = async (train: readonly number[], changes: Record<string, unknown>) => {
      let moment = new Float32Array(0);
      const checkpoint = {
        read: async () => null,
        write: async ({ optimizer }: TrainingState) => void (moment = optimizer.m.slice()),
        remove: async () => {},
      };
      const job = {
        task: 'classification' as const,
        classes: ['a', 'b'],
        recipe: recipeOf('lamina', 'classification', { ...small, ...still, ...changes }),
        seed: 1,
        fold: { train, validation: [], test: [] },
        targets: labels.map((label) => ({ label, censored: 0 as const, time: 0 })),
        cacheBytes: 1e8,
      };
      await trainFold(device, memorySource(bags), job, { checkpoint, checkpointSeconds: 0 });
      return moment;
    };
    const each: Float32Array[] = [];
    for (const row of bags.keys()) each.push(await momentOf([row], { balance: 'none' }));
    const found = await momentOf([...bags.keys()], { balance: 'weights', bagsPerStep });
    const weights = [2 / 3, 2 / 3, 2, 2 / 3];
    const steps = 4 / bagsPerStep;
    const factors = weights.map((w, i) => (w / bagsPerStep) * 0.9 ** (steps - 1 - Math.floor(i / bagsPerStep)));
    const largest = Math.max(...found.map(Math.abs));
    found.forEach((value, k) => {
      const wanted = factors.reduce((sum, factor, i) => sum + factor * each[i]![k]!, 0);
      expect(Math.abs(value - wanted)).toBeLessThan(1e-4 * largest);
    });
  });

  it('finds the rarer class of 1 in 20 when its bags weigh more', async () => {
    const labels = Array.from({ length: 84 }, (_, i) => Number(i % 21 === 0));
    const bags = bagsOf(labels, () => 10);
    const foundWith = async (balance: string) => {
      const { predictions, history } = await train(bags, labels, { balance, epochs: 12 }, 42);
      const right = (label: number) => {
        const own = predictions.filter(({ row }) => labels[row] === label);
        return own.filter(({ logits }) => probabilitiesOf(logits)[label]! > 0.5).length / own.length;
      };
      return { rare: right(1), common: right(0), loss: history[0]!.trainLoss };
    };
    const [plain, weighed] = [await foundWith('none'), await foundWith('weights')];
    expect(weighed.loss).not.toBe(plain.loss);
    expect(plain.rare).toBeLessThan(1);
    expect(weighed).toMatchObject({ rare: 1 });
    expect(weighed.common).toBeGreaterThan(0.9);
  });

  it('records the step size that an epoch was trained with', async () => {
    const labels = alternating(9);
    const bags = bagsOf(labels, () => 4);
    const { history } = await train(bags, labels, { epochs: 4, lr: 1e-3, cosine: 'epochs' });
    expect(history.map(({ learningRate }) => Number((learningRate / 1e-3).toFixed(4)))).toEqual([
      1, 0.8536, 0.5, 0.1464,
    ]);
  });

  it('says that it diverged instead of going on with NaN', async () => {
    const labels = alternating(12);
    const bags = bagsOf(labels, () => 5);
    await expect(train(bags, labels, { lr: 1e30, maxNorm: null, epochs: 5, standardise: false })).rejects.toThrow(
      /diverged/,
    );
  });
});

describe('the plan of an epoch', () => {
  const recipe = recipeOf('lamina', 'classification', { lr: 1, warmUp: 2, cosine: 'epochs', epochs: 10 });
  it('draws classes alike when sampling, and every bag once when not', () => {
    const rows = Array.from({ length: 1000 }, (_, i) => i);
    const groups = rows.map((i) => Number(i < 50));
    const drawn = bagsOfEpoch(rows, groups, recipe, 1, 0);
    const rare = drawn.filter((row) => row < 50).length;
    expect(Math.abs(rare - 500)).toBeLessThan(80);
    const once = bagsOfEpoch(rows, groups, { ...recipe, balance: 'none' }, 1, 0);
    expect([...once].sort((a, b) => a - b)).toEqual(rows);
    expect(once).not.toEqual(rows);
  });

  it('warms up, and falls as a cosine to nothing', () => {
    expect(learningRate(recipe, 1)).toBeCloseTo(0.5);
    expect(learningRate(recipe, 2)).toBeCloseTo(1);
    expect(learningRate(recipe, 6)).toBeCloseTo(0.5);
    expect(learningRate(recipe, 10)).toBeCloseTo(0);
  });

  it('weighs classes by their inverse frequency', () => {
    expect([...classWeights([0, 0, 0, 1], 3)].map((w) => Number(w.toFixed(4)))).toEqual([0.6667, 2, 0]);
  });
});

describe('bags with known truth', () => {
  it('are the same for the same seed', () => {
    expect(syntheticBags('needle', { bags: 4, seed: 3 })).toEqual(syntheticBags('needle', { bags: 4, seed: 3 }));
  });

  it('hold 0.5 to 3 % of tumour in half of the needle bags', () => {
    for (const { label, truth, count } of syntheticBags('needle', { bags: 40, seed: 1 })) {
      const share = truth.reduce((a, b) => a + b, 0) / count;
      expect(share > 0).toBe(label === 1);
      expect(share).toBeLessThanOrEqual(0.035);
    }
  });

  it('differ in context by touching alone: 16 patches in both classes, neighbours only in one', () => {
    for (const { label, truth, cells } of syntheticBags('context', { bags: 40, seed: 1 })) {
      const found = [...truth.keys()].filter((i) => truth[i]).map((i) => [cells[2 * i]!, cells[2 * i + 1]!] as const);
      expect(found).toHaveLength(16);
      const touching = found.filter(([r, c]) => found.some(([y, x]) => Math.abs(y - r) + Math.abs(x - c) === 1));
      expect(touching).toHaveLength(label === 1 ? 16 : 0);
    }
  });
});
