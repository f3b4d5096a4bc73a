/**
 * How much memory a training takes, found out before it begins: a step over few patches is made on a device and its peak read, so
 * that it holds for every model. From that follow how many folds are trained side by side, how long a bag may be, and what is said.
 */
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import { dropout } from '../kernels/elementwise.ts';
import { crossEntropy } from '../kernels/loss.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { Tape } from '../kernels/tape.ts';
import { MOST_STORAGE_BYTES } from '../kernels/wasm/device.ts';
import { openWasm } from '../kernels/wasm/open-node.ts';
import { madeUpCells, measurePass, type PassBytes } from '../mil/bag-memory.ts';
import { createRandomModel } from '../mil/create-model.ts';
import type { BagModel } from '../mil/model.ts';
import type { ModelConfig } from '../mil/model-card.ts';
import { readsPieces } from '../mil/stream.ts';
import { type CohortRow, namedRows } from './cohort.ts';
import { CHECKPOINT_ROWS, PACK_ROWS } from './fold-training.ts';
import { configOf, type Recipe } from './recipe.ts';

export interface MemoryPlan {
  readonly foldsAtOnce: number;
  /** Of each fold. */
  readonly cacheBytes: number;
  /** Longer bags are thinned to so many patches, anew each time; null: none. */
  readonly mostPatches: number | null;
  /** Of the process at its peak; 0 when not known. */
  readonly bytes: number;
  readonly warnings: readonly string[];
}

export interface MemoryNeeds {
  readonly device: DeviceChoice;
  readonly recipe: Recipe;
  readonly classes: readonly string[];
  /** Features a patch. */
  readonly dimension: number;
  readonly rows: readonly CohortRow[];
  /** Patches of each row. */
  readonly counts: readonly number[];
  readonly folds: number;
  readonly threads: number;
  /** Bytes that this process may have. */
  readonly available: number;
}

/** Node with the program in it, and a thread with its own copy. */
const PROCESS_BYTES = 150e6;
const THREAD_BYTES = 60e6;
/** A bag while it is read: the file and its numbers, or these and the same thinned. */
const COPIES = 2;
const MOST_CACHE_BYTES = 2 * 2 ** 30;
/** Of what is there, that is planned with. */
const SHARE = 0.9;
/** Less than this is not worth a word. */
const NOTEWORTHY_BYTES = 1e9;

/** @throws UserError `out-of-memory` when a bag is too long even to be predicted. */
export async function planMemory(needs: MemoryNeeds): Promise<MemoryPlan> {
  const { recipe, classes, dimension, rows, counts, folds, threads, available } = needs;
  if (await onGpu(needs.device)) return planOnGpu(needs);
  const config = configOf(recipe, dimension, classes);
  const longest = counts.reduce((a, b) => Math.max(a, b), 0);
  await requirePredictable(config, needs);
  const steps = await measureSteps(recipe, config, longest);
  const fitting = Math.floor((SHARE * MOST_STORAGE_BYTES - steps.long.fixed) / steps.long.perRow);
  const mostPatches = Math.max(1, Math.min(recipe.mostPatches ?? Number.POSITIVE_INFINITY, fitting));
  const trained = Math.min(mostPatches, longest);
  const bytesOfFold = bytesOfSteps(steps, recipe, trained) + THREAD_BYTES + COPIES * 4 * dimension * longest;

  const room = SHARE * available - PROCESS_BYTES;
  const wanted = Math.max(1, Math.min(folds, threads));
  const foldsAtOnce = Math.max(1, Math.min(wanted, Math.floor(room / bytesOfFold)));
  const all = 4 * dimension * counts.reduce((a, b) => a + b, 0);
  const left = Math.max(0, room / foldsAtOnce - bytesOfFold);
  const cacheBytes = Math.min(MOST_CACHE_BYTES / foldsAtOnce, all, left);
  const bytes = PROCESS_BYTES + foldsAtOnce * (bytesOfFold + cacheBytes);
  const plan = { foldsAtOnce, cacheBytes, mostPatches, bytes };
  return {
    ...plan,
    warnings: [...thinning(rows, counts, mostPatches), ...shortage(plan, needs, wanted, longest)],
  };
}

/** A GPU does not tell what it has, and takes one fold after another: nothing is given up for it, but what it will take is said. */
export async function planOnGpu({ recipe, classes, dimension, rows, counts }: MemoryNeeds): Promise<MemoryPlan> {
  const longest = counts.reduce((a, b) => Math.max(a, b), 0);
  const trained = Math.min(recipe.mostPatches ?? Number.POSITIVE_INFINITY, longest);
  const steps = await measureSteps(recipe, configOf(recipe, dimension, classes), trained);
  const bytes = bytesOfSteps(steps, recipe, trained);
  const bag = `With ${longest} patches in the longest bag (${namedRows([rows[counts.indexOf(longest)]!])})`;
  const said = `${bag}, a step will take about ${(bytes / 1e9).toFixed(1)} GB of the GPU's memory. If it has less, set mostPatches or a smaller width.`;
  return {
    foldsAtOnce: 1,
    cacheBytes: MOST_CACHE_BYTES,
    mostPatches: null,
    bytes: 0,
    warnings: bytes < NOTEWORTHY_BYTES ? [] : [said],
  };
}

async function onGpu(choice: DeviceChoice): Promise<boolean> {
  if (choice === 'wasm') return false;
  const device = await openDevice(choice, { threads: 1 });
  await device.close();
  return device.kind === 'webgpu';
}

function thinning(rows: readonly CohortRow[], counts: readonly number[], most: number): string[] {
  const long = rows.filter((_, i) => counts[i]! > most);
  if (long.length === 0) return [];
  return [`${namedRows(long)}: too long to train on at once; ${most} of their patches are drawn anew each time.`];
}

/** What it will take, and what is given up where that is more than there is. */
function shortage(
  { foldsAtOnce, bytes }: Pick<MemoryPlan, 'foldsAtOnce' | 'bytes'>,
  { rows, counts, available }: MemoryNeeds,
  wanted: number,
  longest: number,
): string[] {
  if (bytes < Math.min(NOTEWORTHY_BYTES, SHARE * available)) return [];
  const [need, have] = [bytes, available].map((value) => `${(value / 1e9).toFixed(1)} GB`);
  const bag = `With ${longest} patches in the longest bag (${namedRows([rows[counts.indexOf(longest)]!])})`;
  const folds = `${foldsAtOnce} ${foldsAtOnce === 1 ? 'fold' : 'folds'} at once`;
  const fewer = foldsAtOnce < wanted ? `, for which there is no memory to train ${wanted} side by side` : '';
  const scarce = bytes > available ? ' It may fail: set mostPatches, a smaller width, or take a larger machine.' : '';
  return [`${bag}, ${folds} will take about ${need} of the ${have} that are free${fewer}.${scarce}`];
}

/** Models that read a bag in pieces predict one of any length; the others have to hold it. */
async function requirePredictable(config: ModelConfig, { rows, counts }: MemoryNeeds): Promise<void> {
  const device = await openWasm({ threads: 1 });
  const { model } = createRandomModel(device, config, { seed: 1 });
  await device.close();
  if (readsPieces(model)) return;
  const most = Math.floor(MOST_STORAGE_BYTES / model.bytesPerInstance);
  if (counts.every((count) => count <= most)) return;
  throw new UserError(
    'out-of-memory',
    `${namedRows(rows.filter((_, i) => counts[i]! > most))}: a model of type ${config.type} cannot predict more than ${most} patches at once.`,
    'Extract these slides with --max-patches, or take a model that reads a bag in pieces, such as lbmamba without scanOrders.',
  );
}

interface Steps {
  readonly short: PassBytes;
  readonly long: PassBytes;
}

/** Short sequences keep their activations, long ones compute them again. */
async function measureSteps(recipe: Recipe, config: ModelConfig, longest: number): Promise<Steps> {
  const short = await stepBytes(recipe, config, false);
  return { short, long: longest > CHECKPOINT_ROWS ? await stepBytes(recipe, config, true) : short };
}

/** On the device, with bags of at most `trained` patches. */
function bytesOfSteps({ short, long }: Steps, recipe: Recipe, trained: number): number {
  const bytesOf = (step: PassBytes, n: number) => step.fixed + n * step.perRow;
  const packed = Math.min(CHECKPOINT_ROWS, Math.max(trained, Math.min(PACK_ROWS, trained * recipe.bagsPerStep)));
  return Math.max(bytesOf(short, packed), trained > CHECKPOINT_ROWS ? bytesOf(long, trained) : 0);
}

const FEW_ROWS = 1024;
/** Weights, the optimizer's two moments, the best so far; gradients are in the step. */
const COPIES_OF_WEIGHTS = 4;

/** Device memory at the peak of a training step. */
async function stepBytes(recipe: Recipe, config: ModelConfig, checkpoint: boolean): Promise<PassBytes> {
  let weights = 0;
  const { fixed, perRow } = await measurePass(config, FEW_ROWS, (device, { model, parameters }, rows) => {
    weights = 4 * parameters.values.length;
    step(device, model, recipe, rows, checkpoint);
  });
  return { fixed: fixed + COPIES_OF_WEIGHTS * weights, perRow };
}

function step(device: Device, model: BagModel, recipe: Recipe, n: number, checkpoint: boolean): void {
  const { input } = model.config;
  const tape = new Tape(device, { training: true, seed: 1, checkpoint });
  const features = tape.constant(new Float32Array(n * input), [n, input]);
  const offsets = [0, n];
  const cells = madeUpCells(n);
  const output = model.forward(tape, { features: dropout(tape, features, recipe.featureDropout), offsets, cells });
  if (model.loss) model.loss(tape, { features, offsets }, output, [0], {});
  else crossEntropy(tape, output.logits, [0]);
  tape.backward();
  tape.close();
}
