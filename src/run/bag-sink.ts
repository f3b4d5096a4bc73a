/** Where the features of a slide go: into its bag on disk, or, when bags are not kept, no further than to the model. */
import type { BagMeta } from '../features/bag.ts';
import type { Encoder, PatchBatch } from '../features/encoder.ts';
import { fromHalf, toHalf } from '../features/half.ts';
import { addScores, createBagWriter, type FeatureType, openBag, type Scores } from '../features/store.ts';
import type { ReadableBag } from '../mil/predict.ts';

/** `Rows` are features of a batch, wherever this bag wants them. */
export interface BagSink<Rows = Float32Array> {
  /** Rows so far. */
  readonly count: number;
  /** Features of these, as they will be in the bag. */
  read(first: number, count: number): Promise<Float32Array>;
  /** Several may be under way; their rows are appended in the order of the batches. */
  encode(batch: PatchBatch, signal: AbortSignal): Promise<Rows>;
  /**
   * Takes what `encode` gave over. Await it: it is the brake.
   * @param kept which rows belong to the bag; null: all of them
   * @param coords of these rows, n x 2 in level-0 px
   */
  append(rows: Rows, kept: readonly number[] | null, coords: Int32Array): Promise<void>;
  finish(): Promise<FinishedBag>;
  /** Gives up and leaves nothing behind; no `encode` is under way any more. Harmless after `finish`. */
  abort(): Promise<void>;
}

/** A whole bag, to be read by a model and to be given its scores. */
export interface FinishedBag extends ReadableBag {
  addScores(scores: Scores): Promise<void>;
  close(): Promise<void>;
}

export interface SinkOptions {
  readonly encoder: Encoder;
  readonly dtype: FeatureType;
}

/** Streams into `bag.arrow`, from which the model reads again: of a bag of any length, a piece is in memory. */
export async function keptBag(path: string, meta: BagMeta, { encoder, dtype }: SinkOptions): Promise<BagSink> {
  const { dimension } = encoder;
  const writer = await createBagWriter(path, meta, { dimension, dtype });
  return {
    get count() {
      return writer.count;
    },
    read: (first, count) => writer.read(first, count),
    encode: (batch, signal) => encoder.encode(batch, signal),
    append: (rows, kept, coords) => writer.append(pickRows(rows, dimension, kept), coords),
    async finish() {
      await writer.finish();
      const bag = await openBag(path);
      return { ...bag, addScores: (scores) => addScores(path, scores) };
    },
    abort: () => writer.abort(),
  };
}

/**
 * Holds the features in memory, as precise as they would have been on disk, so that the model says the same. The file gets the
 * places and scores of the patches, which the viewer wants.
 */
export async function heldBag(path: string, meta: BagMeta, { encoder, dtype }: SinkOptions): Promise<BagSink> {
  const { dimension } = encoder;
  const places = await createBagWriter(path, meta, { dimension: 0, dtype });
  const pieces: { first: number; values: Uint16Array | Float32Array }[] = [];
  let count = 0;

  async function read(first: number, rows: number): Promise<Float32Array> {
    const wanted = new Float32Array(rows * dimension);
    for (const { first: start, values } of pieces) {
      const [from, to] = [Math.max(first, start), Math.min(first + rows, start + values.length / dimension)];
      if (from >= to) continue;
      const part = values.subarray((from - start) * dimension, (to - start) * dimension);
      const target = wanted.subarray((from - first) * dimension, (to - first) * dimension);
      if (part instanceof Uint16Array) fromHalf(part, target);
      else target.set(part);
    }
    return wanted;
  }

  return {
    get count() {
      return count;
    },
    read,
    encode: (batch, signal) => encoder.encode(batch, signal),
    async append(rows, kept, coords) {
      const features = pickRows(rows, dimension, kept);
      const values = dtype === 'f16' ? new Uint16Array(features.length) : features.slice();
      if (values instanceof Uint16Array) toHalf(features, values);
      pieces.push({ first: count, values });
      count += features.length / dimension;
      await places.append(new Float32Array(0), coords);
    },
    async finish() {
      await places.finish();
      const close = async () => void pieces.splice(0);
      return { meta, dimension, count, read, addScores: (scores) => addScores(path, scores), close };
    },
    abort: () => places.abort(),
  };
}

function pickRows(features: Float32Array, width: number, rows: readonly number[] | null): Float32Array {
  if (!rows) return features;
  const picked = new Float32Array(rows.length * width);
  rows.forEach((row, i) => void picked.set(features.subarray(row * width, (row + 1) * width), i * width));
  return picked;
}
