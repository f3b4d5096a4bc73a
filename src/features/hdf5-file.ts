/**
 * HDF5 files of feature tables: rows of a data set as typed arrays, a piece at a time. Only what bags need of the format.
 *
 * Half floats, which h5wasm does not know, come and go as raw bytes, and so does everything else, for one way is enough.
 */
import { basename, dirname } from 'node:path/posix';
import h5wasm, { Dataset, File, Group, type Metadata } from 'h5wasm/node';
import { messageOf } from '../errors.ts';

/** The number types of tables. `u` types are not written by any tool that we read. */
export type TableType = 'f16' | 'f32' | 'f64' | 'i32' | 'i64';
export type TableRows = Uint16Array | Float32Array | Float64Array | Int32Array | BigInt64Array;

interface Kind {
  readonly bytes: number;
  readonly isFloat: boolean;
  readonly view: (bytes: ArrayBuffer) => TableRows;
}

const KINDS: Readonly<Record<TableType, Kind>> = {
  f16: { bytes: 2, isFloat: true, view: (bytes) => new Uint16Array(bytes) },
  f32: { bytes: 4, isFloat: true, view: (bytes) => new Float32Array(bytes) },
  f64: { bytes: 8, isFloat: true, view: (bytes) => new Float64Array(bytes) },
  i32: { bytes: 4, isFloat: false, view: (bytes) => new Int32Array(bytes) },
  i64: { bytes: 8, isFloat: false, view: (bytes) => new BigInt64Array(bytes) },
};

export type Attribute = string | number;
export type Attributes = Readonly<Record<string, Attribute>>;

/** A data set of two dimensions; a leading one of length 1 is looked through. */
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

/** A data set that is there and no table of numbers. */
export class NotATable extends Error {}

type H5Module = Awaited<typeof h5wasm.ready>;

/** The library's numbers for classes of types. */
const FLOAT = 1;
const INTEGER = 0;

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
  const deep = shape.length === 3 && shape[0] === 1;
  const [rows, columns] = deep ? shape.slice(1) : shape;
  if (!(deep || shape.length === 2)) throw new NotATable(`${path} has the shape [${shape}], not rows and columns`);
  const { bytes, view } = KINDS[type];
  return {
    path,
    rows: rows!,
    columns: columns!,
    type,
    attributes: attributesOf(dataset),
    read(first, count) {
      const length = count * columns! * bytes;
      const counts = [...(deep ? [1n] : []), BigInt(count), BigInt(columns!)];
      const offsets = [...(deep ? [0n] : []), BigInt(first), 0n];
      const strides = counts.map(() => 1n);
      const at = module._malloc(length);
      if (at === 0) throw new RangeError(`no memory for ${count} rows of ${path}`);
      try {
        module.get_dataset_data(dataset.file_id, path, counts, offsets, strides, BigInt(at));
        return view(module.HEAPU8.slice(at, at + length).buffer as ArrayBuffer);
      } finally {
        module._free(at);
      }
    },
  };
}

function typeOfNumbers({ type, size, littleEndian, vlen, signed }: Metadata): TableType | null {
  if (vlen || !littleEndian) return null;
  const found = (Object.keys(KINDS) as TableType[]).find((name) => {
    const kind = KINDS[name];
    return kind.bytes === size && type === (kind.isFloat ? FLOAT : INTEGER);
  });
  return found && (KINDS[found].isFloat || signed) ? found : null;
}

function describe({ type, size, littleEndian, signed }: Metadata): string {
  const bits = `${8 * size}-bit${littleEndian ? '' : ' big-endian'}`;
  if (type === FLOAT) return `${bits} floats`;
  if (type === INTEGER) return `${bits} ${signed ? '' : 'unsigned '}integers`;
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
  const { bytes, isFloat } = KINDS[type];
  const parts = path.split('/').slice(1);
  if (parts.length > 1 && !file.keys().includes(parts[0]!)) file.create_group(parts[0]!);
  module.create_dataset(file.file_id, path, 0n, {
    type: isFloat ? FLOAT : INTEGER,
    size: bytes,
    signed: true,
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
