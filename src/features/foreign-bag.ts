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
import type { Level0Px, Micrometres, Mpp } from '../units.ts';
import { type BagMeta, completed } from './bag.ts';
import { badBag, notFinite } from './bag-fault.ts';
import { fromHalf } from './half.ts';
import {
  type Attributes,
  type Hdf5Reader,
  hdf5Reason,
  isFloat,
  matrixOf,
  NotATable,
  openHdf5,
  type Table,
} from './hdf5-file.ts';
import type { BagHead, BagRows } from './store.ts';
import { isTensor, isTorchFile, readTorch, type TorchTensor } from './torch-file.ts';

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

/** @throws UserError `no-bag`, `bad-bag`, `which-features`, `no-mpp` (places in micrometres), `unknown-unit`, `not-torch`. */
export async function openForeignBag(path: string, facts: BagFacts): Promise<ForeignBag> {
  const kind = await kindOf(path);
  if (kind === 'torch') return await openTorchBag(path, facts);
  const file = await openHdf5(path).catch((error) => {
    throw badBag(path, hdf5Reason(error), { cause: error });
  });
  try {
    return hdf5Bag(path, file, facts);
  } catch (error) {
    file.close();
    if (error instanceof UserError) throw error;
    if (error instanceof NotATable) throw badBag(path, error.message, { hint: error.hint, cause: error });
    throw badBag(path, hdf5Reason(error), { cause: error });
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
    if (isTorchFile(buffer)) return 'torch';
    throw badBag(path, bytesRead === 0 ? 'the file is empty' : 'it is neither Arrow, HDF5 nor a PyTorch file');
  } finally {
    await handle.close();
  }
}

/** What a file says of its bag. */
interface Says extends BagFacts {
  /** Side of a patch on the slide. */
  readonly patchUm?: Micrometres;
  /** By which share of its side a patch overlaps the next. */
  readonly overlap?: number;
}

/** In what places are written: pixels of level 0, micrometres, or so that a patch of the first STAMP has the side 224. */
type Unit = 'px' | 'um' | 'first-stamp';

/** Where the numbers lie in a file of some tool, and what it says of them. */
interface Found {
  readonly layout: BagLayout;
  readonly features: Table;
  readonly coords: Table | null;
  readonly unit: Unit;
  readonly says: Says;
}

/** STAMP before 2.0 wrote no unit: 224 are a patch, of 256 um. */
const FIRST_STAMP = 224;

function hdf5Bag(path: string, file: Hdf5Reader, facts: BagFacts): ForeignBag {
  const found = findTables(path, file, facts);
  const { features, coords, layout } = found;
  requireShape(path, features, coords);
  const meta = metaOf(path, found, file.attributes, facts);
  const scale = coords ? pixelsPerUnit(path, found.unit, meta) : null;
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
          requireFinite(path, values, features.columns, first);
          yield { first, count, features: values, coords: places, scores: {} };
        } catch (error) {
          throw error instanceof UserError ? error : badBag(path, hdf5Reason(error), { cause: error });
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
    return { layout: 'atlaspatch', features, coords, unit: 'px', says: { encoder: name, ...gridOf(root) } };
  }
  const name = ['features', 'feats'].find((name) => file.names('/').includes(name));
  if (!name) throw badBag(path, `it has no features or feats, only ${file.names('/').join(', ') || 'nothing'}`);
  const features = file.table(`/${name}`)!;
  if (root.unit !== undefined || root.stamp_version !== undefined || root.tile_size_um !== undefined) {
    const unit = root.unit ?? (root.tile_size_um === undefined ? 'of none' : 'um');
    if (coords && unit !== 'um' && unit !== 'px') throw unknownUnit(path, `the unit ${unit}`);
    // 2.0 called the micrometres `tile_size`.
    const patchUm = number(root.tile_size_um) ?? (unit === 'um' ? number(root.tile_size) : undefined);
    const says = { encoder: text(root.extractor), patchPx: number(root.tile_size_px), patchUm };
    return { layout: 'stamp', features, coords, unit: unit === 'um' ? 'um' : 'px', says };
  }
  const at = coords?.attributes ?? {};
  if (at.patch_size_level0 !== undefined) {
    const says = { slideId: text(at.name), encoder: text(features.attributes.encoder), ...gridOf(at) };
    return { layout: 'trident', features, coords, unit: 'px', says };
  }
  if (at.patch_size !== undefined) {
    const px = number(at.patch_size);
    const patchLevel0Px = px && Math.round(px * (number(at.downsample) ?? 1));
    return {
      layout: 'clam',
      features,
      coords,
      unit: 'px',
      says: { slideId: text(at.name), patchPx: px, patchLevel0Px },
    };
  }
  const encoder = text(root.extractor);
  if (name === 'feats' && encoder && coords && Math.round(number(root.tile_size) ?? stepOf(coords)) === FIRST_STAMP) {
    return { layout: 'stamp', features, coords, unit: 'first-stamp', says: { encoder, patchPx: FIRST_STAMP } };
  }
  return { layout: name === 'features' ? 'clam' : 'bare', features, coords, unit: 'px', says: {} };
}

/** What TRIDENT and AtlasPatch say of their grid, one in the attributes of the places, one in those of the file. */
function gridOf({ patch_size, patch_size_level0, overlap }: Attributes): Says {
  const patchPx = number(patch_size);
  const pixels = number(overlap);
  return {
    patchPx,
    patchLevel0Px: number(patch_size_level0),
    ...(pixels && patchPx && pixels < patchPx && { overlap: pixels / patchPx }),
  };
}

/** The least distance of two columns or rows of patches, as far as the first ones show it; infinite if there is one patch. */
function stepOf(coords: Table): number {
  if (coords.rows < 2) return Number.POSITIVE_INFINITY;
  const values = numbersOf(coords, 0, Math.min(ROWS_AT_ONCE, coords.rows));
  const steps = [0, 1].flatMap((axis) => {
    const along = new Set<number>();
    for (let i = axis; i < values.length; i += coords.columns) along.add(Number(values[i]));
    const sorted = Float64Array.from(along).sort();
    return Array.from(sorted.subarray(1), (value, i) => value - sorted[i]!);
  });
  return Math.min(Number.POSITIVE_INFINITY, ...steps);
}

/** One of several sets of features. */
function chosen(path: string, names: readonly string[], wanted: string | undefined): string {
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  if (wanted === undefined && names.length === 1) return names[0]!;
  const problem = `${path}: it has the features ${names.join(', ') || 'of no encoder'}${wanted ? `, not ${wanted}` : ''}.`;
  throw new UserError('which-features', problem, `Choose with --features ${names[0] ?? 'NAME'}.`);
}

function requireShape(path: string, features: Table, coords: Table | null): void {
  if (!isFloat(features.type)) throw badBag(path, `${features.path} holds integers, no features`);
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
  const known = { ...dropUndefined(says), ...own, ...dropUndefined(facts) } as Says;
  const { mpp = null, patchPx = null, patchUm, overlap } = known;
  const sideOfUm = patchUm && mpp && facts.patchMpp === undefined ? patchUm / mpp : null;
  const meta = completed({
    slideId: known.slideId ?? basename(path, extname(path)),
    slideHash: own.slideHash ?? null,
    mpp,
    mppSource: facts.mpp !== undefined ? 'flag' : (own.mppSource ?? 'none'),
    patchMpp: known.patchMpp ?? (patchUm && patchPx ? patchUm / patchPx : null),
    patchPx,
    patchLevel0Px: known.patchLevel0Px ?? sideOfUm,
    encoder: known.encoder ?? 'unknown',
    order: own.order ?? 'unknown',
    version: own.version ?? `${layout}`,
  });
  const side = meta.patchLevel0Px;
  // The tools step by whole pixels.
  const stride = own.strideLevel0Px ?? (overlap && side ? Math.round(side * (1 - overlap)) : null);
  return stride === null ? meta : { ...meta, strideLevel0Px: stride };
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

/** Null where places are pixels already. */
function pixelsPerUnit(path: string, unit: Unit, { mpp, patchLevel0Px }: BagMeta): number | null {
  if (unit === 'px') return null;
  if (unit === 'first-stamp') {
    if (patchLevel0Px !== null) return patchLevel0Px / FIRST_STAMP;
    const problem =
      `${path}: its places have no unit and are ${FIRST_STAMP} apart, as STAMP before 2.0 wrote them ` +
      `(${FIRST_STAMP} are 256 um); they may as well be pixels.`;
    const hint =
      `Say with --patch-level0 how many pixels of the slide ${FIRST_STAMP} are: 256 / (um per pixel), 1024 at 0.25, ` +
      `if STAMP wrote it; ${FIRST_STAMP} if they are pixels.`;
    throw new UserError('unknown-unit', problem, hint);
  }
  if (mpp !== null) return 1 / mpp;
  const problem = `${path}: its places are in micrometres, and it does not say how many of them a pixel of the slide has.`;
  throw new UserError('no-mpp', problem, 'Say it with --mpp, for example --mpp 0.25 (lamina info shows it).');
}

/** Columns beyond the second say how a patch was read, and are left. */
function placesOf(path: string, table: Table, first: number, count: number, scale: number | null): Int32Array {
  const values = numbersOf(table, first, count);
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

function numbersOf(table: Table, first: number, count: number): ArrayLike<number | bigint> {
  const raw = table.read(first, count);
  return table.type === 'f16' ? floats(raw as Uint16Array) : raw;
}

function floats(values: Uint16Array | Float32Array | Float64Array): Float32Array {
  if (values instanceof Float32Array) return values;
  if (values instanceof Float64Array) return Float32Array.from(values);
  const wide = new Float32Array(values.length);
  fromHalf(values, wide);
  return wide;
}

function requireFinite(path: string, values: Float32Array, columns: number, firstRow = 0): void {
  const bad = notFinite(values, columns, firstRow);
  if (bad) throw badBag(path, bad);
}

/** A tensor of features, or a dictionary with `features` (or `feats`) and, perhaps, `coords`. */
async function openTorchBag(path: string, facts: BagFacts): Promise<ForeignBag> {
  const bytes = await readFile(path).catch((error) => {
    throw badBag(path, error.message, { cause: error });
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
  requireFinite(path, tensor.data, dimension);
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
  const matrix = matrixOf(shape);
  if (!matrix || matrix.columns < 1) throw badBag(path, `its ${name} have the shape [${shape}], not rows and columns`);
  return [matrix.rows, matrix.columns];
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
