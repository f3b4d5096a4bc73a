/**
 * HDF5 files of feature tables: rows of a data set as typed arrays, a piece at a time. Only what bags need of the format.
 *
 * Half floats, which h5wasm does not know, come and go as raw bytes, and so does everything else, for one way is enough.
 */
import { basename, dirname } from 'node:path/posix';
import h5wasm, { Dataset, File, Group, type Metadata } from 'h5wasm/node';
import { messageOf } from '../errors.ts';

/** Arrays of the number types of tables; halves as 16-bit words. Big-endian numbers are turned round by the library. */
const ARRAYS = {
  f16: Uint16Array,
  f32: Float32Array,
  f64: Float64Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u16: Uint16Array,
  u32: Uint32Array,
  u64: BigUint64Array,
} as const;

export type TableType = keyof typeof ARRAYS;
export type TableRows =
  | Uint16Array
  | Float32Array
  | Float64Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint32Array
  | BigUint64Array;

export function isFloat(type: TableType): boolean {
  return type.startsWith('f');
}

export type Attribute = string | number;
export type Attributes = Readonly<Record<string, Attribute>>;

/** A data set of two dimensions; of three, the first or the second of which has the length 1, that one is looked through. */
export interface Table {
  /** `/features` */
  readonly path: string;
  readonly rows: number;
  readonly columns: number;
  readonly type: TableType;
  readonly attributes: Attributes;
  /** @throws Error of the library when the file is damaged there. */
  read(first: number, count: number): TableRows;
}

export interface Hdf5Reader {
  readonly attributes: Attributes;
  /** Names in a group, `/` for the root. */
  names(group: string): string[];
  isGroup(path: string): boolean;
  /** Null if there is no such data set. @throws NotATable */
  table(path: string): Table | null;
  close(): void;
}

/** A data set that is there and no table of numbers, or one that the library cannot unpack. */
export class NotATable extends Error {
  constructor(
    message: string,
    /** What to do, where one knows. */
    readonly hint?: string,
  ) {
    super(message);
  }
}

type H5Module = Awaited<typeof h5wasm.ready>;

/** The library's numbers for classes of types. */
const FLOAT = 1;
const INTEGER = 0;

/** Filters that the library has inside, by their numbers in HDF5: deflate, shuffle, fletcher32, szip, nbit, scaleoffset. */
const FILTERS: readonly number[] = [1, 2, 3, 4, 5, 6];

async function library(): Promise<H5Module> {
  const module = await h5wasm.ready;
  // Errors as exceptions; otherwise the library prints them as well.
  module.activate_throwing_error_handler();
  return module;
}

/** @throws Error of the library if this is no HDF5 file, or one cut short. */
export async function openHdf5(path: string): Promise<Hdf5Reader> {
  const module = await library();
  const file = new File(path, 'r');
  return {
    attributes: attributesOf(file),
    names: (group) => groupOf(file, group)?.keys() ?? [],
    isGroup: (path) => groupOf(file, path) !== null,
    table(path) {
      const group = groupOf(file, dirname(path));
      if (!group?.keys().includes(basename(path))) return null;
      // A link may lead to any file of this machine, and is not followed.
      const isLink = file.get_external_link(path).filename !== undefined;
      const entity = isLink ? null : group.get(basename(path));
      if (!(entity instanceof Dataset)) throw new NotATable(`${path} is no data set${isLink ? ' of this file' : ''}`);
      return tableOf(module, entity);
    },
    close: () => void file.close(),
  };
}

/** The root or a group in it; null if there is none of that name. */
function groupOf(file: File, path: string): Group | null {
  if (path === '/') return file;
  const entity = file.keys().includes(basename(path)) ? file.get(path) : null;
  return entity instanceof Group ? entity : null;
}

function tableOf(module: H5Module, dataset: Dataset): Table {
  const { metadata } = dataset;
  const { path } = dataset;
  const shape = metadata.shape ?? [];
  const type = typeOfNumbers(metadata);
  if (!type) throw new NotATable(`${path} holds ${describe(metadata)}, and floats or integers are read`);
  if (metadata.virtual_sources?.length) throw new NotATable(`${path} lies in other files`);
  const filter = dataset.filters.find(({ id }) => !FILTERS.includes(id));
  if (filter) {
    const hint = 'Write it anew with gzip, in h5py or where its plugin is installed: h5repack -f GZIP=4 old.h5 new.h5.';
    throw new NotATable(
      `${path} is packed with ${filter.name || `the filter ${filter.id}`}, which is not known here`,
      hint,
    );
  }
  const matrix = matrixOf(shape);
  if (!matrix) throw new NotATable(`${path} has the shape [${shape}], not rows and columns`);
  const { rows, columns, thin } = matrix;
  /** Numbers of the axes of the matrix as those of the data set. */
  const onAxes = (ofRows: number, ofColumns: number, ofThin: number) =>
    (thin === null ? [ofRows, ofColumns] : [ofRows, ofColumns].toSpliced(thin, 0, ofThin)).map(BigInt);
  return {
    path,
    rows,
    columns,
    type,
    attributes: attributesOf(dataset),
    read(first, count) {
      const length = count * columns * ARRAYS[type].BYTES_PER_ELEMENT;
      const [counts, offsets, strides] = [onAxes(count, columns, 1), onAxes(first, 0, 0), onAxes(1, 1, 1)];
      const at = module._malloc(length);
      if (at === 0) throw new RangeError(`no memory for ${count} rows of ${path}`);
      try {
        module.get_dataset_data(dataset.file_id, path, counts, offsets, strides, BigInt(at));
        return new ARRAYS[type](module.HEAPU8.slice(at, at + length).buffer as ArrayBuffer);
      } finally {
        module._free(at);
      }
    },
  };
}

/** Rows and columns of a shape of two dimensions, or of three without a thin one, whose axis is named. */
export function matrixOf(shape: readonly number[]): { rows: number; columns: number; thin: number | null } | null {
  const axis = shape.length === 3 ? shape.slice(0, 2).indexOf(1) : -1;
  const [rows, columns, ...more] = axis < 0 ? shape : shape.toSpliced(axis, 1);
  if (rows === undefined || columns === undefined || more.length > 0) return null;
  return { rows, columns, thin: axis < 0 ? null : axis };
}

function typeOfNumbers({ type, size, vlen, signed }: Metadata): TableType | null {
  const kind = { [FLOAT]: 'f', [INTEGER]: signed ? 'i' : 'u' }[type];
  const name = `${kind}${8 * size}`;
  return !vlen && Object.hasOwn(ARRAYS, name) ? (name as TableType) : null;
}

function describe({ type, size, signed }: Metadata): string {
  if (type === FLOAT) return `${8 * size}-bit floats`;
  if (type === INTEGER) return `${8 * size}-bit ${signed ? '' : 'unsigned '}integers`;
  return 'no numbers';
}

/** Texts and single numbers; what is neither is left out. */
function attributesOf(of: File | Dataset): Attributes {
  const found: Record<string, Attribute> = {};
  for (const [name, attribute] of Object.entries(of.attrs)) {
    const value = plain(attribute);
    if (value !== null) found[name] = value;
  }
  return found;
}

/** Of a list, as CLAM writes a scale for each axis, the first. */
function plain(attribute: { readonly value: unknown }): Attribute | null {
  try {
    const { value } = attribute;
    const one = ArrayBuffer.isView(value) || Array.isArray(value) ? (value as unknown as unknown[])[0] : value;
    if (typeof one === 'bigint') return Number(one);
    return typeof one === 'string' || typeof one === 'number' ? one : null;
  } catch {
    // A type that the library does not know says nothing that we need.
    return null;
  }
}

export interface TableShape {
  readonly path: string;
  readonly columns: number;
  /** The library cannot make tables of halves. */
  readonly type: Exclude<TableType, 'f16'>;
  readonly attributes?: Attributes;
}

export interface Hdf5Writer {
  /** Adds rows to a table; its bytes are those of the table's type. */
  append(path: string, rows: TableRows): void;
  close(): void;
}

const UNLIMITED = 2n ** 64n - 1n;
/** Rows that lie together on disk. */
const CHUNK_ROWS = 256;

/** A new file with tables that grow. The caller gives it a temporary name. @throws Error of the library (folder, disk full). */
export async function createHdf5(path: string, tables: readonly TableShape[], root: Attributes): Promise<Hdf5Writer> {
  const module = await library();
  const file = new File(path, 'w');
  const rowsOf = new Map(tables.map((table) => [table.path, 0]));
  try {
    setAttributes(file, root);
    for (const table of tables) createTable(module, file, table);
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    append(name, rows) {
      const { columns } = tables.find((table) => table.path === name)!;
      const first = rowsOf.get(name)!;
      const count = rows.length / columns;
      const { file_id } = file;
      module.resize_dataset(file_id, name, [first + count, columns].map(BigInt));
      const bytes = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
      const at = module._malloc(bytes.length);
      if (at === 0 && bytes.length > 0) throw new RangeError(`no memory for ${count} rows of ${name}`);
      try {
        module.HEAPU8.set(bytes, at);
        const [counts, offsets] = [[count, columns].map(BigInt), [first, 0].map(BigInt)];
        module.set_dataset_data(file_id, name, counts, offsets, [1n, 1n], BigInt(at));
      } finally {
        module._free(at);
      }
      rowsOf.set(name, first + count);
    },
    close() {
      file.flush();
      if (file.close() < 0) throw new Error('the file could not be closed');
    },
  };
}

function createTable(module: H5Module, file: File, { path, columns, type, attributes = {} }: TableShape): void {
  const parts = path.split('/').slice(1);
  if (parts.length > 1 && !file.keys().includes(parts[0]!)) file.create_group(parts[0]!);
  module.create_dataset(file.file_id, path, 0n, {
    type: isFloat(type) ? FLOAT : INTEGER,
    size: ARRAYS[type].BYTES_PER_ELEMENT,
    signed: !type.startsWith('u'),
    littleEndian: true,
    vlen: false,
    total_size: 0,
    shape: [0n, BigInt(columns)],
    maxshape: [UNLIMITED, BigInt(columns)],
    chunks: [BigInt(CHUNK_ROWS), BigInt(columns)],
    compression: 0,
    compression_opts: [],
    track_order: false,
  } as Parameters<H5Module['create_dataset']>[3]);
  setAttributes(file.get(path) as Dataset, attributes);
}

/** Whole numbers as 64-bit integers, as Python writes them. */
function setAttributes(of: File | Dataset, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'string') of.create_attribute(name, value);
    else if (Number.isSafeInteger(value)) of.create_attribute(name, new BigInt64Array([BigInt(value)]), []);
    else of.create_attribute(name, new Float64Array([value]), []);
  }
}

/** The last of the library's lines, which is the first thing that went wrong; it writes a stack of its own functions. */
export function hdf5Reason(error: unknown): string {
  const lines = [...messageOf(error).matchAll(/\(\): (.+)/g)];
  return lines.at(-1)?.[1] ?? messageOf(error).split('\n')[0]!;
}
