/** The survey of a slide: where its tissue is, and which patches cover it. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import type { GridOrder } from '../row-order.ts';
import { readGeoJson } from '../tiling/geojson.ts';
import { createGrid, excludeFromGrid, gridDefaults, type PatchGrid } from '../tiling/grid.ts';
import { holesOf } from '../tiling/holes.ts';
import { intersect } from '../tiling/morphology.ts';
import type { Overview } from '../tiling/overview.ts';
import { noLimits, type PatchLimits, type PatchMeasures, PatchSieve } from '../tiling/patch-sieve.ts';
import { patches } from '../tiling/patches.ts';
import { canTellInk } from '../tiling/pen.ts';
import type { Slide } from '../tiling/slide.ts';
import { readThumbnail } from '../tiling/thumbnail.ts';
import { maskPixelUm2, readTissue, type TissueMask, tissueMask } from '../tiling/tissue.ts';
import type { Mpp } from '../units.ts';

/** What a person may say about tiling. */
export interface TilingOptions extends PatchLimits {
  readonly patchPx: number;
  /** Micrometres per pixel of the patches; null takes the pixels of level 0 as they are. */
  readonly patchMpp: Mpp | null;
  /** From one patch to the next, in pixels of the patches. */
  readonly stridePx: number;
  readonly minTissue: number;
  readonly jitterPx: number;
  readonly maxPatches: number | null;
  readonly seed: number;
  readonly order: GridOrder;
  /** GeoJSON file, or folder of `<slide id>.geojson`, that says where the tissue is; null finds it. */
  readonly mask: string | null;
  /** Likewise, what of the tissue is wanted; null all of it. */
  readonly roi: string | null;
}

/** Patches side by side on all tissue, without limits. */
export function plainTiling(
  patchPx: number = gridDefaults.patchPx,
  patchMpp: Mpp | null = gridDefaults.mpp,
): TilingOptions {
  const { minTissue, jitterPx, seed, order } = gridDefaults;
  const taken = { minTissue, jitterPx, maxPatches: null, seed, order, mask: null, roi: null };
  return { patchPx, patchMpp, stridePx: patchPx, ...taken, ...noLimits };
}

export interface Survey {
  readonly tissue: TissueMask;
  readonly thumbnail: Overview;
  /** Side in pixels of the patches of the squares that are compared with ink; null where its colours are the slide's own. */
  readonly inkBlock: number | null;
  readonly grid: PatchGrid;
}

/** Longer side of the thumbnail and the heatmap. */
const THUMBNAIL_PX = 1024;

/** @throws UserError `no-mpp`, `bad-grid`, `bad-geojson`, `missing-file`, `unreadable-slide`; the signal's reason. */
export async function surveySlide(
  slide: Slide,
  id: string,
  tiling: TilingOptions,
  signal: AbortSignal,
): Promise<Survey> {
  const tissue = await tissueOfInterest(slide, id, tiling, signal);
  const { patchPx, patchMpp, stridePx, minTissue, jitterPx, maxPatches, seed, order } = tiling;
  const maximum = maxPatches === null ? {} : { maximum: maxPatches };
  const grid = createGrid(slide, tissue, {
    patchPx,
    mpp: patchMpp,
    stridePx,
    minTissue,
    jitterPx,
    seed,
    order,
    ...maximum,
  });
  const thumbnail = await readThumbnail(slide, THUMBNAIL_PX, signal);
  return { tissue, grid, thumbnail, inkBlock: canTellInk(thumbnail) ? inkBlockOf(grid) : null };
}

/** As ink is told in the mask: at 8 um/px. Without a scale, half a micrometre a pixel is assumed for this alone. */
function inkBlockOf({ mpp }: PatchGrid): number {
  return Math.max(1, Math.round(8 / (mpp ?? 0.5)));
}

async function tissueOfInterest(
  slide: Slide,
  id: string,
  { mask, roi }: TilingOptions,
  signal: AbortSignal,
): Promise<TissueMask> {
  const tissue = mask === null ? await readTissue(slide, signal) : await readGeoJson(await areasOf(mask, id), slide);
  if (mask === null && !tissue.data.includes(1)) requireMostlyReadable(slide);
  if (roi === null) return tissue;
  const wanted = await readGeoJson(await areasOf(roi, id), slide);
  return tissueMask(intersect(tissue, wanted), tissue.level0PerPixel, maskPixelUm2(slide));
}

const mostMissing = 0.5;

/** Glass shows no tissue, and neither does what cannot be read: that is not the same. */
function requireMostlyReadable(slide: Slide): void {
  const { width, height } = slide.levels[0]!;
  const missing = holesOf(slide).reduce((sum, hole) => sum + hole.width * hole.height, 0);
  if (missing <= mostMissing * width * height) return;
  const problem = `${slide.source}: most of it cannot be read (${slide.unreadable[0]?.reason}), and the rest shows no tissue.`;
  throw new UserError('unreadable-slide', problem, 'Copy or scan the slide again.');
}

/** The file of a slide's areas: the path itself, or `<id>.geojson` in it when it is a folder. */
export async function areasOf(path: string, id: string): Promise<string> {
  return (await isFolder(path)) ? join(path, `${id}.geojson`) : path;
}

/**
 * One file of areas belongs to one slide.
 * @throws UserError `one-area-file`
 */
export async function requireAreasPerSlide(path: string | null, slides: number): Promise<void> {
  if (path === null || slides === 1 || (await isFolder(path))) return;
  throw new UserError(
    'one-area-file',
    `${path} has the areas of one slide, and there are ${slides}.`,
    'Name a folder with one <slide>.geojson for each of them, or run the slides one by one.',
  );
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}

/** What the pixels of the patches of a grid say, one value a patch. */
export type GridMeasures = Readonly<Record<keyof PatchMeasures, Float32Array>>;

export interface MeasuredGrid {
  /** Without the patches over the limits. */
  readonly grid: PatchGrid;
  readonly measures: GridMeasures;
}

/** Reads all patches of a grid once, and leaves out those over the limits. */
export async function measureGrid(
  slide: Slide,
  { grid, inkBlock }: Pick<Survey, 'grid' | 'inkBlock'>,
  limits: PatchLimits,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<MeasuredGrid> {
  const sieve = new PatchSieve(limits, inkBlock);
  const all = columnsOf(() => new Float32Array(grid.count));
  for await (const batch of patches(slide, grid, { signal })) {
    sieve.rows(batch, (patch, measured) => {
      for (const name of measureNames) all[name][patch] = measured[name];
    });
    onProgress(batch.first + batch.count);
  }
  return {
    grid: excludeFromGrid(grid, sieve.excluded),
    measures: columnsOf((name) => all[name].filter((_, patch) => !sieve.excluded.has(patch))),
  };
}

/** In the order of the table's columns. */
const measureNames = ['focus', 'pen', 'saturation', 'missing'] as const;

function columnsOf(make: (name: keyof PatchMeasures) => Float32Array): GridMeasures {
  return {
    focus: make('focus'),
    pen: make('pen'),
    saturation: make('saturation'),
    missing: make('missing'),
  };
}
