/** Bags from one tool's layout into another's: rows pass through, a piece at a time, and the file gets its name when it is whole. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { cannotWrite, UserError } from '../errors.ts';
import type { BagMeta } from './bag.ts';
import { type BagFacts, kindOf, META_ATTRIBUTE, openForeignBag } from './foreign-bag.ts';
import { createHdf5, type Hdf5Writer, hdf5Reason, type TableShape } from './hdf5-file.ts';
import { type BagHead, type BagRows, createBagWriter, type FeatureType, openBag, readBagRows } from './store.ts';
import { toTorch } from './torch-file.ts';

export const hdf5Layouts = ['clam', 'trident', 'stamp', 'atlaspatch'] as const;
export type Hdf5Layout = (typeof hdf5Layouts)[number];

export interface ConvertOptions {
  /** What the person says of the bag, over what the file says. */
  readonly facts: BagFacts;
  /** Of an HDF5 file. */
  readonly layout: Hdf5Layout;
  /** Of an Arrow file; null keeps the precision that there is. HDF5 and PyTorch files get f32, which their tools expect. */
  readonly dtype: FeatureType | null;
}

export interface Converted {
  readonly meta: BagMeta;
  readonly count: number;
  readonly dimension: number;
  readonly dtype: FeatureType;
  readonly placed: boolean;
}

/** A bag of any kind that is read here. */
export interface AnyBag extends BagHead {
  readonly count: number;
  readonly placed: boolean;
  rows(): AsyncGenerator<BagRows>;
  close(): void;
}

/** @throws UserError as `readBag` and `openForeignBag`. */
export async function openAnyBag(path: string, facts: BagFacts): Promise<AnyBag> {
  if ((await kindOf(path)) !== 'arrow') return await openForeignBag(path, facts);
  const { meta, dimension, dtype, count, placed, close } = await openBag(path);
  await close();
  const { features: _, ...said } = facts;
  return {
    meta: { ...meta, ...said, ...(said.mpp !== undefined && { mppSource: 'flag' as const }) },
    ...{ dimension, dtype, count, placed },
    rows: () => readBagRows(path),
    close: () => {},
  };
}

/** `out` is Arrow, HDF5 or PyTorch by its extension. @throws UserError `bad-bag`, `cannot-write`, `no-mpp`, `no-coords`, `unknown-format`. */
export async function convertBag(from: string, to: string, options: ConvertOptions): Promise<Converted> {
  const bag = await openAnyBag(from, options.facts);
  try {
    const { meta, count, dimension, placed } = bag;
    if (dimension === 0) {
      const hint = 'Run the slide again with --keep-bags.';
      throw new UserError('no-features', `${from}: its features were not kept.`, hint);
    }
    const dtype = options.dtype ?? bag.dtype;
    const write = { arrow: writeArrow, h5: writeHdf5, hdf5: writeHdf5, pt: writeTorch }[extension(to)];
    if (!write) {
      throw new UserError('unknown-format', `${to}: no kind of bag.`, 'Let its name end in .arrow, .h5 or .pt.');
    }
    await write(bag, to, { ...options, dtype });
    return { meta, count, dimension, dtype: write === writeArrow ? dtype : 'f32', placed };
  } finally {
    bag.close();
  }
}

export function extension(path: string): string {
  return /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
}

type WriteOptions = ConvertOptions & { readonly dtype: FeatureType };

async function writeArrow(bag: AnyBag, to: string, { dtype }: WriteOptions): Promise<void> {
  const writer = await createBagWriter(to, bag.meta, { dimension: bag.dimension, dtype, coords: bag.placed });
  try {
    for await (const { features, coords } of bag.rows()) await writer.append(features, coords);
    await writer.finish();
  } finally {
    await writer.abort();
  }
}

/** CLAM keeps a tensor of features alone. */
async function writeTorch(bag: AnyBag, to: string): Promise<void> {
  const data = new Float32Array(bag.count * bag.dimension);
  for await (const { first, features } of bag.rows()) data.set(features, first * bag.dimension);
  await whole(to, (partial) => writeFile(partial, toTorch({ shape: [bag.count, bag.dimension], data })));
}

async function writeHdf5(bag: AnyBag, to: string, { layout }: WriteOptions): Promise<void> {
  const { tables, root, toPlaces } = describe(bag, to, layout);
  await whole(to, async (partial) => {
    const writer = await createHdf5(partial, tables, root);
    const [features, coords] = tables;
    try {
      for await (const rows of bag.rows()) append(writer, features!.path, coords?.path ?? null, rows, toPlaces);
    } finally {
      writer.close();
    }
  });
}

function append(
  writer: Hdf5Writer,
  features: string,
  coords: string | null,
  rows: BagRows,
  toPlaces: (coords: Int32Array) => BigInt64Array | Int32Array | Float32Array,
): void {
  writer.append(features, rows.features);
  if (coords && rows.coords) writer.append(coords, toPlaces(rows.coords));
}

interface Description {
  /** Features first, then places where there are some. */
  readonly tables: readonly TableShape[];
  readonly root: Readonly<Record<string, string | number>>;
  /** Places as the layout has them. */
  toPlaces(coords: Int32Array): BigInt64Array | Int32Array | Float32Array;
}

/** The names, types and attributes by which each tool knows its own files. */
function describe({ meta, dimension, placed }: AnyBag, to: string, layout: Hdf5Layout): Description {
  const { slideId, encoder, mpp, patchPx, patchMpp, patchLevel0Px } = meta;
  const ours = { [META_ATTRIBUTE]: JSON.stringify(meta) };
  const features = (path: string, attributes = {}) => ({ path, columns: dimension, type: 'f32' as const, attributes });
  const coords = (table: Omit<TableShape, 'path'>) => (placed ? [{ path: '/coords', ...table }] : []);
  const long = (places: Int32Array) => BigInt64Array.from(places, BigInt);

  if (layout === 'clam') {
    const level0 = patchLevel0Px === null ? null : { patch_size: patchLevel0Px, patch_level: 0, downsample: 1 };
    const attributes = known({ ...level0, name: slideId });
    return {
      tables: [features('/features'), ...coords({ columns: 2, type: 'i64', attributes })],
      root: ours,
      toPlaces: long,
    };
  }
  if (layout === 'trident') {
    const attributes = known({ patch_size: patchPx, patch_size_level0: patchLevel0Px, overlap: 0, name: slideId });
    const of = { name: slideId, encoder };
    return {
      tables: [features('/features', of), ...coords({ columns: 2, type: 'i64', attributes })],
      root: ours,
      toPlaces: long,
    };
  }
  if (layout === 'atlaspatch') {
    const side = Math.round(patchLevel0Px ?? 0);
    const toPlaces = (places: Int32Array) =>
      Int32Array.from({ length: (places.length / 2) * 5 }, (_, i) => {
        const column = i % 5;
        return column < 2 ? places[2 * Math.floor(i / 5) + column]! : column < 4 ? side : 0;
      });
    const root = known({ patch_size: patchPx, patch_size_level0: patchLevel0Px, ...ours });
    const name = encoder.replace(/[^\w.@-]+/g, '_');
    return { tables: [features(`/features/${name}`), ...coords({ columns: 5, type: 'i32' })], root, toPlaces };
  }
  if (mpp === null) {
    const problem = `${to}: STAMP keeps places in micrometres, and the scale of ${slideId} is not known.`;
    throw new UserError('no-mpp', problem, 'Say it with --mpp, for example --mpp 0.25 (lamina info shows it).');
  }
  const um = patchMpp !== null && patchPx !== null ? patchMpp * patchPx : null;
  return {
    tables: [features('/feats'), ...coords({ columns: 2, type: 'f32' })],
    root: known({
      extractor: encoder,
      unit: 'um',
      tile_size_um: um,
      tile_size_px: patchPx,
      feat_type: 'tile',
      ...ours,
    }),
    toPlaces: (places) => Float32Array.from(places, (pixel) => pixel * mpp),
  };
}

function known(attributes: Readonly<Record<string, string | number | null>>): Record<string, string | number> {
  const entries = Object.entries(attributes).filter(([, value]) => value !== null);
  return Object.fromEntries(entries) as Record<string, string | number>;
}

async function whole(path: string, write: (partial: string) => Promise<void>): Promise<void> {
  const partial = `${path}.partial`;
  try {
    await write(partial);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    if (error instanceof UserError) throw error;
    // HDF5 says in its own words why.
    const code = (error as NodeJS.ErrnoException).code;
    throw cannotWrite(path, code ? error : new Error(hdf5Reason(error)));
  }
}
