/** Which squares of a slide become patches: pure arithmetic on coordinates and a mask, no pixels. */
import { UserError } from '../errors.ts';
import { createRandom, shuffle } from '../random.ts';
import type { GridOrder } from '../row-order.ts';
import type { Level0Px, Mpp } from '../units.ts';
import type { Slide } from './slide.ts';
import type { TissueMask } from './tissue.ts';

export interface GridOptions {
  /** Side of a patch as the encoder sees it. */
  readonly patchPx?: number;
  /** Micrometres per pixel of the patches; null takes the pixels of level 0 as they are. */
  readonly mpp?: Mpp | null;
  /**
   * Least share of a patch that is tissue. The default keeps what CLAM's test of four points around the centre keeps
   * at a straight edge, and is more than the mask's margin alone can fill.
   */
  readonly minTissue?: number;
  /** From one patch to the next, in pixels of the patches: less than `patchPx` makes them overlap. `patchPx` if not said. */
  readonly stridePx?: number;
  /** At most so many patches, chosen at random by `seed` from those with enough tissue; their order stays. */
  readonly maximum?: number;
  readonly seed?: number;
}

export const gridDefaults = { patchPx: 256, mpp: 0.5, minTissue: 0.25, seed: 0 } as const;

export interface PatchGrid {
  readonly count: number;
  /** count x 2: x, y of each patch's top-left corner, whole level-0 px. */
  readonly coords: Int32Array;
  /** Share of each patch that is tissue. */
  readonly tissue: Float32Array;
  /** Side of a patch on the slide; seldom a whole number, and never rounded to one. */
  readonly level0Side: Level0Px;
  readonly patchPx: number;
  /** Micrometres per pixel of the patches, null if the scale of the slide is unknown. */
  readonly mpp: Mpp | null;
  /** From one patch to the next on the slide. */
  readonly level0Stride: Level0Px;
  /** As made: left to right, then top to bottom. */
  readonly order: GridOrder;
}

/**
 * Patches side by side from the slide's top-left corner, those with enough tissue. The last column and row may hang over the edge.
 *
 * @param tissue null takes the whole slide for tissue.
 * @throws UserError `no-mpp` if a scale is asked for and the slide has none.
 */
export function createGrid(
  slide: Pick<Slide, 'source' | 'levels' | 'scale'>,
  tissue: TissueMask | null,
  options: GridOptions = {},
): PatchGrid {
  const { patchPx, mpp, minTissue, maximum, seed } = { ...gridDefaults, ...options };
  const stridePx = options.stridePx ?? patchPx;
  checkOptions(patchPx, stridePx, maximum);
  const { width, height } = slide.levels[0]!;
  const level0Side = patchPx * level0PerPatchPixel(slide, mpp);
  const level0Stride = (level0Side * stridePx) / patchPx;
  const columns = placesAlong(width, level0Side, level0Stride);
  const rows = placesAlong(height, level0Side, level0Stride);
  const share = tissue
    ? tissueShare(tissue, level0Side)
    : (x: number, y: number) => insideShare(x, y, level0Side, width, height);
  const coords: number[] = [];
  const shares: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const x = Math.round(column * level0Stride);
      const y = Math.round(row * level0Stride);
      const found = share(x, y);
      if (found < minTissue - 1e-9) continue;
      coords.push(x, y);
      shares.push(found);
    }
  }
  const grid: PatchGrid = {
    count: shares.length,
    coords: Int32Array.from(coords),
    tissue: Float32Array.from(shares),
    level0Side,
    level0Stride,
    patchPx,
    mpp: mpp ?? slide.scale.mpp,
    order: 'row-major',
  };
  return maximum === undefined || maximum >= grid.count ? grid : pick(grid, chosen(grid.count, maximum, seed));
}

/** Which row and column of the grid each patch lies in: count x 2, row before column. */
export function cellsOf({ count, coords, level0Stride }: PatchGrid): Int32Array {
  return Int32Array.from({ length: count * 2 }, (_, i) => Math.round(coords[i ^ 1]! / level0Stride));
}

/**
 * The same patches in another order.
 * @param permutation index of the patch that comes i-th, each once; out of `cellsOf`.
 */
export function reorderGrid(grid: PatchGrid, permutation: Int32Array, order: GridOrder): PatchGrid {
  if (permutation.length !== grid.count || new Set(permutation).size !== grid.count) {
    throw new RangeError(`an order of ${permutation.length} patches for a grid of ${grid.count}`);
  }
  return { ...pick(grid, permutation), order };
}

function pick(grid: PatchGrid, indices: Int32Array): PatchGrid {
  return {
    ...grid,
    count: indices.length,
    coords: Int32Array.from({ length: indices.length * 2 }, (_, i) => grid.coords[indices[i >> 1]! * 2 + (i & 1)]!),
    tissue: Float32Array.from(indices, (index) => grid.tissue[index]!),
  };
}

/** So many of the first `count` numbers, in order. */
function chosen(count: number, maximum: number, seed: number): Int32Array {
  const all = Array.from({ length: count }, (_, i) => i);
  return Int32Array.from(shuffle(createRandom(seed), all).slice(0, maximum)).sort();
}

function checkOptions(patchPx: number, stridePx: number, maximum: number | undefined): void {
  const wrong = (
    [
      ['patch size', patchPx, patchPx > 0],
      ['stride', stridePx, stridePx > 0],
      ['maximum', maximum, maximum === undefined || maximum >= 0],
    ] as const
  ).find(([, , right]) => !right);
  if (wrong) {
    throw new UserError('bad-grid', `${wrong[1]} is no ${wrong[0]} of a grid.`, 'Give a whole number above 0.');
  }
}

function level0PerPatchPixel(slide: Pick<Slide, 'source' | 'scale'>, mpp: Mpp | null): number {
  if (mpp === null) return 1;
  if (slide.scale.mpp !== null) return mpp / slide.scale.mpp;
  throw new UserError(
    'no-mpp',
    `${slide.source} does not say how large its pixels are, so patches of ${mpp} um/px cannot be cut.`,
    'Give its micrometres per pixel with --mpp.',
  );
}

/** How many patches cover a side; one that would begin on its last half pixel is not made, nor one that only repeats. */
function placesAlong(length: number, side: number, stride: number): number {
  const begun = Math.ceil((length - 0.5) / stride);
  const needed = Math.ceil((length - 0.5 - side) / stride) + 1;
  return Math.max(1, Math.min(begun, Math.max(1, needed)));
}

/** Share of a patch that lies on the slide. */
function insideShare(x: number, y: number, side: number, width: number, height: number): number {
  return (Math.min(side, width - x) * Math.min(side, height - y)) / (side * side);
}

/** Share of tissue in the patch at level-0 x, y, the mask's pixels weighed by the area that the patch covers of them. */
function tissueShare(mask: TissueMask, level0Side: number): (x: Level0Px, y: Level0Px) => number {
  const { width, height, level0PerPixel } = mask;
  const stride = width + 1;
  /** Number of set pixels above and left of each corner. */
  const table = new Float64Array(stride * (height + 1));
  for (let y = 0; y < height; y++) {
    let line = 0;
    for (let x = 0; x < width; x++) {
      line += mask.data[y * width + x]!;
      table[(y + 1) * stride + x + 1] = table[y * stride + x + 1]! + line;
    }
  }
  /** Set area above and left of any point: exact, because the area grows linearly inside a pixel. */
  const area = (x: number, y: number): number => {
    const column = Math.min(width - 1, Math.floor(x));
    const row = Math.min(height - 1, Math.floor(y));
    const dx = Math.min(1, x - column);
    const dy = Math.min(1, y - row);
    const at = row * stride + column;
    return (
      (1 - dy) * ((1 - dx) * table[at]! + dx * table[at + 1]!) +
      dy * ((1 - dx) * table[at + stride]! + dx * table[at + stride + 1]!)
    );
  };
  const side = level0Side / level0PerPixel;
  return (level0X, level0Y) => {
    const left = level0X / level0PerPixel;
    const top = level0Y / level0PerPixel;
    const set = area(left + side, top + side) - area(left, top + side) - area(left + side, top) + area(left, top);
    return set / (side * side);
  };
}
