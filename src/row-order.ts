/**
 * Orders in which the patches of a slide can be listed or read (localmamba.md), as permutations: entry i is what is visited i-th.
 * A cell is the (row, column) of a patch on the slide's grid, which may be negative. Empty cells are skipped.
 */

/** `snake` turns at the end of every row, `window-W` goes through windows of W x W cells, row by row inside and out. */
export type GridOrder = 'row-major' | 'column-major' | 'snake' | 'hilbert' | `window-${number}`;

/** How a scan walks: an order, or the same from its end. */
export type ScanOrder = GridOrder | `${GridOrder}-reversed`;

/** LocalMamba's eight candidates of a direction search. */
export const searchOrders = ['row-major', 'column-major', 'window-2', 'window-7'].flatMap((order) => [
  order as GridOrder,
  `${order as GridOrder}-reversed` as const,
]) as readonly ScanOrder[];

export function isGridOrder(text: string): text is GridOrder {
  return /^(row-major|column-major|snake|hilbert|window-[1-9]\d*)$/.test(text);
}

export function isScanOrder(text: string): text is ScanOrder {
  return isGridOrder(text.replace(/-reversed$/, ''));
}

/**
 * Cells of patches on a grid without offset: count x 2, row before column.
 * @param coords count x 2: x, y of each patch's top-left corner, rounded to whole px.
 * @param stride from one patch to the next, in the same px.
 */
export function cellsOfCoords(coords: Int32Array, stride: number): Int32Array {
  // The half undoes the rounding: a corner at 511.4 is stored as 511.
  return Int32Array.from(coords, (_, i) => Math.floor((coords[i ^ 1]! + 0.5) / stride));
}

/** The cells (n x 2: row, column) in an order; those of one cell by index. */
export function orderOfCells(order: ScanOrder, cells: Int32Array): Int32Array {
  if (order.endsWith('-reversed')) {
    return orderOfCells(order.slice(0, -'-reversed'.length) as GridOrder, cells).reverse();
  }
  switch (order) {
    case 'row-major':
      return sparseWindowOrder(cells, 1);
    case 'column-major':
      return sparseWindowOrder(cells, 1, { columnFirst: true });
    case 'snake':
      return sparseWindowOrder(cells, 1, { serpentine: true });
    case 'hilbert':
      return hilbertOrder(cells);
    default:
      return sparseWindowOrder(cells, Number(order.slice('window-'.length)));
  }
}

export interface WindowOrderOptions {
  readonly reversed?: boolean;
  /** Windows column by column, and inside a window column by column. */
  readonly columnFirst?: boolean;
  /** Every second row of windows from right to left. */
  readonly serpentine?: boolean;
}

/** Windows of side `window` over a full height x width grid; entries are row-major indices, -1 for padding. */
export function windowOrder(
  height: number,
  width: number,
  window: number,
  options: Omit<WindowOrderOptions, 'serpentine'> = {},
): Int32Array {
  const { reversed = false, columnFirst = false } = options;
  const rows = Math.ceil(height / window);
  const columns = Math.ceil(width / window);
  const order = new Int32Array(rows * columns * window * window);
  let next = 0;
  for (const [windowRow, windowColumn] of walk(rows, columns, columnFirst)) {
    for (const [dy, dx] of walk(window, window, columnFirst)) {
      const y = windowRow * window + dy;
      const x = windowColumn * window + dx;
      order[next++] = y < height && x < width ? y * width + x : -1;
    }
  }
  return reversed ? order.reverse() : order;
}

function* walk(rows: number, columns: number, columnFirst: boolean): Generator<[row: number, column: number]> {
  if (columnFirst) for (let x = 0; x < columns; x++) for (let y = 0; y < rows; y++) yield [y, x];
  else for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) yield [y, x];
}

/** Windows over the cells (n x 2: row, column) that are there; those of one cell by index. */
export function sparseWindowOrder(cells: Int32Array, window: number, options: WindowOrderOptions = {}): Int32Array {
  const { reversed = false, columnFirst = false, serpentine = false } = options;
  const { top, left, bottom, right } = boxOf(cells);
  // Whole pairs of windows are taken off, so that neither the windows nor their parity change.
  const [row0, column0] = [top, left].map((first) => Math.floor(first / (2 * window)) * 2 * window) as [number, number];
  const across = Math.floor(((columnFirst ? bottom - row0 : right - column0) + window) / window);
  const order = sortedBy(cells, (row, column) => {
    const [y, x] = columnFirst ? [column - column0, row - row0] : [row - row0, column - column0];
    const [outer, inner] = [Math.floor(y / window), Math.floor(x / window)];
    const turned = serpentine && outer % 2 === 1 ? across - 1 - inner : inner;
    return ((outer * across + turned) * window + (y % window)) * window + (x % window);
  });
  return reversed ? order.reverse() : order;
}

/** Along the Hilbert curve of the smallest square of side 2^k around the cells. */
function hilbertOrder(cells: Int32Array): Int32Array {
  const { top, left, bottom, right } = boxOf(cells);
  const side = 2 ** Math.ceil(Math.log2(Math.max(bottom - top, right - left) + 1));
  return sortedBy(cells, (row, column) => hilbertDistance(side, column - left, row - top));
}

/** How far along the Hilbert curve of a side x side square (a power of two) a cell lies. */
function hilbertDistance(side: number, column: number, row: number): number {
  let [x, y, distance] = [column, row, 0];
  for (let s = side / 2; s >= 1; s /= 2) {
    const [right, low] = [(x & s) > 0 ? 1 : 0, (y & s) > 0 ? 1 : 0];
    distance += s * s * ((3 * right) ^ low);
    if (low === 0) {
      if (right === 1) [x, y] = [side - 1 - x, side - 1 - y];
      [x, y] = [y, x];
    }
  }
  return distance;
}

function boxOf(cells: Int32Array): { top: number; left: number; bottom: number; right: number } {
  let [top, left, bottom, right] = [0, 0, 0, 0];
  for (let i = 0; i < cells.length; i += 2) {
    const [row, column] = [cells[i]!, cells[i + 1]!];
    if (i === 0) [top, left, bottom, right] = [row, column, row, column];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
  }
  return { top, left, bottom, right };
}

function sortedBy(cells: Int32Array, keyOf: (row: number, column: number) => number): Int32Array {
  const keys = Float64Array.from({ length: cells.length / 2 }, (_, i) => keyOf(cells[2 * i]!, cells[2 * i + 1]!));
  return Int32Array.from(keys.keys()).sort((i, j) => keys[i]! - keys[j]! || i - j);
}

/** Where each entry of a permutation went: inverse[order[i]] = i. */
export function inverseOrder(order: Int32Array): Int32Array {
  const inverse = new Int32Array(order.length);
  order.forEach((from, to) => {
    inverse[from] = to;
  });
  return inverse;
}

/**
 * The strided reordering of SRMamba (mamba-block.md): 0, s, 2s, ..., 1, s+1, ... over the tokens padded to a multiple of the
 * rate s. Entries from `tokens` on are padding.
 */
export function stridedOrder(tokens: number, rate: number): Int32Array {
  const groups = Math.ceil(tokens / rate);
  return Int32Array.from({ length: groups * rate }, (_, i) => (i % groups) * rate + Math.floor(i / groups));
}
