/**
 * HDF5 files as CLAM, TRIDENT, STAMP and AtlasPatch have them: the names, types and attributes by which each tool knows its own,
 * and those without which it refuses a file.
 */
import { UserError } from '../errors.ts';
import type { Mpp } from '../units.ts';
import type { BagMeta } from './bag.ts';
import { META_ATTRIBUTE } from './foreign-bag.ts';
import type { Attributes, TableShape } from './hdf5-file.ts';
import type { BagHead } from './store.ts';

export const hdf5Layouts = ['clam', 'trident', 'stamp', 'atlaspatch'] as const;
export type Hdf5Layout = (typeof hdf5Layouts)[number];

export interface WrittenBag extends BagHead {
  readonly count: number;
  /** Whether the patches have places on the slide. */
  readonly placed: boolean;
}

export interface ToolFile {
  /** Features first, then places where there are some. */
  readonly tables: readonly TableShape[];
  readonly root: Attributes;
  /** Places, n x 2 in level-0 px, as the tool has them. */
  toPlaces(coords: Int32Array): BigInt64Array | Int32Array | Float32Array;
}

/** @param to names the file in messages. @throws UserError `no-coords`, `no-mpp`, `no-patch-size` where the tool would refuse the file. */
export function layOut(bag: WrittenBag, to: string, layout: Hdf5Layout): ToolFile {
  const file = { clam, trident, stamp, atlaspatch }[layout](bag, to);
  return { ...file, root: { ...file.root, [META_ATTRIBUTE]: JSON.stringify(bag.meta) } };
}

/** CLAM cuts squares of whole pixels at a level of the pyramid; which levels there are, a bag does not say. */
function clam({ meta, dimension, placed }: WrittenBag): ToolFile {
  const { slideId } = meta;
  const patch_size = whole(meta.patchLevel0Px);
  const level0 = patch_size === null ? null : { patch_size, patch_level: 0, downsample: 1 };
  return {
    tables: [features('/features', dimension), ...coords(placed, 2, 'i64', known({ ...level0, name: slideId }))],
    root: {},
    toPlaces: long,
  };
}

function trident(bag: WrittenBag, to: string): ToolFile {
  const { slideId, encoder } = bag.meta;
  requirePlaces(bag, to, 'TRIDENT');
  return {
    tables: [
      features('/features', bag.dimension, { name: slideId, encoder }),
      ...coords(true, 2, 'i64', known({ ...grid(bag.meta), name: slideId })),
    ],
    root: {},
    toPlaces: long,
  };
}

function stamp(bag: WrittenBag, to: string): ToolFile {
  const { encoder, mpp, patchPx, patchLevel0Px } = bag.meta;
  requirePlaces(bag, to, 'STAMP');
  if (mpp === null) throw noScale(bag, to, 'STAMP keeps places in micrometres');
  if (patchLevel0Px === null) throw noSize(bag, to, 'STAMP wants the side of a patch in micrometres');
  const said = { extractor: encoder, unit: 'um', tile_size_px: patchPx, feat_type: 'tile' };
  return {
    tables: [features('/feats', bag.dimension), ...coords(true, 2, 'f32')],
    root: known({ ...said, tile_size_um: patchLevel0Px * mpp }),
    toPlaces: (places) => Float32Array.from(places, (pixel) => pixel * mpp),
  };
}

function atlaspatch(bag: WrittenBag, to: string): ToolFile {
  const { encoder, mpp, patchMpp, patchPx, patchLevel0Px } = bag.meta;
  requirePlaces(bag, to, 'AtlasPatch');
  if (mpp === null) throw noScale(bag, to, 'AtlasPatch wants the magnification');
  if (patchLevel0Px === null || patchPx === null || patchMpp === null)
    throw noSize(bag, to, 'AtlasPatch wants the side of a patch, in its own pixels and in those of level 0');
  const side = Math.round(patchLevel0Px);
  const name = encoder.replace(/[^\w.@-]+/g, '_');
  return {
    tables: [features(`/features/${name}`, bag.dimension), ...coords(true, 5, 'i32')],
    root: known({ ...grid(bag.meta), num_patches: bag.count }),
    // Corner, width, height, level.
    toPlaces: (places) =>
      Int32Array.from({ length: (places.length / 2) * 5 }, (_, i) => {
        const column = i % 5;
        return column < 2 ? places[2 * Math.floor(i / 5) + column]! : column < 4 ? side : 0;
      }),
  };
}

/** What TRIDENT and AtlasPatch say of scale and grid, in whole numbers. */
function grid(meta: BagMeta): Record<string, number | null> {
  return {
    patch_size: meta.patchPx,
    patch_size_level0: whole(meta.patchLevel0Px),
    level0_magnification: magnification(meta.mpp),
    target_magnification: magnification(meta.patchMpp),
    overlap: overlapOf(meta),
  };
}

/** In pixels as the encoder saw them; negative where there are gaps, null where it cannot be said. */
function overlapOf({ patchPx, patchLevel0Px, strideLevel0Px }: BagMeta): number | null {
  if (strideLevel0Px === undefined) return 0;
  return patchPx && patchLevel0Px ? Math.round(patchPx * (1 - strideLevel0Px / patchLevel0Px)) : null;
}

/** The objectives that scanners are named after, each with the um/px below which TRIDENT takes a slide to be of it. */
const OBJECTIVES = [
  [80, 0.16],
  [60, 0.2],
  [40, 0.3],
  [20, 0.6],
  [10, 1.2],
  [5, 2.4],
] as const;

function magnification(mpp: Mpp | null): number | null {
  if (mpp === null) return null;
  const [objective] = OBJECTIVES.find(([, below]) => mpp < below) ?? [];
  return objective ?? Math.max(1, Math.round(10 / mpp));
}

function features(path: string, columns: number, attributes: Attributes = {}): TableShape {
  return { path, columns, type: 'f32', attributes };
}

function coords(placed: boolean, columns: number, type: TableShape['type'], attributes: Attributes = {}): TableShape[] {
  return placed ? [{ path: '/coords', columns, type, attributes }] : [];
}

const long = (places: Int32Array) => BigInt64Array.from(places, BigInt);
const whole = (pixels: number | null) => pixels && Math.round(pixels);

function known(attributes: Readonly<Record<string, string | number | null>>): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== null)) as Attributes;
}

function requirePlaces({ meta, placed }: WrittenBag, to: string, tool: string): void {
  if (placed) return;
  const problem = `${to}: ${tool} wants the places of patches, and the bag of ${meta.slideId} has none.`;
  throw new UserError('no-coords', problem, 'Write it as CLAM has it, --layout clam, or let its name end in .pt.');
}

function noScale({ meta }: WrittenBag, to: string, why: string): UserError {
  const problem = `${to}: ${why}, and the scale of ${meta.slideId} is not known.`;
  return new UserError('no-mpp', problem, 'Say it with --mpp, for example --mpp 0.25 (lamina info shows it).');
}

function noSize({ meta }: WrittenBag, to: string, why: string): UserError {
  const problem = `${to}: ${why}, and that of ${meta.slideId} is not known.`;
  return new UserError('no-patch-size', problem, 'Say it with --patch-size and --patch-level0 (pixels of the slide).');
}
