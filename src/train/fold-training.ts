/** The training of one model: epochs over its bags, the choice of the best one by the validation rows, predictions of the test rows. */
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import { dropout } from '../kernels/elementwise.ts';
import { crossEntropy, survivalLoss } from '../kernels/loss.ts';
import { Adam } from '../kernels/optimizer.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { createRandomModel } from '../mil/create-model.ts';
import { aucOneVsRest, concordance } from '../mil/metrics.ts';
import type { BagModel, BagOutput, PackedBags } from '../mil/model.ts';
import type { HostTensor, Weights } from '../mil/safetensors.ts';
import { type Random, shuffle } from '../random.ts';
import type { CheckpointFile, TrainingState } from './checkpoint.ts';
import { bagsOfEpoch, classWeights, epochRandom, learningRate } from './epoch-plan.ts';
import { type BagLogits, lossOf, predictRows, probabilitiesOf, riskOf } from './fold-prediction.ts';
import { configOf, type Recipe } from './recipe.ts';
import type { Fold } from './splits.ts';
import { type FeatureScale, featureScale, forRawFeatures, standardisedSource } from './standardise.ts';
import type { Target, Task } from './target.ts';
import { augmented, type BagSource, cachedSource, packedCells, type TrainingBag } from './training-bag.ts';

export interface FoldTask {
  readonly task: Task;
  readonly classes: readonly string[];
  readonly recipe: Recipe;
  readonly seed: number;
  readonly fold: Fold;
  /** Of every row of the cohort. */
  readonly targets: readonly Target[];
  /** Host memory for bags. */
  readonly cacheBytes: number;
  /** Longer bags are thinned to so many patches in training, anew each time; null or left out: as the recipe says. */
  readonly mostPatches?: number | null;
}

export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  /** Mean over the steps; of bags weighed by class if the recipe says so. */
  readonly trainLoss: number;
  readonly validationLoss: number | null;
  /** AUC or C-index, whichever the task has; null without validation rows, or where it is undefined. */
  readonly validationScore: number | null;
  /** Of the epoch's last step. */
  readonly learningRate: number;
  readonly seconds: number;
}

export interface FoldOutcome {
  readonly history: readonly EpochRecord[];
  /** Number of the epoch that was kept, from 1. */
  readonly bestEpoch: number;
  /** For features as they are in the bags. */
  readonly weights: Weights;
  /** Of the test rows. */
  readonly predictions: readonly BagLogits[];
  readonly steps: number;
  /** Of the epochs, validation included. */
  readonly seconds: number;
}

export interface TrainingHooks {
  readonly onEpoch?: (record: EpochRecord) => void;
  readonly signal?: AbortSignal;
  readonly checkpoint?: CheckpointFile;
  /** Seconds between two checkpoints. */
  readonly checkpointSeconds?: number;
}

/** Rows of bags that are computed as one sequence. */
export const PACK_ROWS = 4096;
/** Longer sequences compute their layers again on the way back instead of keeping them. */
export const CHECKPOINT_ROWS = 8192;
const CHECKPOINT_SECONDS = 20;

export async function trainFold(
  device: Device,
  source: BagSource,
  job: FoldTask,
  hooks: TrainingHooks = {},
): Promise<FoldOutcome> {
  const { recipe, classes, fold, cacheBytes } = job;
  const scale = recipe.standardise ? await featureScale(source, fold.train) : null;
  const bags = cachedSource(scale ? standardisedSource(source, scale) : source, cacheBytes);
  const config = configOf(recipe, source.dimension, classes);
  const { model, parameters } = createRandomModel(device, config, { seed: job.seed, init: recipe.init });
  const training = new FoldTraining(device, model, parameters, bags, job);
  try {
    await training.run(hooks);
    return await training.outcome(scale);
  } finally {
    training.close();
    parameters.close();
  }
}

class FoldTraining {
  readonly #optimizer: Adam;
  readonly #lossSum: Tensor;
  readonly #classWeights: Float32Array | null;
  readonly #most: number;
  #history: EpochRecord[] = [];
  #steps = 0;
  #seconds = 0;
  #bestEpoch = -1;
  #bestScore: number | null = null;
  #best: Float32Array | null = null;

  constructor(
    readonly device: Device,
    readonly model: BagModel,
    readonly parameters: Parameters,
    readonly bags: BagSource,
    readonly job: FoldTask,
  ) {
    const { recipe, fold, targets, classes, task } = job;
    const isMatrix = (name: string) => parameters.get(name).shape.length > 1 && !/_log(_\d+)?$/.test(name);
    const { lr, weightDecay, decay, maxNorm } = recipe;
    const rule = { lr, weightDecay, decay, maxNorm };
    this.#optimizer = new Adam(parameters, recipe.decays === 'all' ? rule : { ...rule, decays: isMatrix });
    this.#lossSum = tensor(device.create(1), 0, [1]);
    const labels = fold.train.map((row) => targets[row]!.label);
    this.#classWeights =
      recipe.balance === 'weights' && task === 'classification' ? classWeights(labels, classes.length) : null;
    this.#most = job.mostPatches ?? recipe.mostPatches ?? Number.POSITIVE_INFINITY;
  }

  async run({ onEpoch, signal, checkpoint, checkpointSeconds = CHECKPOINT_SECONDS }: TrainingHooks): Promise<void> {
    const former = (await checkpoint?.read()) ?? null;
    if (former) this.#goOnFrom(former);
    const { epochs } = this.job.recipe;
    let written = performance.now();
    for (let epoch = this.#history.length; epoch < epochs && !this.#isStale(epoch); epoch++) {
      signal?.throwIfAborted();
      const record = await this.#epoch(epoch, signal);
      this.#history.push(record);
      onEpoch?.(record);
      if (!checkpoint || (performance.now() - written) / 1000 < checkpointSeconds) continue;
      await checkpoint.write(await this.#state());
      written = performance.now();
    }
    if (this.#best) this.device.write(this.parameters.values.storage, this.#best);
    else this.#bestEpoch = this.#history.length - 1;
  }

  async outcome(scale: FeatureScale | null): Promise<FoldOutcome> {
    const { device, model, bags, job } = this;
    const predictions = await predictRows(device, model, bags, job.fold.test);
    const weights = new Map<string, HostTensor>();
    for (const [name, { shape }] of this.parameters.tensors) {
      weights.set(name, { shape, data: await this.parameters.read(name) });
    }
    return {
      history: this.#history,
      bestEpoch: this.#bestEpoch + 1,
      weights: scale ? forRawFeatures(weights, job.recipe.model, scale) : weights,
      predictions,
      steps: this.#steps,
      seconds: this.#seconds,
    };
  }

  close(): void {
    this.#optimizer.close();
    this.device.release(this.#lossSum.storage);
  }

  /** Whether no epoch has been better for so long that training ends. */
  #isStale(epoch: number): boolean {
    const { patience, leastEpochs } = this.job.recipe;
    if (patience === null || this.job.fold.validation.length === 0 || epoch < leastEpochs) return false;
    return epoch - 1 - this.#bestEpoch >= patience;
  }

  async #epoch(epoch: number, signal: AbortSignal | undefined): Promise<EpochRecord> {
    const { job, device } = this;
    const { recipe, fold, seed } = job;
    const started = performance.now();
    const groups = fold.train.map((row) => groupOf(job.targets[row]!));
    const order = bagsOfEpoch(fold.train, groups, recipe, seed, epoch);
    const random = epochRandom(seed, epoch, 1);
    device.run('fill', [this.#lossSum], [1, 0]);
    let rate = 0;
    for (let at = 0; at < order.length; at += recipe.bagsPerStep) {
      signal?.throwIfAborted();
      rate = learningRate(recipe, epoch + at / order.length);
      await this.#step(order.slice(at, at + recipe.bagsPerStep), rate, random);
    }
    const steps = Math.ceil(order.length / recipe.bagsPerStep);
    const trainLoss = (await device.read(this.#lossSum))[0]! / steps;
    if (!Number.isFinite(trainLoss)) {
      throw new UserError(
        'diverged',
        `The loss of epoch ${epoch + 1} is ${trainLoss}: the training diverged.`,
        `Lower the step size (lr is ${recipe.lr}), or cut gradients with maxNorm.`,
      );
    }
    const validation = await this.#validate(epoch);
    const seconds = (performance.now() - started) / 1000;
    this.#seconds += seconds;
    return { epoch: epoch + 1, trainLoss, ...validation, learningRate: rate, seconds };
  }

  /** One step of the optimizer over the mean loss of the bags, each times the weight of its class. */
  async #step(rows: readonly number[], rate: number, random: Random): Promise<void> {
    const { device, job, parameters } = this;
    const weightOf = (row: number) => this.#classWeights?.[job.targets[row]!.label] ?? 1;
    parameters.clearGradients();
    let pack: number[] = [];
    let bags: TrainingBag[] = [];
    let held = 0;
    let packs = 0;
    const flush = () => {
      if (pack.length === 0) return;
      // The loss of a pack is divided by its own weights; over the number of bags, a rare class pulls harder in steps of one bag too.
      const share = pack.reduce((sum, row) => sum + weightOf(row), 0) / rows.length;
      this.#addGradients(pack, bags, share, this.#steps * 256 + packs++, random);
      [pack, bags, held] = [[], [], 0];
    };
    for (const row of rows) {
      const found = this.bags.read(row);
      const whole = found instanceof Promise ? await found : found;
      const bag = augmented(whole, job.recipe, this.#most, random);
      if (held + bag.count > PACK_ROWS) flush();
      pack.push(row);
      bags.push(bag);
      held += bag.count;
    }
    flush();
    this.#optimizer.step(rate);
    this.#steps++;
    // A GPU's queue is kept short: what waits in it keeps its memory.
    if (device.kind === 'webgpu' && this.#steps % 16 === 0) await device.finish();
  }

  /** Forward and back through bags packed into one sequence; `share` is their part of the step's loss. */
  #addGradients(
    rows: readonly number[],
    bags: readonly TrainingBag[],
    share: number,
    seed: number,
    random: Random,
  ): void {
    const { device, model, job } = this;
    const { recipe } = job;
    const { features, offsets } = packed(bags);
    const checkpoint = offsets.at(-1)! > CHECKPOINT_ROWS;
    const tape = new Tape(device, { training: true, seed, checkpoint });
    try {
      const input = tape.constant(features, [offsets.at(-1)!, this.bags.dimension]);
      const shuffles = layerShuffles(offsets, recipe, random);
      const output = model.forward(tape, {
        features: dropout(tape, input, recipe.featureDropout),
        offsets,
        cells: packedCells(bags),
        ...shuffles,
      });
      const loss = this.#loss(tape, model, { features: input, offsets }, output, rows, share);
      tape.backward();
      device.run('add', [this.#lossSum, loss, this.#lossSum], [1, 1, share]);
    } finally {
      tape.close();
    }
  }

  #loss(
    tape: Tape,
    model: BagModel,
    bags: PackedBags,
    output: BagOutput,
    rows: readonly number[],
    share: number,
  ): Tensor {
    const targets = rows.map((row) => this.job.targets[row]!);
    const labels = targets.map(({ label }) => label);
    if (this.job.task === 'survival') {
      const censored = targets.map((target) => target.censored);
      return survivalLoss(tape, output.logits, labels, censored, 0, share).loss;
    }
    const weights = this.#classWeights && tape.constant(this.#classWeights, [this.#classWeights.length]);
    if (model.loss) return model.loss(tape, bags, output, labels, { classWeights: weights, scale: share });
    return crossEntropy(tape, output.logits, labels, weights, share);
  }

  /** Predicts the validation rows, and keeps the weights if they are the best so far. */
  async #validate(epoch: number): Promise<{ validationLoss: number | null; validationScore: number | null }> {
    const { job, device, model, bags } = this;
    const rows = job.fold.validation;
    if (rows.length === 0) return { validationLoss: null, validationScore: null };
    const predictions = await predictRows(device, model, bags, rows);
    const targets = rows.map((row) => job.targets[row]!);
    const validationLoss = lossOf(job.task, predictions, targets);
    const validationScore = scoreOf(job.task, predictions, targets);
    const { by } = job.recipe;
    // Of equal scores the later one, of equal losses the earlier.
    const score = by === 'loss' || validationScore === null ? -validationLoss : validationScore;
    const better = this.#bestScore === null || score > this.#bestScore || (by !== 'loss' && score === this.#bestScore);
    if (better) {
      this.#bestScore = score;
      this.#bestEpoch = epoch;
      this.#best = await device.read(this.parameters.values);
    }
    return { validationLoss, validationScore };
  }

  async #state(): Promise<TrainingState> {
    const { device, parameters } = this;
    const values = await device.read(parameters.values);
    return {
      history: this.#history,
      steps: this.#steps,
      seconds: this.#seconds,
      bestEpoch: this.#bestEpoch,
      bestScore: this.#bestScore,
      values,
      best: this.#best ?? new Float32Array(0),
      optimizer: await this.#optimizer.readState(),
    };
  }

  #goOnFrom(state: TrainingState): void {
    this.#history = [...state.history];
    this.#steps = state.steps;
    this.#seconds = state.seconds;
    this.#bestEpoch = state.bestEpoch;
    this.#bestScore = state.bestScore;
    this.#best = state.best.length > 0 ? state.best : null;
    this.device.write(this.parameters.values.storage, state.values);
    this.#optimizer.writeState(state.optimizer);
  }
}

function scoreOf(task: Task, predictions: readonly BagLogits[], targets: readonly Target[]): number | null {
  if (task === 'classification') {
    return aucOneVsRest(
      targets.map(({ label }) => label),
      predictions.map(({ logits }) => probabilitiesOf(logits)),
    );
  }
  return concordance(
    targets.map(({ time }) => time),
    targets.map(({ censored }) => censored === 0),
    predictions.map(({ logits }) => riskOf(logits)),
  ).cIndex;
}

function groupOf({ label, censored }: Target): number {
  return 2 * label + censored;
}

export function packed(bags: readonly TrainingBag[]): { features: Float32Array; offsets: number[] } {
  const offsets = [0];
  for (const { count } of bags) offsets.push(offsets.at(-1)! + count);
  if (bags.length === 1) return { features: bags[0]!.features, offsets };
  const dimension = bags[0]!.dimension;
  const features = new Float32Array(offsets.at(-1)! * dimension);
  bags.forEach((bag, i) => {
    features.set(bag.features, offsets[i]! * dimension);
  });
  return { features, offsets };
}

/** Deeper layers are shuffled more often (stochastic layer-wise shuffle); a row stays in its bag. */
function layerShuffles(offsets: readonly number[], { layerShuffle, layers }: Recipe, random: Random) {
  if (layerShuffle === 0) return {};
  const shuffles = Array.from({ length: layers }, (_, layer) => {
    if (random() >= (layerShuffle * (layer + 1)) / layers) return null;
    const order = offsets.slice(1).flatMap((end, bag) => {
      const first = offsets[bag]!;
      return shuffle(
        random,
        Array.from({ length: end - first }, (_, i) => first + i),
      );
    });
    return Int32Array.from(order);
  });
  return { shuffles };
}
