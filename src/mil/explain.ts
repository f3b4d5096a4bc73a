/** Why a model says what it says: a score for each patch of a bag, of several kinds (docs/explanations.md). */
import { UserError } from '../errors.ts';
import type { Bag } from '../features/bag.ts';
import { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { madeUpCells, measurePass, requireRoom, roomOn } from './bag-memory.ts';
import { dense } from './dense.ts';
import { hiddenAttention } from './hidden-attention.ts';
import type { MambaMil } from './mambamil.ts';
import type { BagModel, BagOutput } from './model.ts';
import type { ModelCard } from './model-card.ts';
import type { OpenModel } from './model-folder.ts';
import { cellsFor, predictBag } from './predict.ts';

/**
 * `evidence`: attention x logits of the patch, which add up to those of the bag. `gradient`: gradient x input, and sensitivity.
 * `hidden-attention`: of the scans.
 */
export const explanationKinds = ['evidence', 'gradient', 'hidden-attention'] as const;
export type ExplanationKind = (typeof explanationKinds)[number];

/** Score columns of the bag by name, one value a patch. */
export type Explanations = Readonly<Record<string, Float32Array>>;

/** Rows beyond which activations are computed again on the way back instead of kept. */
const CHECKPOINT_ROWS = 4096;

/** The kinds that a model has. */
export function kindsOf(model: BagModel): ExplanationKind[] {
  const { type } = model.config;
  return explanationKinds.filter((kind) => {
    if (kind === 'hidden-attention') return 'layers' in model;
    return kind === 'gradient' || (type !== 'transmil' && type !== 'dsmil');
  });
}

/**
 * Explains the prediction of a bag; of an ensemble, the means over its members, each explaining the prediction of all.
 *
 * Columns: `evidence` (for the prediction, against the mean of the other classes; of a survival model for the risk),
 * `evidence_<class>`, `gradient_x_input` (likewise for the prediction), `sensitivity`, `hidden_attention`.
 *
 * @throws UserError as `predictBag`, `out-of-memory` too where there is enough to predict but not to explain; `no-explanation`
 *   for a kind that the model does not have.
 */
export async function explainBag(
  open: OpenModel,
  bag: Bag,
  kinds: readonly ExplanationKind[] = kindsOf(open.model),
): Promise<Explanations> {
  const missing = kinds.find((kind) => !kindsOf(open.model).includes(kind));
  if (missing) {
    const has = kindsOf(open.model).join(', ');
    const problem = `A model of type ${open.card.type} has no ${missing}.`;
    throw new UserError('no-explanation', problem, `It has ${has}.`);
  }
  // Checks the bag, and says what there is to be explained.
  const { logits } = await predictBag(open, bag);
  const direction = directionOf(open.card, logits);
  const members = open.members ?? [open];
  await requireExplainable(members[0]!, bag, kinds);
  const cells = cellsFor(open.card, bag.meta.slideId, bag);
  const sums: Record<string, Float32Array> = {};
  for (const member of members) {
    const columns = await explainByOne(member, { ...bag, cells }, kinds, direction, bag.count > CHECKPOINT_ROWS);
    for (const [name, values] of Object.entries(columns)) {
      const sum = (sums[name] ??= new Float32Array(values.length));
      values.forEach((value, i) => {
        sum[i]! += value / members.length;
      });
    }
  }
  return sums;
}

/**
 * Which patches feed one of them: for each its share, all adding up to one, in what the scans hand to this patch
 * (`hiddenAttention` with all weight on it). Of an ensemble the mean over its members.
 *
 * @throws UserError `no-scan` for models whose patches do not hear of each other by a scan; `no-coords`, `out-of-memory`.
 */
export async function patchSources(open: OpenModel, bag: Bag, row: number): Promise<Float32Array> {
  const { card } = open;
  if (!kindsOf(open.model).includes('hidden-attention')) {
    const problem = `The model ${card.name} is of type ${card.type} and has no scan in which one patch could feed another.`;
    throw new UserError('no-scan', problem, 'Ask a model of the Mamba family, such as lbmamba.');
  }
  const chosen = new Float32Array(bag.count);
  chosen[row] = 1;
  const cells = cellsFor(card, bag.meta.slideId, bag);
  const members = open.members ?? [open];
  await requireExplainable(members[0]!, bag, ['hidden-attention']);
  const shares = new Float32Array(bag.count);
  for (const { model, parameters } of members) {
    const own = await hiddenAttention(model as MambaMil, parameters.device, bag.features, chosen, cells);
    own.forEach((share, i) => {
      shares[i]! += share / members.length;
    });
  }
  return shares;
}

/** No explanation takes so many times the memory of a prediction: TransMIL's takes thirteen, the others nine at most. */
const MOST_PREDICTIONS = 16;
/** Rows of a bag whose explanation is measured. */
const FEW_ROWS = 512;
/** TransMIL makes a square of any bag, so that what it takes does not grow evenly. */
const SLACK = 1.07;

/** @throws UserError `out-of-memory` before the work. */
async function requireExplainable(open: OpenModel, bag: Bag, kinds: readonly ExplanationKind[]): Promise<void> {
  const { card, model, parameters } = open;
  const room = roomOn(parameters.device);
  if (bag.count * MOST_PREDICTIONS * model.bytesPerInstance <= room) return;
  requireRoom(
    `${bag.meta.slideId}: to explain ${bag.count} patches by a model of type ${card.type} (${kinds.join(', ')}) takes`,
    await explanationBytes(open, bag.count, kinds),
    room,
    'Extract the slide with fewer patches (--max-patches), ask for fewer kinds, or explain on a machine with more memory.',
  );
}

/** Device memory at the peak of the explanation of so many patches. */
export async function explanationBytes(
  open: OpenModel,
  count: number,
  kinds: readonly ExplanationKind[],
): Promise<number> {
  const { classes, input } = open.card;
  const { fixed, perRow } = await measurePass(open.model.config, FEW_ROWS, (_, created, rows) => {
    const few = { count: rows, dimension: input, features: new Float32Array(rows * input), cells: madeUpCells(rows) };
    const direction = new Float32Array(classes.length);
    return explainByOne({ ...open, ...created }, few, kinds, direction, count > CHECKPOINT_ROWS);
  });
  return SLACK * (fixed + count * perRow);
}

async function explainByOne(
  { card, model, parameters }: OpenModel,
  {
    count,
    dimension,
    features: data,
    cells,
  }: Pick<Bag, 'count' | 'dimension' | 'features'> & { cells: Int32Array | null },
  kinds: readonly ExplanationKind[],
  direction: Float32Array,
  /** Activations are computed again on the way back instead of kept. */
  checkpoint: boolean,
): Promise<Explanations> {
  const { device } = parameters;
  const columns: Record<string, Float32Array> = {};
  const tape = new Tape(device, { training: true, dropout: false, checkpoint });
  let attention: Float32Array | null = null;
  try {
    const features = tape.constant(data, [count, dimension], true);
    const output = model.forward(tape, { features, offsets: [0, count], cells });
    if (output.attention?.length === count) attention = await device.read(output.attention);
    if (kinds.includes('evidence')) {
      Object.assign(columns, await evidence(tape, card, model, output, attention, direction));
    }
    if (kinds.includes('gradient')) {
      tape.backward([[output.logits, tape.constant(direction, [1, direction.length])]]);
      const gradient = await device.read(tape.gradientOf(features)!);
      columns.gradient_x_input = rowSums(gradient, data, count);
      columns.sensitivity = sensitivities(gradient, data, count);
    }
  } finally {
    tape.close();
  }
  if (kinds.includes('hidden-attention')) {
    columns.hidden_attention = await hiddenAttention(model as MambaMil, device, data, attention!, cells);
  }
  return columns;
}

/**
 * The direction in the logits that is explained: the predicted class against the mean of the others, so that what all logits
 * share, and no probability shows, counts for nothing; of a survival model the gradient of the risk.
 */
export function directionOf(card: ModelCard, logits: Float32Array): Float32Array {
  if (card.task === 'survival') {
    const hazards = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
    let alive = 1;
    const survival = hazards.map((hazard) => (alive *= 1 - hazard));
    // risk = -sum_j S_j and dS_j / dlogit_k = -S_j hazard_k for k <= j.
    return hazards.map((hazard, k) => hazard * survival.subarray(k).reduce((a, b) => a + b, 0));
  }
  const best = logits.indexOf(Math.max(...logits));
  return logits.map((_, k) => (k === best ? 1 : -1 / (logits.length - 1)));
}

/** Logits of each patch as if it were the bag, weighted as the model weighs it: over the patches they add up to the bag's. */
async function evidence(
  tape: Tape,
  card: ModelCard,
  model: BagModel,
  output: BagOutput,
  attention: Float32Array | null,
  direction: Float32Array,
): Promise<Explanations> {
  const patchLogits = await tape.device.read(output.instanceLogits ?? classified(tape, model, output.instances!));
  const classes = direction.length;
  const count = patchLogits.length / classes;
  const byClass = card.classes.map((_, k) => {
    const own = Float32Array.from({ length: count }, (_, t) => patchLogits[t * classes + k]!);
    if (attention) return own.map((logit, t) => attention[t]! * logit);
    if (card.type === 'mean') return own.map((logit) => logit / count);
    const strongest = own.indexOf(own.reduce((a, b) => Math.max(a, b)));
    return own.map((logit, t) => (t === strongest ? logit : 0));
  });
  const joined = Float32Array.from({ length: count }, (_, t) =>
    byClass.reduce((sum, own, k) => sum + direction[k]! * own[t]!, 0),
  );
  if (card.task === 'survival') return { evidence: joined };
  return { evidence: joined, ...Object.fromEntries(card.classes.map((name, k) => [`evidence_${name}`, byClass[k]!])) };
}

/** The slide's classifier on single instances. */
function classified(tape: Tape, { parameters }: BagModel, instances: Tensor): Tensor {
  const name = [...parameters.keys()].find((key) => /^classifiers?(\.0)?\.weight$/.test(key))!;
  const bias = parameters.get(name.replace(/weight$/, 'bias'))!;
  return dense(tape, instances, { weight: parameters.get(name)!, bias });
}

/**
 * sum_k |g_tk (x_tk - mean_k)|: how much the prediction hangs on what sets a patch apart from the slide's mean patch. Models that
 * scan may attend to a neighbour that has heard of a patch; this is of the patch itself.
 */
function sensitivities(gradient: Float32Array, features: Float32Array, rows: number): Float32Array {
  const width = features.length / rows;
  const mean = new Float64Array(width);
  for (let i = 0; i < features.length; i++) mean[i % width]! += features[i]! / rows;
  return Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let k = 0, i = row * width; k < width; k++, i++) sum += Math.abs(gradient[i]! * (features[i]! - mean[k]!));
    return sum;
  });
}

function rowSums(a: Float32Array, b: Float32Array, rows: number): Float32Array {
  const width = a.length / rows;
  return Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) sum += a[i]! * b[i]!;
    return sum;
  });
}
