/**
 * `lamina bench mil`: every aggregator on bags whose truth is known, and on public sets of small bags.
 *
 * One rule for all models, with nothing chosen on what is tested: width 64, AdamW, a fixed number of epochs of which the last is
 * kept. Made-up bags: per seed 240 new ones for training and 120 for testing. Tables of bags: stratified 10-fold, features
 * standardised with the training folds, once a seed.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  type BagTask,
  bagTasks,
  type SyntheticBag,
  syntheticBags,
  taskClasses,
} from '../../datasets/synthetic/bags.ts';
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { createModel, modelKinds } from '../mil/create-model.ts';
import {
  accuracy,
  auc,
  aucOneVsRest,
  confusionMatrix,
  f1Macro,
  meanOfDefined,
  predictedClasses,
  standardDeviation,
} from '../mil/metrics.ts';
import type { ModelType } from '../mil/model-card.ts';
import { originDefaults } from '../mil/model-folder.ts';
import { predictRows } from '../mil/predict.ts';
import { probabilitiesOf } from '../train/fold-prediction.ts';
import { type FoldRun, runFolds } from '../train/fold-runner.ts';
import type { FoldOutcome } from '../train/fold-training.ts';
import { configOf, type Recipe, recipeOf } from '../train/recipe.ts';
import { splitRows } from '../train/splits.ts';
import type { Target } from '../train/target.ts';
import type { TrainingBag } from '../train/training-bag.ts';
import { type BagTable, readBagTable } from './bag-table.ts';
import { lastJson } from './child.ts';
import type { Limit, Mark } from './result.ts';

export interface MilOptions {
  readonly device: DeviceChoice;
  readonly threads?: number;
  /** Tables of bags; the made-up bags and those of `data` when none is given. */
  readonly csv: readonly string[];
  /** Folder with `mil/*.csv`. */
  readonly data: string;
  /** All models of a task when none is given. */
  readonly models: readonly string[];
  /** Of tasks or sets, by name. */
  readonly tasks: readonly string[];
  readonly seeds: number;
  readonly peer: string;
  readonly quick?: boolean;
  readonly say: (step: string) => void;
  readonly signal: AbortSignal;
}

/** Mean over the seeds, and its 95 % interval by Student's t; no interval for one seed. */
export interface Spread {
  readonly mean: number | null;
  readonly low: number | null;
  readonly high: number | null;
}

export interface MilResult {
  readonly task: string;
  readonly model: string;
  readonly auc: Spread;
  readonly f1: Spread;
  readonly accuracy: Spread;
  /** Needle: AUC of the attention against the true patches, over the positive test bags; null where there is none. */
  readonly patchAuc: Spread | null;
  /** Of training, one seed (all its folds), summed over the threads; and on the clock, the start of the threads and all. */
  readonly seconds: number;
  readonly wall: number;
  readonly parameters: number;
  readonly marks: readonly (Mark & { readonly what: string; readonly value: number })[];
}

export interface MilReport {
  readonly results: readonly MilResult[];
  readonly device: string;
  readonly notes: readonly string[];
}

/** A model with what its name says of the rows' order. */
interface Contestant {
  readonly name: string;
  readonly changes: Readonly<Record<string, unknown>>;
}

const ORDERS = ['window-2', 'window-4', 'snake', 'hilbert'] as const;
const inOrder = (model: string, order: (typeof ORDERS)[number]): Contestant => ({
  name: `${model} ${order}`,
  changes: { model, scanOrders: [[order]], ...(model === 'mamba' ? { flip: 'none' } : {}) },
});
const plain = (model: string): Contestant => ({
  name: model,
  // Mamba as published: all layers forwards.
  changes: { model, ...(model === 'lbmamba' ? {} : { flip: 'none' }) },
});

/** What only the order of the patches can tell: fewer models, more orders. */
const contextModels: readonly Contestant[] = [
  ...['lbmamba', 'mamba', 'bimamba', 'srmamba', 'abmil', 'mean'].map(plain),
  { name: 'mamba alternate', changes: { model: 'mamba', flip: 'alternate' } },
  { name: 'lbmamba flip none', changes: { model: 'lbmamba', flip: 'none' } },
  { name: 'lbmamba K 4', changes: { model: 'lbmamba', K: 4 } },
  { name: 'lbmamba K 64', changes: { model: 'lbmamba', K: 64 } },
  ...ORDERS.map((order) => inOrder('lbmamba', order)),
  inOrder('mamba', 'hilbert'),
];
const allModels: readonly Contestant[] = Object.keys(modelKinds).map(plain);

const COMMON = {
  width: 64,
  attention: 64,
  patience: null,
  validationShare: 0,
  balance: 'none',
  weightDecay: 1e-4,
  lr: 5e-4,
};
/** Of made-up bags. */
const SYNTHETIC = { ...COMMON, epochs: 12, warmUp: 1, cosine: 'steps', dropout: 0 };
/** Where patches stand for themselves; in `context` a missing one would change its neighbours' meaning. Without it some seeds learn the bags by heart. */
const EXCHANGEABLE = { ...SYNTHETIC, patchDropout: 0.3 };
/** As the peer program trains. */
const TABLE = { ...COMMON, attention: 128, epochs: 20, warmUp: 0, dropout: 0.25, maxNorm: null };
const [TRAINING_BAGS, TEST_BAGS, FOLDS] = [240, 120, 10];
/** Orders and settings were looked at with seeds 0 and 1; what is reported has never been seen. */
const FIRST_SEED = 10;

/** What a model has to reach (issue's table), by task and model. */
const MARKS: readonly { task: string; model: string; what: 'AUC' | 'patch AUC' | 'accuracy'; limit: Limit }[] = [
  { task: 'needle', model: 'lbmamba', what: 'AUC', limit: { least: 0.95 } },
  { task: 'needle', model: 'lbmamba', what: 'patch AUC', limit: { least: 0.9 } },
  { task: 'context', model: 'lbmamba hilbert', what: 'AUC', limit: { least: 0.95 } },
  { task: 'musk1', model: 'lbmamba', what: 'accuracy', limit: { least: 0.86 } },
  { task: 'elephant', model: 'lbmamba', what: 'accuracy', limit: { least: 0.84 } },
];

export async function benchMil(options: MilOptions): Promise<MilReport> {
  const device = await openDevice(options.device, { threads: 1 });
  const name =
    device.kind === 'wasm' ? `wasm SIMD, ${options.threads ?? availableParallelism()} folds at once` : device.name;
  const results: MilResult[] = [];
  const notes: string[] = [];
  try {
    for (const task of await tasksOf(options)) {
      for (const contestant of chosen(task.models, options.models)) {
        options.signal.throwIfAborted();
        options.say(`${task.name}, ${contestant.name}`);
        results.push(await measure(task, contestant, options, device));
      }
      if (task.table) notes.push(...(await againstPeer(task, options, results)));
      if (task.name === 'musk1' && device.kind === 'wasm') notes.push(await sideBySide(task, options));
    }
  } finally {
    await device.close();
  }
  notes.push(...contextNote(results));
  return { results, device: name, notes };
}

interface Task {
  readonly name: string;
  readonly classes: readonly string[];
  readonly models: readonly Contestant[];
  readonly recipe: Readonly<Record<string, unknown>>;
  /** The bags of one seed and how they are split. */
  bagsOf(seed: number): { bags: readonly TrainingBag[]; labels: readonly number[]; folds: FoldRun['fold'][] };
  /** Of made-up bags: which patches matter. */
  readonly truth: ((seed: number) => readonly SyntheticBag[]) | null;
  /** Path of the table. */
  readonly table: string | null;
}

async function tasksOf({ csv, data, tasks, quick }: MilOptions): Promise<Task[]> {
  const folder = join(data, 'mil');
  const found =
    csv.length > 0 || !existsSync(folder) ? [] : (await readdir(folder)).filter((file) => file.endsWith('.csv'));
  const paths = csv.length > 0 ? csv : found.sort().map((file) => join(folder, file));
  const all = [
    ...(csv.length > 0 ? [] : bagTasks.map((name) => syntheticTask(name, quick ?? false))),
    ...(await Promise.all(paths.map(async (path) => tableTask(await readBagTable(path), path, quick ?? false)))),
  ];
  const names = all.map(({ name }) => name);
  const unknown = tasks.find((name) => !names.includes(name));
  if (unknown) throw new UserError('unknown-task', `There is no task ${unknown}.`, `Take one of ${names.join(', ')}.`);
  return tasks.length > 0 ? all.filter(({ name }) => tasks.includes(name)) : all;
}

function chosen(models: readonly Contestant[], wanted: readonly string[]): readonly Contestant[] {
  if (wanted.length === 0) return models;
  return wanted.map((name) => models.find((one) => one.name === name) ?? plain(name));
}

function syntheticTask(name: BagTask, quick: boolean): Task {
  const [training, test] = quick ? [24, 24] : [TRAINING_BAGS, TEST_BAGS];
  const recipe = name === 'context' ? SYNTHETIC : EXCHANGEABLE;
  const bagsOf = (seed: number) => syntheticBags(name, { bags: training + test, seed });
  const fold = {
    train: Array.from({ length: training }, (_, i) => i),
    validation: [],
    test: Array.from({ length: test }, (_, i) => training + i),
  };
  return {
    name,
    classes: taskClasses[name],
    models: name === 'context' ? contextModels : allModels,
    recipe: quick ? { ...recipe, epochs: 2 } : recipe,
    bagsOf(seed) {
      const bags = bagsOf(seed);
      return { bags, labels: bags.map(({ label }) => label), folds: [fold] };
    },
    truth: name === 'needle' ? bagsOf : null,
    table: null,
  };
}

function tableTask({ name, classes, bags, labels }: BagTable, path: string, quick: boolean): Task {
  return {
    name,
    classes,
    models: allModels,
    recipe: quick ? { ...TABLE, epochs: 2 } : TABLE,
    bagsOf(seed) {
      const rows = labels.map((stratum, i) => ({ patient: bags[i]!.id, site: null, split: null, stratum }));
      const split = { kind: 'k-fold' as const, folds: FOLDS, testShare: 0, validationShare: 0, seed };
      return { bags, labels, folds: [...splitRows(rows, split).folds] };
    },
    truth: null,
    table: path,
  };
}

async function measure(
  task: Task,
  { name, changes }: Contestant,
  options: MilOptions,
  device: Device,
): Promise<MilResult> {
  const recipe = recipeOf('lamina', 'classification', { ...task.recipe, ...changes });
  const seeds = Array.from({ length: options.seeds }, (_, i) => FIRST_SEED + i);
  const figures: { auc: number | null; f1: number | null; accuracy: number | null; patchAuc: number | null }[] = [];
  let [seconds, wall] = [0, 0];
  let parameters = 0;
  for (const seed of seeds) {
    const { outcomes, bags, labels, ...timed } = await trainSeed(task, recipe, seed, options);
    wall += timed.wall / seeds.length;
    seconds += outcomes.reduce((sum, outcome) => sum + outcome.seconds, 0) / seeds.length;
    parameters = [...outcomes[0]!.weights.values()].reduce((sum, { data }) => sum + data.length, 0);
    const ofFolds = outcomes.map((outcome) => figuresOf(outcome, labels, task.classes.length));
    const truth = task.truth?.(seed) ?? null;
    figures.push({
      auc: meanOfDefined(ofFolds.map((one) => one.auc)),
      f1: meanOfDefined(ofFolds.map((one) => one.f1)),
      accuracy: meanOfDefined(ofFolds.map((one) => one.accuracy)),
      patchAuc: truth && (await patchAuc(device, task, recipe, outcomes[0]!, bags, truth)),
    });
  }
  const spread = (of: (one: (typeof figures)[number]) => number | null) => spreadOf(figures.map(of));
  const result = {
    task: task.name,
    model: name,
    auc: spread((one) => one.auc),
    f1: spread((one) => one.f1),
    accuracy: spread((one) => one.accuracy),
    patchAuc: task.truth ? spread((one) => one.patchAuc) : null,
    seconds,
    wall,
    parameters,
  };
  return { ...result, marks: options.quick ? [] : marksOf(result) };
}

async function trainSeed(task: Task, recipe: Recipe, seed: number, options: MilOptions, atOnce?: number) {
  const { bags, labels, folds } = task.bagsOf(seed);
  const targets = labels.map((label): Target => ({ label, censored: 0, time: 0 }));
  const runs = folds.map((fold): FoldRun => {
    return {
      task: 'classification',
      classes: task.classes,
      recipe,
      seed,
      fold,
      targets,
      cacheBytes: 2 ** 30,
      checkpoint: null,
    };
  });
  const { device, threads, signal } = options;
  const plainBags = bags.map(({ id, count, dimension, features, cells }) => ({
    id,
    count,
    dimension,
    features,
    cells,
  }));
  const source = { kind: 'memory' as const, bags: plainBags };
  const start = performance.now();
  const outcomes = await runFolds(source, runs, {
    device,
    signal,
    ...(threads === undefined ? {} : { threads }),
    ...(atOnce === undefined ? {} : { atOnce }),
  });
  return { outcomes, bags, labels, wall: (performance.now() - start) / 1000 };
}

function figuresOf({ predictions }: FoldOutcome, labels: readonly number[], classes: number) {
  const truth = predictions.map(({ row }) => labels[row]!);
  const probabilities = predictions.map(({ logits }) => probabilitiesOf(logits));
  const confusion = confusionMatrix(truth, predictedClasses(probabilities), classes);
  return { auc: aucOneVsRest(truth, probabilities), f1: f1Macro(confusion), accuracy: accuracy(confusion) };
}

/** Mean over the positive test bags of the AUC of attention against the true patches; null for models without attention. */
async function patchAuc(
  device: Device,
  task: Task,
  recipe: Recipe,
  { weights, predictions }: FoldOutcome,
  bags: readonly TrainingBag[],
  truth: readonly SyntheticBag[],
): Promise<number | null> {
  const config = configOf(recipe, bags[0]!.dimension, task.classes);
  const card = { ...config, ...originDefaults, name: 'bench' };
  const created = createModel(device, config, weights, 'trained weights');
  try {
    const areas: number[] = [];
    for (const { row } of predictions) {
      const { features, count, dimension, cells } = bags[row]!;
      if (!truth[row]!.truth.includes(1)) continue;
      const read = async (first: number, n: number) => features.subarray(first * dimension, (first + n) * dimension);
      const source = { count, dimension, read };
      const { attention, attentionRaw } = await predictRows({ card, ...created, hash: '' }, task.name, source, {
        cells,
      });
      const scores = attentionRaw?.length === count ? attentionRaw : attention;
      if (!scores) return null;
      areas.push(
        auc(
          [...truth[row]!.truth].map((value) => value === 1),
          [...scores],
        )!,
      );
    }
    return meanOfDefined(areas);
  } finally {
    created.parameters.close();
  }
}

/** Two-sided 95 % points of Student's t for 1, 2, … degrees of freedom. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** Beyond the table by the expansion about the normal point (Abramowitz and Stegun 26.7.5), right to 1e-4. */
export function studentPoint(degrees: number): number {
  const [z, n] = [1.959963984540054, degrees];
  return (
    STUDENT[degrees - 1] ??
    z +
      (z ** 3 + z) / (4 * n) +
      (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * n ** 2) +
      (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * n ** 3) +
      (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / (92_160 * n ** 4)
  );
}

export function spreadOf(values: readonly (number | null)[]): Spread {
  const defined = values.filter((value) => value !== null);
  const [mean, deviation] = [meanOfDefined(defined), standardDeviation(defined)];
  if (mean === null || deviation === null) return { mean, low: null, high: null };
  const half = (studentPoint(defined.length - 1) * deviation) / Math.sqrt(defined.length);
  return { mean, low: Math.max(0, mean - half), high: Math.min(1, mean + half) };
}

function marksOf(result: Omit<MilResult, 'marks'>): MilResult['marks'] {
  const figures = { AUC: result.auc, 'patch AUC': result.patchAuc, accuracy: result.accuracy };
  return MARKS.flatMap(({ task, model, what, limit }) => {
    const value = figures[what]?.mean ?? null;
    if (task !== result.task || model !== result.model || value === null) return [];
    return [{ ...limit, what, value, met: 'least' in limit ? value >= limit.least : value <= limit.most }];
  });
}

/** How much longer LBMamba trains than forward-only Mamba, both in the same order. */
function contextNote(results: readonly MilResult[]): string[] {
  const seconds = (model: string) => results.find((one) => one.task === 'context' && one.model === model)?.seconds;
  return [
    ['lbmamba', 'mamba'],
    ['lbmamba hilbert', 'mamba hilbert'],
  ].flatMap(([local, forward]) => {
    const [a, b] = [seconds(local!), seconds(forward!)];
    return a && b
      ? [`context: ${local} takes ${(a / b).toFixed(2)} times as long as ${forward} (mark: at most 1.3).`]
      : [];
  });
}

/** Whether threads are worth more between folds or inside a model: the same folds both ways. */
async function sideBySide(task: Task, options: MilOptions): Promise<string> {
  options.say(`${task.name}, folds side by side or one by one`);
  const recipe = recipeOf('lamina', 'classification', { ...task.recipe, epochs: 5 });
  const wall = async (atOnce?: number) => (await trainSeed(task, recipe, FIRST_SEED, options, atOnce)).wall.toFixed(1);
  const threads = options.threads ?? availableParallelism();
  const [one, many] = [await wall(1), await wall()];
  return `${task.name}: ten folds of five epochs take ${many} s with ${threads} folds at once, ${one} s one by one with ${threads} threads each.`;
}

interface PeerLine {
  readonly seconds: number;
  readonly accuracy: number;
  readonly auc: number;
}

const PYTHON = process.env.PYTHON ?? '/usr/bin/python3';

/** The same table, folds and epochs by the PyTorch program, as many folds at once as here; both on the clock, with the start of the processes or threads of the folds. */
async function againstPeer(
  { name, table }: Task,
  options: MilOptions,
  results: readonly MilResult[],
): Promise<string[]> {
  const program = join(options.peer, 'torch_train_bags.py');
  const types = { lbmamba: 'LBMamba', abmil: 'abmil' } as const satisfies Partial<Record<ModelType, string>>;
  if (!existsSync(program) || options.quick) return [];
  const notes: string[] = [];
  const folds = options.threads ?? availableParallelism();
  for (const [model, type] of Object.entries(types)) {
    const own = results.find((one) => one.task === name && one.model === model);
    if (!own) continue;
    options.say(`${name}, ${model} in PyTorch`);
    const flags = ['--type', type, '--epochs', `${TABLE.epochs}`, '--procs', `${folds}`];
    const found = await lastJson<PeerLine>(PYTHON, [program, table!, ...flags], {
      env: { OPENBLAS_NUM_THREADS: '1', PYTHONDONTWRITEBYTECODE: '1' },
      signal: options.signal,
    }).catch((error: Error) => error.message);
    if (typeof found === 'string') return [`${name}: no comparison with PyTorch (${found.split('\n')[0]}).`];
    const ratio = (found.seconds / own.wall).toFixed(1);
    notes.push(
      `${name}, ${model}: ${own.wall.toFixed(1)} s with ${folds} folds at once, PyTorch ${found.seconds.toFixed(1)} s: ${ratio} times as fast (mark: at least 4). PyTorch's accuracy ${found.accuracy}, AUC ${found.auc}.`,
    );
  }
  return notes;
}
