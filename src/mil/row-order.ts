/**
 * Orders in which the patches of a slide can be read (localmamba.md), as permutations: entry i is what is visited i-th.
 * A cell is the (row, column) of a patch on the slide's grid, which may be negative.
 */
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

/** Windows over the cells (n x 2: row, column) that are there; empty cells are skipped, ties go by index. */
export function sparseWindowOrder(cells: Int32Array, window: number, options: WindowOrderOptions = {}): Int32Array {
  const { reversed = false, columnFirst = false, serpentine = false } = options;
  const order = sortedBy(cells, (row, column) => {
    const [windowRow, windowColumn] = [Math.floor(row / window), Math.floor(column / window)];
    const [y, x] = [row - windowRow * window, column - windowColumn * window];
    const [outer, inner] = columnFirst ? [windowColumn, windowRow] : [windowRow, windowColumn];
    return [outer, serpentine && outer % 2 !== 0 ? -inner : inner, ...(columnFirst ? [x, y] : [y, x])];
  });
  return reversed ? order.reverse() : order;
}

function sortedBy(cells: Int32Array, keyOf: (row: number, column: number) => readonly number[]): Int32Array {
  const keys = Array.from({ length: cells.length / 2 }, (_, i) => keyOf(cells[2 * i]!, cells[2 * i + 1]!));
  return Int32Array.from(keys.keys()).sort((i, j) => {
    const [a, b] = [keys[i]!, keys[j]!];
    const k = a.findIndex((value, at) => value !== b[at]);
    return k < 0 ? i - j : a[k]! - b[k]!;
  });
}

/**
 * The strided reordering of SRMamba (mamba-block.md): 0, s, 2s, ..., 1, s+1, ... over the tokens padded to a multiple of the
 * rate s. Entries from `tokens` on are padding.
 */
export function stridedOrder(tokens: number, rate: number): Int32Array {
  const groups = Math.ceil(tokens / rate);
  return Int32Array.from({ length: groups * rate }, (_, i) => (i % groups) * rate + Math.floor(i / groups));
}
