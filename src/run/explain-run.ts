/** Explains the slides of a run: score columns into their bags, and how faithful these are into `faithfulness.json`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { addScores, readBag, type StoredBag } from '../features/store.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { type Lock, lockedError, tryLock } from '../lock.ts';
import { type ExplanationKind, explainBag, kindsOf } from '../mil/explain.ts';
import {
  type Faithfulness,
  type Perturbation,
  perturb,
  perturbAtRandom,
  summariseFaithfulness,
} from '../mil/faithfulness.ts';
import { type OpenModel, openModel } from '../mil/model-folder.ts';
import type { PredictionResult } from '../mil/result.ts';
import { modelHash } from './predictor.ts';
import { removeLeftovers, slideFolder, slideLock } from './slide-folder.ts';
import { writeJson } from './whole-file.ts';

export interface ExplainOptions {
  readonly model: string;
  /** Null: all that the model has. */
  readonly kinds: readonly ExplanationKind[] | null;
  /** Ids; empty: all of the run. */
  readonly slides: readonly string[];
  /** Slides on which faithfulness is measured: some forty predictions each and column. 0: none. */
  readonly measured: number;
  readonly device: DeviceChoice;
  readonly threads: number | null;
  readonly signal: AbortSignal;
  readonly onSlide: (outcome: ExplainedSlide, done: number, total: number) => void;
}

export interface ExplainedSlide {
  readonly id: string;
  /** Columns written; empty when it failed. */
  readonly columns: readonly string[];
  readonly problem: UserError | null;
}

export interface ExplainedRun {
  readonly slides: readonly ExplainedSlide[];
  readonly faithfulness: Faithfulness | null;
  /** Why it was not measured, a sentence; null when it was, or was not asked for. */
  readonly unmeasured: string | null;
}

const OF_A_RISK =
  'Faithfulness is not measured: it follows the probability of the predicted class, and a survival model predicts a risk.';

/**
 * A slide that cannot be explained is an outcome, not an error.
 * @throws UserError `no-run`, `no-slide`, `no-explanation`; as `openModel`; the signal's reason.
 */
export async function explainRun(run: string, options: ExplainOptions): Promise<ExplainedRun> {
  const ids = await slidesOf(run, options.slides);
  const device = await openDevice(options.device, options.threads === null ? {} : { threads: options.threads });
  try {
    const open = await openModel(options.model, device);
    const kinds = options.kinds ?? kindsOf(open.model);
    const unmeasured = options.measured > 0 && open.card.task === 'survival' ? OF_A_RISK : null;
    const slides: ExplainedSlide[] = [];
    const curves = new Map<string, Perturbation[]>();
    const random: Perturbation[] = [];
    for (const [done, id] of ids.entries()) {
      options.signal.throwIfAborted();
      const outcome = await explainSlide(run, id, options.model, open, kinds, async (bag, columns) => {
        if (random.length >= options.measured || unmeasured) return;
        await measure(open, bag, columns, curves, random);
      });
      slides.push(outcome);
      options.onSlide(outcome, done, ids.length);
    }
    open.parameters.close();
    const faithfulness = random.length > 0 ? summariseFaithfulness(curves, random) : null;
    if (faithfulness) await writeJson(join(run, 'faithfulness.json'), faithfulness);
    return { slides, faithfulness, unmeasured };
  } finally {
    await device.close();
  }
}

async function slidesOf(run: string, wanted: readonly string[]): Promise<string[]> {
  const found = await readdir(join(run, 'slides')).catch((cause) => {
    const problem = `${run} is no run (${messageOf(cause)}).`;
    throw new UserError('no-run', problem, 'Name the folder that lamina run --out wrote.', { cause });
  });
  const ids = found.filter((name) => !name.startsWith('.')).sort();
  const missing = wanted.find((id) => !ids.includes(id));
  if (missing) throw new UserError('no-slide', `${run} has no slide ${missing}.`, 'See the names in summary.csv.');
  return wanted.length > 0 ? [...wanted] : ids;
}

/** Under the slide's lock: its bag is written anew. */
async function explainSlide(
  run: string,
  id: string,
  modelPath: string,
  open: OpenModel,
  kinds: readonly ExplanationKind[],
  onColumns: (bag: StoredBag, columns: Readonly<Record<string, Float32Array>>) => Promise<void>,
): Promise<ExplainedSlide> {
  const folder = slideFolder(run, id);
  const path = join(folder, 'bag.arrow');
  let lock: Lock | null = null;
  try {
    lock = await tryLock(slideLock(run, id));
    if (!lock) throw await lockedError(slideLock(run, id), id);
    await removeLeftovers(run, id);
    await requireSameModel(folder, id, modelPath, open);
    const bag = await readBag(path);
    if (bag.dimension === 0) {
      const hint = 'Run it again and keep the bags.';
      throw new UserError('no-features', `${path}: the run kept the places of the patches, not their features.`, hint);
    }
    const columns = await explainBag(open, bag, kinds);
    await lock.requireHeld(id);
    await addScores(path, columns);
    const attention = bag.scores.attention_raw ?? bag.scores.attention;
    await onColumns(bag, { ...(attention ? { attention } : {}), ...columns });
    return { id, columns: Object.keys(columns), problem: null };
  } catch (error) {
    if (!(error instanceof UserError) || error.code === 'no-explanation') throw error;
    return { id, columns: [], problem: error };
  } finally {
    await lock?.release();
  }
}

/** An explanation of another model's prediction would look like one of this. */
async function requireSameModel(folder: string, id: string, modelPath: string, open: OpenModel): Promise<void> {
  const text = await readFile(join(folder, 'prediction.json'), 'utf8').catch(() => null);
  if (text === null) {
    throw new UserError('no-prediction', `${id}: the run has no prediction of it.`, 'Run it with a model first.');
  }
  const { model } = JSON.parse(text) as PredictionResult;
  if (model.hash === modelHash(open)) return;
  const problem = `${id} was predicted by ${model.name} (${model.hash}), ${modelPath} is another model (${modelHash(open)}).`;
  throw new UserError('model-mismatch', problem, 'Give the model of the run, or run the slides again with this one.');
}

/** Evidence of single classes is not measured: what is explained is the prediction. */
async function measure(
  open: OpenModel,
  bag: StoredBag,
  columns: Readonly<Record<string, Float32Array>>,
  curves: Map<string, Perturbation[]>,
  random: Perturbation[],
): Promise<void> {
  for (const [name, score] of Object.entries(columns)) {
    if (name.startsWith('evidence_')) continue;
    const own = curves.get(name) ?? [];
    curves.set(name, own);
    own.push(await perturb(open, bag, score));
  }
  random.push(await perturbAtRandom(open, bag, random.length));
}
