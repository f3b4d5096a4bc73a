/** The prediction of one bag by an open model: checked, then computed whole or in pieces. */
import { UserError } from '../errors.ts';
import { type Bag, type BagMeta, cellsOfBag } from '../features/bag.ts';
import { requireMatch } from '../features/bag-check.ts';
import { notFinite } from '../features/bag-fault.ts';
import type { Device, View } from '../kernels/device.ts';
import { Tape } from '../kernels/tape.ts';
import { amount, requireRoom, roomOn } from './bag-memory.ts';
import type { ModelCard } from './model-card.ts';
import type { OpenModel } from './model-folder.ts';
import { loadRows, type RowSource } from './row-source.ts';
import { readsPieces, type StreamOptions, streamBag } from './stream.ts';

export interface BagPrediction {
  readonly logits: Float32Array;
  /** Of the classes, summing to 1; of a survival model the hazard of each time bin. */
  readonly probabilities: Float32Array;
  /** Survival models: minus the sum of the survival curve; larger is worse. */
  readonly risk: number | null;
  /** Attention of each patch, summing to 1 (of the predicted class, where it differs by class); null for models without. */
  readonly attention: Float32Array | null;
  /** The scores before the softmax; null for models without. */
  readonly attentionRaw: Float32Array | null;
}

/** Bags up to this long are computed at once, longer ones in pieces where the model can. */
const WHOLE = 4096;

/** A bag whose rows are read when they are wanted. */
export interface ReadableBag extends RowSource {
  readonly meta: BagMeta;
  /** As those of a `Bag`; models that scan the slide's grid want them. */
  readonly coords?: Int32Array | null;
}

/** @throws UserError if the bag does not fit the model, holds numbers that are none, or needs more memory than there is. */
export function predictBag(
  open: OpenModel,
  bag: Bag | ReadableBag,
  options: StreamOptions = {},
): Promise<BagPrediction> {
  const { card } = open;
  const name = bag.meta.slideId;
  requireMatch(name, bag, {
    encoder: card.encoder ?? bag.meta.encoder,
    dimension: card.input,
    patchMpp: card.patchMpp,
  });
  requireOrder(card, name, bag.meta);
  const cells = cellsFor(card, name, { coords: bag.coords ?? null, meta: bag.meta });
  if ('read' in bag) return predictRows(open, name, bag, { ...options, cells });
  const { count, dimension, features } = bag;
  const read = async (first: number, rows: number) => features.subarray(first * dimension, (first + rows) * dimension);
  return predictRows(open, name, { count, dimension, read }, { ...options, cells });
}

/** A scan of rows in another order is another prediction; models that choose their own order, or none, do not care. */
function requireOrder(card: ModelCard, name: string, { order }: Pick<BagMeta, 'order'>): void {
  const scans = 'layers' in card && !card.orders;
  if (!scans || order === 'unknown' || card.order === 'unknown' || order === card.order) return;
  const problem = `${name}: its patches are listed in the order ${order}, model ${card.name} was trained on ${card.order}.`;
  throw new UserError('order-mismatch', problem, `Extract the slide with --order ${card.order}.`);
}

/** Where the patches lie on the grid, if the model wants to know. @throws UserError `no-coords` */
export function cellsFor(card: ModelCard, name: string, bag: Pick<Bag, 'coords' | 'meta'>): Int32Array | null {
  if (!('orders' in card && card.orders)) return null;
  const cells = cellsOfBag(bag);
  if (cells) return cells;
  const problem = `${name}: model ${card.name} scans patches on the slide's grid, and the bag does not say where they lie.`;
  const hint = 'Extract the slide again with coordinates, or take a model without "orders".';
  throw new UserError('no-coords', problem, hint);
}

export interface PredictOptions extends StreamOptions {
  /** Rows x 2, for models with orders of their own. */
  readonly cells?: Int32Array | null;
}

/** As `predictBag`, for rows that need not be in memory together. @param name whose rows they are, for messages. */
export async function predictRows(
  open: OpenModel,
  name: string,
  source: RowSource,
  options: PredictOptions = {},
): Promise<BagPrediction> {
  const { members } = open;
  if (!members || members.length < 2) return predictByOne(open, name, source, options);
  const predictions: BagPrediction[] = [];
  for (const member of members) predictions.push(await predictByOne(member, name, source, options));
  return average(open.card, predictions);
}

/**
 * What the members of an ensemble say together: the means of their probabilities (hazards), risks and attentions. Logits and raw
 * scores are those that give these means.
 */
function average(card: ModelCard, predictions: readonly BagPrediction[]): BagPrediction {
  const mean = (parts: readonly (Float32Array | null)[]): Float32Array | null =>
    parts.includes(null)
      ? null
      : parts[0]!.map((_, i) => parts.reduce((sum, part) => sum + part![i]!, 0) / parts.length);
  const probabilities = mean(predictions.map((one) => one.probabilities))!;
  const attention = mean(predictions.map((one) => one.attention));
  const log = (value: number) => Math.log(Math.max(value, SMALLEST));
  const survival = card.task === 'survival';
  return {
    logits: probabilities.map((p) => log(p) - (survival ? log(1 - p) : 0)),
    probabilities,
    risk: survival ? predictions.reduce((sum, { risk }) => sum + risk!, 0) / predictions.length : null,
    attention,
    attentionRaw: predictions.every(({ attentionRaw }) => attentionRaw) ? (attention?.map(log) ?? null) : null,
  };
}

/** The smallest normal f32: below it logarithms would be infinite. */
const SMALLEST = 1.2e-38;

async function predictByOne(
  { card, model, parameters }: OpenModel,
  name: string,
  source: RowSource,
  options: PredictOptions,
): Promise<BagPrediction> {
  const { device } = parameters;
  if (source.count === 0) {
    throw new UserError('empty-bag', `${name}: the bag has no patches.`, 'Check the tissue mask of the slide.');
  }
  if (source.dimension !== card.input) {
    const problem = `${name}: the bag has ${source.dimension} features a patch, model ${card.name} reads ${card.input}.`;
    throw new UserError(
      'encoder-mismatch',
      problem,
      'Extract the slide with the encoder that the model was trained on.',
    );
  }
  const checked = { ...source, read: (first: number, count: number) => readFinite(name, source, first, count) };
  if (source.onDevice) await requireFinite(name, source, source.onDevice, device);
  if (source.count > WHOLE && readsPieces(model)) {
    const { logits, scores } = await streamBag(model, device, checked, options);
    return present(card, logits, scores, scores && softmax(scores));
  }
  const what = `${name}: ${source.count} patches in a model of type ${model.config.type} need`;
  const needed = source.count * model.bytesPerInstance;
  requireRoom(what, needed, roomOn(device), FEWER);
  const tape = new Tape(device);
  try {
    const { count } = checked;
    const features = await loadRows(tape, checked, { first: 0, count });
    const output = model.forward(tape, { features, offsets: [0, count], cells: options.cells ?? null });
    const logits = await device.read(output.logits);
    const scores = output.scores && (await device.read(output.scores));
    const attention = output.attention && (await device.read(output.attention));
    return present(card, logits, scores, attention && columnOf(attention, count, largest(logits)));
  } catch (error) {
    throw withEstimate(error, what, needed);
  } finally {
    tape.close();
  }
}

async function readFinite(name: string, source: RowSource, first: number, count: number): Promise<Float32Array> {
  const rows = await source.read(first, count);
  const bad = notFinite(rows, source.dimension, first);
  if (bad) throw new UserError('not-finite', `${name}: ${bad}.`, 'Extract the slide again, or drop that patch.');
  return rows;
}

/** Rows that nobody has looked at: the sum of their squares tells, and only then which one it is. */
async function requireFinite(name: string, source: RowSource, rows: View, device: Device): Promise<void> {
  const tape = new Tape(device);
  try {
    const sum = tape.zeros([1]);
    tape.run('squaredNorm', [rows, sum], [rows.length]);
    if (Number.isFinite((await device.read(sum))[0])) return;
    for (let first = 0; first < source.count; first += WHOLE) {
      await readFinite(name, source, first, Math.min(WHOLE, source.count - first));
    }
  } finally {
    tape.close();
  }
}

/** A GPU says that it has too little when it has; how much was wanted it does not know. */
function withEstimate(error: unknown, what: string, bytes: number): unknown {
  if (!(error instanceof UserError) || error.code !== 'gpu-memory') return error;
  const problem = `${what} about ${amount(bytes)}. ${error.problem}`;
  return new UserError(error.code, problem, `${FEWER} ${error.hint}`, { cause: error });
}

const FEWER = 'Use fewer patches, or a model of type lbmamba, which reads a bag in pieces.';

function present(
  card: ModelCard,
  logits: Float32Array,
  attentionRaw: Float32Array | null,
  attention: Float32Array | null,
): BagPrediction {
  if (card.task === 'classification')
    return { logits, probabilities: softmax(logits), risk: null, attention, attentionRaw };
  const hazards = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  let [survival, risk] = [1, 0];
  for (const hazard of hazards) risk -= survival *= 1 - hazard;
  return { logits, probabilities: hazards, risk, attention, attentionRaw };
}

export function softmax(values: Float32Array): Float32Array {
  const most = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let total = 0;
  for (const value of values) total += Math.exp(value - most);
  return values.map((value) => Math.exp(value - most) / total);
}

/** Attention that differs by class, (rows, classes), has a column for the predicted one. */
function columnOf(attention: Float32Array, rows: number, column: number): Float32Array {
  const columns = attention.length / rows;
  return columns === 1
    ? attention
    : Float32Array.from({ length: rows }, (_, row) => attention[row * columns + column]!);
}

/** The first maximum. */
function largest(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}
