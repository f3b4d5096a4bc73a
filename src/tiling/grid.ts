/** Which squares of a slide become patches: pure arithmetic on coordinates and a mask, no pixels. */
import { UserError } from '../errors.ts';
import { createRandom, integer } from '../random.ts';
import { type GridOrder, orderOfCells } from '../row-order.ts';
import type { Level0Px, Mpp } from '../units.ts';
import type { Exclusion } from './patch-sieve.ts';
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
  /**
   * Each patch is moved by up to so many pixels of the patches, across and down, at random by `seed`: other cuts of the same tissue
   * for training. At most half the stride, so that a patch stays at its own cell.
   */
  readonly jitterPx?: number;
  /** At most so many patches, chosen at random by `seed` from those with enough tissue; their order stays. */
  readonly maximum?: number;
  readonly seed?: number;
  /** How the patches are listed. */
  readonly order?: GridOrder;
}

export const gridDefaults = {
  patchPx: 256,
  mpp: 0.5,
  minTissue: 0.25,
  jitterPx: 0,
  seed: 0,
  order: 'row-major',
} as const;

/** Forty pixels apart on the largest slides: more is a slip of the keyboard, or a file that lies about its size. */
const maxPlaces = 5e6;

export interface PatchGrid {
  readonly count: number;
  /** count x 2: x, y of each patch's top-left corner, whole level-0 px. */
  readonly coords: Int32Array;
  /** count x 2: row and column of each patch on the grid; jitter does not change them. */
  readonly cells: Int32Array;
  /** Share of each patch that is tissue. */
  readonly tissue: Float32Array;
  /** Places with some tissue that are not in the grid. */
  readonly excluded: readonly ExcludedPlaces[];
  /** Side of a patch on the slide; seldom a whole number, and never rounded to one. */
  readonly level0Side: Level0Px;
  readonly patchPx: number;
  /** Micrometres per pixel of the patches, null if the scale of the slide is unknown. */
  readonly mpp: Mpp | null;
  /** From one patch to the next on the slide. */
  readonly level0Stride: Level0Px;
  readonly order: GridOrder;
}

export interface ExcludedPlaces {
  readonly reason: Exclusion;
  /** As `coords` of the grid. */
  readonly coords: Int32Array;
}

/**
 * Patches side by side from the slide's top-left corner, those with enough tissue. The last column and row may hang over the edge.
 *
 * @param tissue null takes the whole slide for tissue.
 * @throws UserError `no-mpp` if a scale is asked for and the slide has none; `bad-grid`.
 */
export function createGrid(
  slide: Pick<Slide, 'source' | 'levels' | 'scale'>,
  tissue: TissueMask | null,
  options: GridOptions = {},
): PatchGrid {
  const { patchPx, mpp, minTissue, jitterPx, maximum, seed, order } = { ...gridDefaults, ...options };
  const stridePx = options.stridePx ?? patchPx;
  checkGridOptions({ patchPx, stridePx, minTissue, jitterPx, ...(maximum === undefined ? {} : { maximum }) });
  const { width, height } = slide.levels[0]!;
  const level0PerPx = level0PerPatchPixel(slide, mpp);
  const level0Side = patchPx * level0PerPx;
  const level0Stride = stridePx * level0PerPx;
  const columns = placesAlong(width, level0Side, level0Stride);
  const rows = placesAlong(height, level0Side, level0Stride);
  if (columns * rows > maxPlaces) {
    throw new UserError(
      'bad-grid',
      `A grid over ${slide.source} would have ${columns} x ${rows} places.`,
      'Ask for larger patches or a larger stride.',
    );
  }
  const moved = jitter(jitterPx * level0PerPx, seed);
  const share = tissue
    ? tissueShare(tissue, level0Side)
    : (x: number, y: number) => insideShare(x, y, level0Side, width, height);
  const kept: { coords: number[]; cells: number[]; tissue: number[] } = { coords: [], cells: [], tissue: [] };
  const bare: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const x = moved(column, columns, level0Stride);
      const y = moved(row, rows, level0Stride);
      const found = share(x, y);
      if (found >= minTissue - 1e-9) {
        kept.coords.push(x, y);
        kept.cells.push(row, column);
        kept.tissue.push(found);
      } else if (found > 1e-9) bare.push(x, y);
    }
  }
  const all: PatchGrid = {
    count: kept.tissue.length,
    coords: Int32Array.from(kept.coords),
    cells: Int32Array.from(kept.cells),
    tissue: Float32Array.from(kept.tissue),
    excluded: bare.length === 0 ? [] : [{ reason: 'little-tissue', coords: Int32Array.from(bare) }],
    level0Side,
    level0Stride,
    patchPx,
    mpp: mpp ?? slide.scale.mpp,
    order: 'row-major',
  };
  const some = maximum === undefined ? all : chooseSome(all, maximum, seed);
  return order === 'row-major' ? some : { ...pick(some, orderOfCells(order, some.cells)), order };
}

/** The patches from one index up to another. */
export function sliceGrid(grid: PatchGrid, first: number, end: number): PatchGrid {
  const count = Math.max(0, Math.min(end, grid.count) - first);
  return pick(
    grid,
    Int32Array.from({ length: count }, (_, i) => first + i),
  );
}

/** The grid without the patches of these indices, which join `excluded` under their reasons. */
export function excludeFromGrid(grid: PatchGrid, reasons: ReadonlyMap<number, Exclusion>): PatchGrid {
  if (reasons.size === 0) return grid;
  const left = Array.from({ length: grid.count }, (_, i) => i).filter((i) => !reasons.has(i));
  const excluded = [...new Set(reasons.values())].map((reason) => {
    const patches = [...reasons.keys()].filter((i) => reasons.get(i) === reason);
    return { reason, coords: pick(grid, Int32Array.from(patches)).coords };
  });
  return { ...pick(grid, Int32Array.from(left)), excluded: [...grid.excluded, ...excluded] };
}

/** How many places were left out for each reason. */
export function countExcluded({ excluded }: PatchGrid): Partial<Record<Exclusion, number>> {
  return Object.fromEntries(excluded.map(({ reason, coords }) => [reason, coords.length / 2]));
}

function pick(grid: PatchGrid, indices: Int32Array): PatchGrid {
  const coords = new Int32Array(indices.length * 2);
  const cells = new Int32Array(indices.length * 2);
  const tissue = new Float32Array(indices.length);
  indices.forEach((from, to) => {
    for (const i of [0, 1]) {
      coords[2 * to + i] = grid.coords[2 * from + i]!;
      cells[2 * to + i] = grid.cells[2 * from + i]!;
    }
    tissue[to] = grid.tissue[from]!;
  });
  return { ...grid, count: indices.length, coords, cells, tissue };
}

/** Where the i-th of n places along a side begins: a whole level-0 px, moved at random, never out of the grid. */
function jitter(reach: Level0Px, seed: number): (i: number, n: number, stride: Level0Px) => Level0Px {
  if (reach === 0) return (i, _, stride) => Math.round(i * stride);
  const random = createRandom(seed);
  return (i, n, stride) =>
    Math.min(Math.round((n - 1) * stride), Math.max(0, Math.round(i * stride + (2 * random() - 1) * reach)));
}

/** So many of the patches at random, the others as not chosen. */
function chooseSome(grid: PatchGrid, maximum: number, seed: number): PatchGrid {
  if (maximum >= grid.count) return grid;
  const random = createRandom(seed);
  const shuffled = Int32Array.from({ length: grid.count }, (_, i) => i);
  // As far as it is needed (Fisher-Yates).
  for (let i = 0; i < maximum; i++) {
    const j = i + integer(random, grid.count - i);
    [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
  }
  const { coords } = pick(grid, shuffled.subarray(maximum).sort());
  const excluded = [...grid.excluded, { reason: 'not-chosen' as const, coords }];
  return { ...pick(grid, shuffled.subarray(0, maximum).sort()), excluded };
}

/** @throws UserError `bad-grid` */
export function checkGridOptions(
  options: Required<Pick<GridOptions, 'patchPx' | 'stridePx' | 'minTissue' | 'jitterPx'>> &
    Pick<GridOptions, 'maximum'>,
): void {
  const { patchPx, stridePx, minTissue, jitterPx, maximum } = options;
  const wrong = (
    [
      ['patch size', patchPx, patchPx > 0, 'a whole number above 0'],
      ['stride', stridePx, stridePx > 0, 'a number of pixels above 0'],
      ['share of tissue', minTissue, minTissue >= 0 && minTissue <= 1, 'a number from 0 to 1'],
      ['jitter', jitterPx, jitterPx >= 0 && jitterPx <= stridePx / 2, `0 to ${stridePx / 2} px, half the stride`],
      ['maximum', maximum, maximum === undefined || maximum >= 0, 'a whole number, 0 or above'],
    ] as const
  ).find(([, , right]) => !right);
  if (wrong) throw new UserError('bad-grid', `${wrong[1]} is no ${wrong[0]} of a grid.`, `Give ${wrong[3]}.`);
}

function level0PerPatchPixel(slide: Pick<Slide, 'source' | 'scale'>, mpp: Mpp | null): number {
  if (mpp === null) return 1;
  if (slide.scale.mpp !== null) return mpp / slide.scale.mpp;
  throw new UserError(
    'no-mpp',
    `${slide.source} does not say how large its pixels are, so patches of ${mpp} um/px cannot be cut.`,
    'Give its micrometres per pixel with --mpp, or take its pixels as they are with --target-mpp native.',
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
