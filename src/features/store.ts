/**
 * Bags on disk: one Arrow IPC file a slide, `bag.arrow`, that any Arrow reader opens.
 *
 * Columns: `features` FixedSizeList<f16|f32>[dimension] (absent where features were not kept); `x`, `y` int32, level-0 px of the
 * patch's top-left corner (absent in bags without coordinates); then any number of f32 score columns (`attention`,
 * `attention_raw`, ...), one value a patch.
 * The schema's metadata holds the BagMeta as JSON under `lamina.bag`. The bytes depend on the rows alone, not on the pieces in
 * which they arrived. Everything streams: neither writing nor adding scores holds more than one record batch.
 */
import { type FileHandle, open } from 'node:fs/promises';
import {
  type Data,
  DataType,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Int32,
  makeData,
  Precision,
  type RecordBatch,
  RecordBatchReader,
  Schema,
  type TypeMap,
} from 'apache-arrow';
import { messageOf, UserError } from '../errors.ts';
import { ArrowFile } from './arrow-file.ts';
import type { Bag, BagMeta } from './bag.ts';
import { badBag } from './bag-fault.ts';
import { fromHalf, toHalf, widenHalf } from './half.ts';

export type FeatureType = 'f16' | 'f32';

/** Score columns by name, one value a patch. */
export type Scores = Readonly<Record<string, Float32Array>>;

export interface StoredBag extends Bag {
  readonly dtype: FeatureType;
  readonly scores: Scores;
}

/** A run of rows of a bag, `first` being the number of the first one. */
export interface BagRows {
  readonly first: number;
  readonly count: number;
  readonly features: Float32Array;
  readonly coords: Int32Array | null;
  readonly scores: Scores;
}

/** Rows as they lie in the file. Their `features` are `stored` itself, or widened from it whenever they are asked for: who wants scores waits for none. */
export interface StoredRows extends BagRows {
  /** f32, or the words of f16. */
  readonly stored: Float32Array | Uint16Array;
}

export interface BagHead {
  readonly meta: BagMeta;
  /** 0 in a bag whose features were not kept: it has places and scores only. */
  readonly dimension: number;
  readonly dtype: FeatureType;
}

/** A bag whose rows are read as they are asked for. */
export interface OpenBag extends BagHead {
  readonly count: number;
  /** Whether the patches have places on the slide. */
  readonly placed: boolean;
  /** Names of the columns of scores. */
  readonly scores: readonly string[];
  /** Features of the rows first to first + count - 1, one row after another. Errors as `readBag`. */
  read(first: number, count: number): Promise<Float32Array>;
  close(): Promise<void>;
}

export interface BagWriter {
  /** Rows appended so far. */
  readonly count: number;
  /**
   * Adds rows: features n x dimension, coords n x 2 in level-0 px (null in a bag without coordinates), n scores of each column.
   * Await it: it is the brake.
   */
  append(features: Float32Array, coords: Int32Array | null, scores?: Scores): Promise<void>;
  /** Features of rows that were appended, before `finish`: what the file will give back, rounded as it is. */
  read(first: number, count: number): Promise<Float32Array>;
  /** Completes the file and gives it its name. */
  finish(): Promise<void>;
  /** Gives up and leaves nothing behind. Harmless after `finish`. */
  abort(): Promise<void>;
}

export interface BagWriterOptions {
  readonly dimension: number;
  readonly dtype: FeatureType;
  /** Whether the patches have places on the slide; true unless said otherwise. */
  readonly coords?: boolean;
  /** Names of columns of scores; none unless said otherwise. `addScores` gives them to a bag that is there. */
  readonly scores?: readonly string[];
}

/** Rows of one record batch: a few MB at the usual widths, so that a reader may stream. */
const ROWS_PER_BATCH = 1024;
const META_KEY = 'lamina.bag';
const COORDINATES = ['x', 'y'];

/**
 * Opens a bag for writing. Rows go to disk as they come, under the name `<path>.partial` until `finish`.
 * @throws UserError `cannot-write` (folder, rights), `disk-full`, `bad-features` (NaN, infinite, or too large for f16).
 */
export async function createBagWriter(path: string, meta: BagMeta, options: BagWriterOptions): Promise<BagWriter> {
  const { dimension, dtype, scores: names = [] } = options;
  const placed = options.coords ?? true;
  const schema = bagSchema(meta, dimension, dtype, placed, names);
  const file = await ArrowFile.create(path, schema);

  const features = new Float32Array(ROWS_PER_BATCH * dimension);
  const coords = new Int32Array(ROWS_PER_BATCH * 2);
  const scores = names.map(() => new Float32Array(ROWS_PER_BATCH));
  let held = 0;
  let count = 0;

  async function flush(): Promise<void> {
    if (held === 0) return;
    const columns: Data[] = [];
    if (dimension > 0) columns.push(featureData(features.subarray(0, held * dimension), dimension, dtype));
    if (placed) columns.push(...coordinateData(coords.subarray(0, held * 2)));
    columns.push(...scores.map((column) => realData(column.subarray(0, held))));
    held = 0;
    await file.write(columns);
  }

  /** Rows of one record batch, on disk or still held. */
  async function written(index: number): Promise<Float32Array> {
    const rows = new Float32Array(Math.min(ROWS_PER_BATCH, count - index * ROWS_PER_BATCH) * dimension);
    if (index < file.batches) copyFeatures(await file.read(index), { meta, dimension, dtype }, rows);
    else if (dtype === 'f16') widen(features.subarray(0, rows.length), rows);
    else rows.set(features.subarray(0, rows.length));
    return rows;
  }

  return {
    get count() {
      return count;
    },
    async read(first, wanted) {
      const rows = new Float32Array(wanted * dimension);
      for (let done = 0; done < wanted && dimension > 0; ) {
        const index = Math.floor((first + done) / ROWS_PER_BATCH);
        const batch = (await written(index)).subarray((first + done - index * ROWS_PER_BATCH) * dimension);
        const part = batch.subarray(0, (wanted - done) * dimension);
        rows.set(part, done * dimension);
        done += part.length / dimension;
      }
      return rows;
    },
    async append(rows, places, rated = {}) {
      // Without features, the places say how many patches there are.
      const n = dimension > 0 ? rows.length / dimension : (places?.length ?? 0) / 2;
      if (!Number.isInteger(n)) throw new RangeError(`${rows.length} features are not rows of ${dimension}`);
      if ((places !== null) !== placed)
        throw new RangeError(placed ? 'coordinates are missing' : 'unexpected coordinates');
      if (places && places.length !== n * 2) throw new RangeError(`${places.length / 2} coordinates for ${n} rows`);
      const short = names.find((name) => rated[name]?.length !== n);
      if (short !== undefined) throw new RangeError(`${rated[short]?.length ?? 0} ${short} scores for ${n} rows`);
      requireStorable(path, rows, dtype);
      for (let done = 0; done < n; ) {
        const take = Math.min(n - done, ROWS_PER_BATCH - held);
        features.set(rows.subarray(done * dimension, (done + take) * dimension), held * dimension);
        if (places) coords.set(places.subarray(done * 2, (done + take) * 2), held * 2);
        names.forEach((name, i) => void scores[i]!.set(rated[name]!.subarray(done, done + take), held));
        held += take;
        done += take;
        count += take;
        if (held === ROWS_PER_BATCH) await flush();
      }
    },
    async finish() {
      await flush();
      await file.finish();
    },
    abort: () => file.abort(),
  };
}

/**
 * A whole bag with its score columns.
 * @throws UserError `no-bag` (no such file), `bad-bag` (truncated, or written by something else).
 */
export async function readBag(path: string): Promise<StoredBag> {
  return await reading(path, async (handle, reader) => {
    const head = headOf(path, reader.schema);
    const columns = namesOf(reader.schema);
    // The features are part of the file, so its length bounds their number: one allocation, hardly larger than needed.
    const { size } = await handle.stat();
    const capacity = Math.floor(size / Math.max(4, head.dimension * (head.dtype === 'f16' ? 2 : 4)));
    const features = new Float32Array(capacity * head.dimension);
    const coords = columns.placed ? new Int32Array(capacity * 2) : null;
    const scores = Object.fromEntries(columns.scores.map((name) => [name, new Float32Array(capacity)]));
    let count = 0;
    for await (const batch of reader) {
      copyFeatures(batch, head, features.subarray(count * head.dimension));
      if (coords) copyCoords(batch, coords.subarray(count * 2));
      for (const name of columns.scores) scores[name]!.set(scoreColumn(batch, name), count);
      count += batch.numRows;
    }
    return {
      ...head,
      count,
      features: features.subarray(0, count * head.dimension),
      coords: coords?.subarray(0, count * 2) ?? null,
      scores: Object.fromEntries(columns.scores.map((name) => [name, scores[name]!.subarray(0, count)])),
    };
  });
}

/** What a bag says of itself, without its rows. Errors as `readBag`. */
export async function readBagHead(path: string): Promise<BagHead> {
  return await reading(path, async (_, reader) => headOf(path, reader.schema));
}

/** The rows of a bag, one record batch at a time. Errors as `readBag`. */
export async function* readBagRows(path: string): AsyncGenerator<StoredRows> {
  const { handle, reader } = await openReader(path);
  try {
    const head = headOf(path, reader.schema);
    const columns = namesOf(reader.schema);
    let first = 0;
    for await (const batch of reader) {
      const count = batch.numRows;
      const stored = storedFeatures(batch, head);
      const coords = columns.placed ? new Int32Array(count * 2) : null;
      if (coords) copyCoords(batch, coords);
      const scores = Object.fromEntries(columns.scores.map((name) => [name, scoreColumn(batch, name).slice()]));
      yield {
        ...{ first, count, stored, coords, scores },
        get features() {
          return stored instanceof Uint16Array ? widenHalf(stored) : stored;
        },
      };
      first += count;
    }
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await handle.close();
  }
}

/** The rows of a bag on demand: of a bag of any length, the last record batch is in memory. Errors as `readBag`. */
export async function openBag(path: string): Promise<OpenBag> {
  const { handle, reader } = await openReader(path);
  try {
    const head = headOf(path, reader.schema);
    const { placed, scores } = namesOf(reader.schema);
    const { dimension } = head;
    const batches = reader.numRecordBatches;
    let held: { index: number; count: number; features: Float32Array } | null = null;
    const batchAt = async (index: number) => {
      if (held?.index === index) return held;
      const batch = (await reader.readRecordBatch(index)) as RecordBatch;
      const features = new Float32Array(batch.numRows * dimension);
      copyFeatures(batch, head, features);
      return (held = { index, count: batch.numRows, features });
    };
    // All record batches but the last are equally long: so they are written here.
    const last = batches > 0 ? (await batchAt(batches - 1)).count : 0;
    const rows = batches > 0 ? (await batchAt(0)).count : 1;
    return {
      ...head,
      placed,
      scores,
      count: batches > 0 ? (batches - 1) * rows + last : 0,
      async read(first, count) {
        const features = new Float32Array(count * dimension);
        try {
          for (let done = 0; done < count; ) {
            const index = Math.floor((first + done) / rows);
            const batch = await batchAt(index);
            if (index < batches - 1 && batch.count !== rows) throw badBag(path, 'its record batches differ in length');
            const start = first + done - index * rows;
            const end = Math.min(batch.count, start + count - done);
            features.set(batch.features.subarray(start * dimension, end * dimension), done * dimension);
            done += end - start;
          }
          return features;
        } catch (error) {
          throw unreadable(path, error);
        }
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw unreadable(path, error);
  }
}

/**
 * Adds score columns (one value a patch, in row order), or replaces those of the same name. The old file stays whole until
 * the new one is complete.
 * @throws UserError as `readBag` and `createBagWriter`; `score-mismatch` when their number is not the bag's.
 */
export async function addScores(path: string, scores: Scores): Promise<void> {
  const added = Object.keys(scores);
  const reserved = added.find((name) => name === 'features' || COORDINATES.includes(name));
  if (reserved) throw new RangeError(`${reserved} is no name for a score`);

  await reading(path, async (_, reader) => {
    const head = headOf(path, reader.schema);
    const { placed, scores: present } = namesOf(reader.schema);
    const kept = present.filter((name) => !added.includes(name));
    const schema = bagSchema(head.meta, head.dimension, head.dtype, placed, [...kept, ...added]);
    const carried = [...featureColumn(head), ...(placed ? COORDINATES : []), ...kept];
    const file = await ArrowFile.create(path, schema);
    try {
      let first = 0;
      for await (const batch of reader) {
        const end = first + batch.numRows;
        const columns = carried.map((name) => batch.getChild(name)!.data[0]!);
        await file.write([...columns, ...added.map((name) => realData(scores[name]!.subarray(first, end)))]);
        first = end;
      }
      for (const name of added) requireAll(path, name, scores[name]!.length, first);
      await file.finish();
    } finally {
      await file.abort();
    }
  });
}

function requireAll(path: string, name: string, found: number, rows: number): void {
  if (found === rows) return;
  const problem = `${path}: ${found} ${name} scores for a bag of ${rows} patches.`;
  throw new UserError('score-mismatch', problem, 'Compute the scores from this very bag.');
}

function bagSchema(
  meta: BagMeta,
  dimension: number,
  dtype: FeatureType,
  placed: boolean,
  scores: readonly string[],
): Schema {
  const value = dtype === 'f16' ? new Float16() : new Float32();
  return new Schema(
    [
      ...(dimension > 0
        ? [new Field('features', new FixedSizeList(dimension, new Field('item', value, false)), false)]
        : []),
      ...(placed ? COORDINATES.map((name) => new Field(name, new Int32(), false)) : []),
      ...scores.map((name) => new Field(name, new Float32(), false)),
    ],
    new Map([[META_KEY, JSON.stringify(meta)]]),
  );
}

function featureData(rows: Float32Array, dimension: number, dtype: FeatureType): Data {
  const child = dtype === 'f16' ? halfData(rows) : realData(rows);
  const type = new FixedSizeList(dimension, new Field('item', child.type, false));
  return makeData({ type, length: rows.length / dimension, nullCount: 0, child });
}

function realData(values: Float32Array): Data<Float32> {
  return makeData({ type: new Float32(), length: values.length, nullCount: 0, data: values });
}

function halfData(values: Float32Array): Data<Float16> {
  const data = new Uint16Array(values.length);
  toHalf(values, data);
  return makeData({ type: new Float16(), length: values.length, nullCount: 0, data });
}

/** As it will be on disk: rounded to f16. */
function widen(rows: Float32Array, target: Float32Array): void {
  const half = new Uint16Array(rows.length);
  toHalf(rows, half);
  fromHalf(half, target);
}

function coordinateData(coords: Int32Array): Data[] {
  return COORDINATES.map((_, axis) => {
    const data = Int32Array.from({ length: coords.length / 2 }, (_, i) => coords[2 * i + axis]!);
    return makeData({ type: new Int32(), length: data.length, nullCount: 0, data });
  });
}

function requireStorable(path: string, rows: Float32Array, dtype: FeatureType): void {
  const limit = dtype === 'f16' ? 65519 : Number.MAX_VALUE;
  const bad = rows.find((value) => !(Math.abs(value) <= limit));
  if (bad === undefined) return;
  throw Number.isFinite(bad)
    ? new UserError(
        'bad-features',
        `${path}: a feature of ${bad} does not fit f16.`,
        'Store this bag with --dtype f32.',
      )
    : new UserError(
        'bad-features',
        `${path}: the encoder gave the feature ${bad}.`,
        'Check the weights of the encoder.',
      );
}

type Reader = RecordBatchReader<TypeMap> & AsyncIterable<RecordBatch>;

async function reading<T>(path: string, read: (handle: FileHandle, reader: Reader) => Promise<T>): Promise<T> {
  const { handle, reader } = await openReader(path);
  try {
    return await read(handle, reader);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    await handle.close();
  }
}

async function openReader(path: string): Promise<{ handle: FileHandle; reader: Reader }> {
  const handle = await open(path, 'r').catch((error) => {
    throw unreadable(path, error);
  });
  try {
    await requireWhole(path, handle);
    const reader = await RecordBatchReader.from(handle);
    await reader.open({ autoDestroy: false });
    return { handle, reader: reader as unknown as Reader };
  } catch (error) {
    await handle.close();
    throw unreadable(path, error);
  }
}

/** An Arrow file begins and ends with its magic word; one cut short does not, and Arrow itself would read it as a stream. */
async function requireWhole(path: string, handle: FileHandle): Promise<void> {
  const { size } = await handle.stat();
  const magic = async (position: number) =>
    (await handle.read(Buffer.alloc(6), 0, 6, position)).buffer.toString('latin1');
  const found = size >= 12 ? [await magic(0), await magic(size - 6)] : [];
  if (found[0] !== 'ARROW1') throw badBag(path, size === 0 ? 'the file is empty' : 'it is not an Arrow file');
  if (found[1] !== 'ARROW1') throw badBag(path, 'it is cut short');
}

function headOf(path: string, schema: Schema): BagHead {
  const type = schema.fields.find((field) => field.name === 'features')?.type;
  const dtype = DataType.isFixedSizeList(type) ? dtypeOf(type.valueType) : null;
  const json = schema.metadata.get(META_KEY);
  if (!type && json) return { meta: JSON.parse(json) as BagMeta, dimension: 0, dtype: 'f32' };
  if (!DataType.isFixedSizeList(type) || !dtype) throw badBag(path, 'it has no column of feature vectors');
  if (!json) throw badBag(path, `its metadata has no ${META_KEY}`);
  return { meta: JSON.parse(json) as BagMeta, dimension: type.listSize, dtype };
}

/** A type read from a file is a Float with a precision, not one of its named subclasses. */
function dtypeOf(type: DataType): FeatureType | null {
  if (!DataType.isFloat(type)) return null;
  return type.precision === Precision.HALF ? 'f16' : type.precision === Precision.SINGLE ? 'f32' : null;
}

function namesOf(schema: Schema): { placed: boolean; scores: string[] } {
  const names = schema.fields.map((field) => field.name);
  const isScore = (field: Field) => dtypeOf(field.type) === 'f32' && !COORDINATES.includes(field.name);
  return {
    placed: COORDINATES.every((name) => names.includes(name)),
    scores: schema.fields.filter(isScore).map((field) => field.name),
  };
}

function featureColumn({ dimension }: BagHead): string[] {
  return dimension > 0 ? ['features'] : [];
}

function copyFeatures(batch: RecordBatch, head: BagHead, target: Float32Array): void {
  const values = storedFeatures(batch, head);
  if (values instanceof Uint16Array) fromHalf(values, target);
  else target.set(values);
}

function storedFeatures(batch: RecordBatch, { dimension }: BagHead): Float32Array | Uint16Array {
  if (dimension === 0) return new Float32Array(0);
  const list = batch.getChild('features')!.data[0]!;
  return list.children[0]!.values.subarray(0, list.length * dimension);
}

function copyCoords(batch: RecordBatch, target: Int32Array): void {
  COORDINATES.forEach((name, axis) => {
    const values = batch.getChild(name)!.data[0]!.values as Int32Array;
    for (let i = 0; i < batch.numRows; i++) target[2 * i + axis] = values[i]!;
  });
}

function scoreColumn(batch: RecordBatch, name: string): Float32Array {
  return (batch.getChild(name)!.data[0]!.values as Float32Array).subarray(0, batch.numRows);
}

function unreadable(path: string, error: unknown): unknown {
  if (error instanceof UserError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT')
    return new UserError('no-bag', `${path}: no such bag.`, 'Extract the slide first: lamina extract.');
  return badBag(path, messageOf(error), { cause: error });
}
