/**
 * From scores of patches to a small picture: patches lie on a grid, so a heatmap is one pixel a patch, stretched over the slide.
 *
 * Overlapping patches span several cells each and a cell shows their mean. Patches on no grid at all (imported bags) get cells
 * of an eighth of a patch; their outlines are then true to a sixteenth of a patch.
 */

/** Cells over the slide, and which ones each patch covers. */
export interface PatchGrid {
  /** Level-0 px of the first cell's top-left corner. */
  readonly left: number;
  readonly top: number;
  /** Size of a cell in level-0 px, not necessarily whole. */
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly columns: number;
  readonly rows: number;
  /** Cells along each side of a patch. */
  readonly spanX: number;
  readonly spanY: number;
  /** Number of the cell (row by row) at each patch's top-left corner. */
  readonly cellOfPatch: Int32Array;
}

interface Axis {
  readonly start: number;
  readonly cell: number;
  readonly span: number;
}

/** Cells of patches on no grid; more would not be seen on a screen. */
const MAX_CELLS = 4_000_000;

/** The grid under patches at `coords` (n x 2, level-0 px, top-left corners) of side `side` (level-0 px). */
export function patchGrid(coords: Int32Array, side: number): PatchGrid {
  const xs = coords.filter((_, i) => i % 2 === 0).sort();
  const ys = coords.filter((_, i) => i % 2 === 1).sort();
  const fine = Math.max(side / 8, Math.sqrt(((extent(xs) + side) * (extent(ys) + side)) / MAX_CELLS));
  const off = { cell: fine, span: Math.max(1, Math.round(side / fine)) };
  const x = gridAxis(xs, side) ?? { start: xs[0] ?? 0, ...off };
  const y = gridAxis(ys, side) ?? { start: ys[0] ?? 0, ...off };
  const columns = Math.round(extent(xs) / x.cell) + x.span;
  const rows = Math.round(extent(ys) / y.cell) + y.span;
  const cellOfPatch = new Int32Array(coords.length / 2);
  for (let i = 0; i < cellOfPatch.length; i++) {
    const column = Math.round((coords[2 * i]! - x.start) / x.cell);
    const row = Math.round((coords[2 * i + 1]! - y.start) / y.cell);
    cellOfPatch[i] = row * columns + column;
  }
  return {
    left: x.start,
    top: y.start,
    cellWidth: x.cell,
    cellHeight: y.cell,
    columns,
    rows,
    spanX: x.span,
    spanY: y.span,
    cellOfPatch,
  };
}

function extent(sorted: Int32Array): number {
  return sorted.length > 0 ? sorted.at(-1)! - sorted[0]! : 0;
}

/**
 * The pitch of sorted coordinates if all are whole steps from the first one, and a patch covers a whole number of steps.
 * The pitch itself need not be whole: 256 px at 0.5 um are 256.5 px of a slide at 0.499, stored rounded.
 */
function gridAxis(sorted: Int32Array, side: number): Axis | null {
  const lines = sorted.filter((value, i) => i === 0 || value !== sorted[i - 1]);
  if (lines.length < 2) return { start: lines[0] ?? 0, cell: side, span: 1 };
  const gaps = lines.subarray(1).map((value, i) => value - lines[i]!);
  const least = Math.min(...gaps);
  const single = gaps.filter((gap) => gap < 1.5 * least);
  const pitch = single.reduce((sum, gap) => sum + gap, 0) / single.length;
  const guess = pitch / Math.max(1, Math.round(pitch / side)); // no two patches may be neighbours
  const steps = gaps.map((gap) => Math.round(gap / guess));
  const cell = extent(lines) / steps.reduce((sum, step) => sum + step, 0);
  const span = Math.round(side / cell);
  if (span < 1 || Math.abs(side / cell - span) > 0.02 * span) return null;
  const start = lines[0]!;
  const onGrid = lines.every((value) => {
    const place = (value - start) / cell;
    return Math.abs(place - Math.round(place)) * cell <= Math.max(1.5, side / 100);
  });
  return onGrid ? { start, cell, span } : null;
}

/** Mean of the patches' values (n) over each cell, row by row; NaN where no patch with a value lies. */
export function cellMeans(grid: PatchGrid, values: Float32Array): Float32Array {
  const sums = new Float32Array(grid.columns * grid.rows);
  const counts = new Uint32Array(sums.length);
  values.forEach((value, patch) => {
    if (Number.isNaN(value)) return;
    for (let row = 0; row < grid.spanY; row++) {
      const first = grid.cellOfPatch[patch]! + row * grid.columns;
      for (let cell = first; cell < first + grid.spanX; cell++) {
        sums[cell]! += value;
        counts[cell]!++;
      }
    }
  });
  return sums.map((sum, cell) => (counts[cell] === 0 ? Number.NaN : sum / counts[cell]!));
}

/** Share of patches below each one, 0..1, ties in the middle of their range; NaN stays NaN. */
export function percentiles(values: Float32Array): Float32Array {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const last = Math.max(1, sorted.length - 1);
  return values.map((value) => {
    if (Number.isNaN(value)) return Number.NaN;
    return (lowerBound(sorted, value) + upperBound(sorted, value) - 1) / 2 / last;
  });
}

/** Values stretched so that the least is 0 and the greatest 1; all 0.5 when they are equal. NaN stays NaN. */
export function stretched(values: Float32Array, { low, high }: Range): Float32Array {
  return high > low
    ? values.map((value) => (value - low) / (high - low))
    : values.map((value) => (Number.isNaN(value) ? value : 0.5));
}

export interface Range {
  readonly low: number;
  readonly high: number;
}

export function rangeOf(values: Float32Array): Range {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

/** The patch under a level-0 point, the last one where several overlap; -1 when there is none. */
export function patchAt(coords: Int32Array, side: number, x: number, y: number): number {
  for (let patch = coords.length / 2 - 1; patch >= 0; patch--) {
    const [left, top] = [coords[2 * patch]!, coords[2 * patch + 1]!];
    if (x >= left && x < left + side && y >= top && y < top + side) return patch;
  }
  return -1;
}

function lowerBound(sorted: Float32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function upperBound(sorted: Float32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
