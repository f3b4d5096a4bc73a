/** Bags from one tool's layout into another's: rows pass through, a piece at a time, and the file gets its name when it is whole. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { cannotWrite, UserError } from '../errors.ts';
import { type BagMeta, completed } from './bag.ts';
import { type BagFacts, kindOf, openForeignBag } from './foreign-bag.ts';
import { createHdf5, hdf5Reason } from './hdf5-file.ts';
import { type BagRows, createBagWriter, type FeatureType, openBag, readBagRows } from './store.ts';
import { type Hdf5Layout, layOut, type WrittenBag } from './tool-layouts.ts';
import { toTorch } from './torch-file.ts';

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
export interface AnyBag extends WrittenBag {
  /** Names of its columns of scores, which an Arrow file alone has. */
  readonly scores: readonly string[];
  rows(): AsyncGenerator<BagRows>;
  close(): void;
}

/** @throws UserError as `readBag` and `openForeignBag`. */
export async function openAnyBag(path: string, facts: BagFacts): Promise<AnyBag> {
  if ((await kindOf(path)) !== 'arrow') return { ...(await openForeignBag(path, facts)), scores: [] };
  const { meta, dimension, dtype, count, placed, scores, close } = await openBag(path);
  await close();
  const { features: _, ...said } = facts;
  return {
    meta: completed({ ...meta, ...said, ...(said.mpp !== undefined && { mppSource: 'flag' as const }) }),
    ...{ dimension, dtype, count, placed, scores },
    rows: () => readBagRows(path),
    close: () => {},
  };
}

/**
 * `to` is Arrow, HDF5 or PyTorch by its extension. Scores go from Arrow to Arrow; the other kinds have no place for them.
 * @throws UserError as `openAnyBag` and `layOut`; `no-features`, `cannot-write`, `unknown-format`
 */
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
  const { meta, dimension, placed, scores } = bag;
  const writer = await createBagWriter(to, meta, { dimension, dtype, coords: placed, scores });
  try {
    for await (const rows of bag.rows()) await writer.append(rows.features, rows.coords, rows.scores);
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
  const { tables, root, toPlaces } = layOut(bag, to, layout);
  const [features, coords] = tables;
  await whole(to, async (partial) => {
    const writer = await createHdf5(partial, tables, root);
    try {
      for await (const rows of bag.rows()) {
        writer.append(features!.path, rows.features);
        if (coords && rows.coords) writer.append(coords.path, toPlaces(rows.coords));
      }
    } finally {
      writer.close();
    }
  });
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
