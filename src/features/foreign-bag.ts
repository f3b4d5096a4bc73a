/**
 * Bags as other tools write them, read as ours are: HDF5 of CLAM, TRIDENT, STAMP and AtlasPatch, bare `features` or `feats`, and
 * PyTorch files of one tensor (CLAM) or of a dictionary.
 *
 * What a file says of scale, patch size and encoder is believed; what it does not say is null or `unknown` unless the person says
 * it, and nothing is guessed. HDF5 is read in pieces; a PyTorch file is read whole.
 */
import { open, readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { UserError } from '../errors.ts';
import type { Level0Px, Mpp } from '../units.ts';
import type { BagMeta } from './bag.ts';
import { fromHalf } from './half.ts';
import { type Attributes, type Hdf5Reader, hdf5Reason, NotATable, openHdf5, type Table } from './hdf5-file.ts';
import type { BagHead, BagRows } from './store.ts';
import { isTensor, readTorch, type TorchTensor } from './torch-file.ts';

/** What the person says of a bag, over what its file says. */
export interface BagFacts {
  readonly slideId?: string;
  readonly encoder?: string;
  /** Micrometres per level-0 pixel of the slide. */
  readonly mpp?: Mpp;
  readonly patchPx?: number;
  readonly patchMpp?: Mpp;
  readonly patchLevel0Px?: Level0Px;
  /** Which of several sets of features in one file: the encoder's name as AtlasPatch has it. */
  readonly features?: string;
}

export type BagLayout = 'clam' | 'trident' | 'stamp' | 'atlaspatch' | 'bare' | 'torch';

export interface ForeignBag extends BagHead {
  readonly layout: BagLayout;
  readonly count: number;
  /** Whether the patches have places on the slide. */
  readonly placed: boolean;
  /** @throws UserError `bad-bag` where the file is damaged or holds a number that is none. */
  rows(): AsyncGenerator<BagRows>;
  close(): void;
}

const ROWS_AT_ONCE = 1024;
/** More than any encoder gives, and more patches than any slide has: numbers of a damaged or a malicious file. */
const WIDEST = 65_536;
const MOST_ROWS = 100_000_000;

/** @throws UserError `no-bag`, `bad-bag`, `which-features`, `no-mpp` (places in micrometres), `unknown-unit`. */
export async function openForeignBag(path: string, facts: BagFacts): Promise<ForeignBag> {
  const kind = await kindOf(path);
  if (kind === 'torch') return await openTorchBag(path, facts);
  const file = await openHdf5(path).catch((error) => {
    throw badBag(path, hdf5Reason(error), error);
  });
  try {
    return hdf5Bag(path, file, facts);
  } catch (error) {
    file.close();
    if (error instanceof UserError) throw error;
    throw badBag(path, error instanceof NotATable ? error.message : hdf5Reason(error), error);
  }
}

export type BagFileKind = 'arrow' | 'hdf5' | 'torch';

/** By the first bytes, whatever the name. @throws UserError `no-bag`, `bad-bag` */
export async function kindOf(path: string): Promise<BagFileKind> {
  const handle = await open(path, 'r').catch((error) => {
    throw new UserError('no-bag', `${path}: cannot be opened (${error.code ?? error}).`, 'Check the path.');
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    const head = buffer.toString('latin1', 0, bytesRead);
    if (head.startsWith('ARROW1')) return 'arrow';
    if (head === '\x89HDF\r\n\x1a\n') return 'hdf5';
    if (head.startsWith('PK')) return 'torch';
    throw badBag(path, bytesRead === 0 ? 'the file is empty' : 'it is neither Arrow, HDF5 nor a PyTorch file');
  } finally {
    await handle.close();
  }
}

/** Where the numbers lie in a file of some tool, and what it says of them. */
interface Found {
  readonly layout: BagLayout;
  readonly features: Table;
  readonly coords: Table | null;
  /** Places are in micrometres, not in pixels of level 0. */
  readonly micrometres: boolean;
  readonly says: BagFacts;
}

function hdf5Bag(path: string, file: Hdf5Reader, facts: BagFacts): ForeignBag {
  const found = findTables(path, file, facts);
  const { features, coords, layout } = found;
  requireShape(path, features, coords);
  const meta = metaOf(path, found, file.attributes, facts);
  const scale = found.micrometres && coords ? pixelsPerMicrometre(path, meta) : null;
  return {
    layout,
    meta,
    count: features.rows,
    dimension: features.columns,
    dtype: features.type === 'f16' ? 'f16' : 'f32',
    placed: coords !== null,
    async *rows() {
      for (let first = 0; first < features.rows; first += ROWS_AT_ONCE) {
        const count = Math.min(ROWS_AT_ONCE, features.rows - first);
        try {
          const values = floats(features.read(first, count) as Uint16Array | Float32Array | Float64Array);
          const places = coords && placesOf(path, coords, first, count, scale);
          requireFinite(path, values, first, features.columns);
          yield { first, count, features: values, coords: places, scores: {} };
        } catch (error) {
          throw error instanceof UserError ? error : badBag(path, hdf5Reason(error), error);
        }
      }
    },
    close: () => file.close(),
  };
}

function findTables(path: string, file: Hdf5Reader, facts: BagFacts): Found {
  const coords = file.table('/coords');
  const root = file.attributes;
  if (file.isGroup('/features')) {
    const name = chosen(path, file.names('/features'), facts.features);
    const features = file.table(`/features/${name}`)!;
    const patchLevel0Px = number(root.patch_size_level0);
    const says = { encoder: name, patchPx: number(root.patch_size), patchLevel0Px };
    return { layout: 'atlaspatch', features, coords, micrometres: false, says };
  }
  const name = ['features', 'feats'].find((name) => file.names('/').includes(name));
  if (!name) throw badBag(path, `it has no features or feats, only ${file.names('/').join(', ') || 'nothing'}`);
  const features = file.table(`/${name}`)!;
  if (root.unit !== undefined || root.stamp_version !== undefined) {
    const um = number(root.tile_size_um) ?? number(root.tile_size);
    const px = number(root.tile_size_px);
    const says = { encoder: text(root.extractor), patchPx: px, ...(um && px ? { patchMpp: um / px } : {}) };
    if (coords && root.unit !== 'um' && root.unit !== 'px')
      throw unknownUnit(path, `the unit ${root.unit ?? 'of none'}`);
    return { layout: 'stamp', features, coords, micrometres: root.unit === 'um', says };
  }
  const at = coords?.attributes ?? {};
  if (at.patch_size_level0 !== undefined) {
    const says = {
      slideId: text(at.name),
      encoder: text(features.attributes.encoder),
      patchPx: number(at.patch_size),
      patchLevel0Px: number(at.patch_size_level0),
    };
    return { layout: 'trident', features, coords, micrometres: false, says };
  }
  if (at.patch_size !== undefined) {
    const px = number(at.patch_size);
    const patchLevel0Px = px && Math.round(px * (number(at.downsample) ?? 1));
    return {
      layout: 'clam',
      features,
      coords,
      micrometres: false,
      says: { slideId: text(at.name), patchPx: px, patchLevel0Px },
    };
  }
  return { layout: name === 'features' ? 'clam' : 'bare', features, coords, micrometres: false, says: {} };
}

/** One of several sets of features. */
function chosen(path: string, names: readonly string[], wanted: string | undefined): string {
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  if (wanted === undefined && names.length === 1) return names[0]!;
  const problem = `${path}: it has the features ${names.join(', ') || 'of no encoder'}${wanted ? `, not ${wanted}` : ''}.`;
  throw new UserError('which-features', problem, `Choose with --features ${names[0] ?? 'NAME'}.`);
}

function requireShape(path: string, features: Table, coords: Table | null): void {
  if (features.type === 'i32' || features.type === 'i64')
    throw badBag(path, `${features.path} holds integers, no features`);
  if (features.columns < 1 || features.columns > WIDEST)
    throw badBag(path, `a feature vector of ${features.columns} numbers`);
  if (features.rows > MOST_ROWS) throw badBag(path, `${features.rows} patches are more than a slide has`);
  if (!coords) return;
  if (coords.columns < 2) throw badBag(path, `${coords.path} has ${coords.columns} column, not x and y`);
  if (coords.rows !== features.rows) throw badBag(path, `it has ${coords.rows} places for ${features.rows} patches`);
}

/** The person goes before the file; what follows from two of scale, pixels and size is filled in. */
function metaOf(path: string, { says, layout }: Found, root: Attributes, facts: BagFacts): BagMeta {
  const own = ownMeta(root);
  const known = { ...dropUndefined(says), ...own, ...dropUndefined(facts) } as BagFacts;
  const mpp = known.mpp ?? null;
  const patchPx = known.patchPx ?? null;
  const side = known.patchLevel0Px ?? (known.patchMpp && patchPx && mpp ? (known.patchMpp * patchPx) / mpp : null);
  return {
    slideId: known.slideId ?? basename(path, extname(path)),
    slideHash: own.slideHash ?? null,
    mpp,
    mppSource: facts.mpp !== undefined ? 'flag' : (own.mppSource ?? 'none'),
    patchMpp: known.patchMpp ?? (side && patchPx && mpp ? (mpp * side) / patchPx : null),
    patchPx,
    patchLevel0Px: side,
    encoder: known.encoder ?? 'unknown',
    order: own.order ?? 'unknown',
    version: own.version ?? `${layout}`,
  };
}

/** Attribute in which `convert` leaves what a bag of ours says and the tool's own layout has no place for. */
export const META_ATTRIBUTE = 'lamina_bag';

function ownMeta(root: Attributes): Partial<BagMeta> {
  try {
    return dropUndefined(JSON.parse(String(root[META_ATTRIBUTE] ?? '{}')));
  } catch {
    return {};
  }
}

function dropUndefined<T extends object>(object: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => value !== undefined && value !== null),
  ) as Partial<T>;
}

function pixelsPerMicrometre(path: string, { mpp }: BagMeta): number {
  if (mpp !== null) return 1 / mpp;
  const problem = `${path}: its places are in micrometres, and it does not say how many of them a pixel of the slide has.`;
  throw new UserError('no-mpp', problem, 'Say it with --mpp, for example --mpp 0.25 (lamina info shows it).');
}

/** Columns beyond the second say how a patch was read, and are left. */
function placesOf(path: string, table: Table, first: number, count: number, scale: number | null): Int32Array {
  const raw = table.read(first, count);
  const values = table.type === 'f16' ? floats(raw as Uint16Array) : raw;
  const places = new Int32Array(count * 2);
  for (let i = 0; i < count; i++) {
    for (const axis of [0, 1]) {
      const written = Number(values[i * table.columns + axis]);
      const pixel = scale === null ? written : Math.round(written * scale);
      if (!Number.isInteger(pixel)) {
        throw unknownUnit(path, `the place ${written} of patch ${first + i}, which is no whole pixel`);
      }
      if (Math.abs(pixel) > 0x7fffffff) throw badBag(path, `patch ${first + i} lies at ${written}`);
      places[2 * i + axis] = pixel;
    }
  }
  return places;
}

function unknownUnit(path: string, what: string): UserError {
  const problem = `${path}: it has ${what}; pixels of level 0 and micrometres (STAMP's unit um) are understood.`;
  return new UserError('unknown-unit', problem, 'Extract the slide again, or write its coords as pixels of level 0.');
}

function floats(values: Uint16Array | Float32Array | Float64Array): Float32Array {
  if (values instanceof Float32Array) return values;
  if (values instanceof Float64Array) return Float32Array.from(values);
  const wide = new Float32Array(values.length);
  fromHalf(values, wide);
  return wide;
}

function requireFinite(path: string, values: Float32Array, firstRow: number, columns: number): void {
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const where = `feature ${bad % columns} of patch ${firstRow + Math.floor(bad / columns)}`;
  throw badBag(path, `${where} is ${values[bad]}`);
}

/** A tensor of features, or a dictionary with `features` (or `feats`) and, perhaps, `coords`. */
async function openTorchBag(path: string, facts: BagFacts): Promise<ForeignBag> {
  const bytes = await readFile(path).catch((error) => {
    throw badBag(path, error.message, error);
  });
  const value = readTorch(bytes, path);
  const [tensor, places] = isTensor(value)
    ? [value, undefined]
    : value instanceof Map
      ? [value.get('features') ?? value.get('feats'), value.get('coords')]
      : [undefined, undefined];
  if (!isTensor(tensor)) throw badBag(path, 'it holds no tensor of features, alone or under features or feats');
  const [count, dimension] = matrix(path, 'features', tensor);
  const coords = isTensor(places) ? wholePlaces(path, places, count) : null;
  requireFinite(path, tensor.data, 0, dimension);
  const found = { layout: 'torch' as const, says: {} } as Found;
  return {
    layout: 'torch',
    meta: metaOf(path, found, {}, facts),
    count,
    dimension,
    dtype: 'f32',
    placed: coords !== null,
    async *rows() {
      for (let first = 0; first < count; first += ROWS_AT_ONCE) {
        const end = Math.min(count, first + ROWS_AT_ONCE);
        const features = tensor.data.subarray(first * dimension, end * dimension);
        yield { first, count: end - first, features, coords: coords?.subarray(2 * first, 2 * end) ?? null, scores: {} };
      }
    },
    close: () => {},
  };
}

function matrix(path: string, name: string, { shape }: TorchTensor): [rows: number, columns: number] {
  const [rows, columns] = shape.length === 3 && shape[0] === 1 ? shape.slice(1) : shape;
  if (rows === undefined || columns === undefined || columns < 1 || shape.length > 3) {
    throw badBag(path, `its ${name} have the shape [${shape}], not rows and columns`);
  }
  return [rows, columns];
}

function wholePlaces(path: string, tensor: TorchTensor, count: number): Int32Array {
  const [rows, columns] = matrix(path, 'coords', tensor);
  if (rows !== count || columns < 2) throw badBag(path, `it has ${rows} places for ${count} patches`);
  return Int32Array.from({ length: 2 * count }, (_, i) => {
    const written = tensor.data[(i >> 1) * columns + (i & 1)]!;
    if (!Number.isInteger(written)) throw unknownUnit(path, `the place ${written}, which is no whole pixel`);
    if (Math.abs(written) > 0x7fffffff) throw badBag(path, `patch ${i >> 1} lies at ${written}`);
    return written;
  });
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function badBag(path: string, why: string, cause?: unknown): UserError {
  return new UserError(
    'bad-bag',
    `${path}: not a readable bag, ${why}.`,
    'Copy the file again, or extract the slide again.',
    {
      cause,
    },
  );
}
