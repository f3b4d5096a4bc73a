import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cellsOfCoords,
  type GridOrder,
  inverseOrder,
  isGridOrder,
  isScanOrder,
  orderOfCells,
  searchOrders,
} from '../src/row-order.ts';

const ORDERS: readonly GridOrder[] = ['row-major', 'column-major', 'snake', 'hilbert', 'window-2', 'window-7'];

/** Every cell of a rows x columns grid, row by row. */
function full(rows: number, columns: number, top = 0, left = 0): Int32Array {
  return Int32Array.from({ length: rows * columns * 2 }, (_, i) =>
    i % 2 === 0 ? top + Math.floor(i / 2 / columns) : left + (Math.floor(i / 2) % columns),
  );
}

/** Cells visited one after another as `row,column`. */
function visited(cells: Int32Array, order: Int32Array): string[] {
  return [...order].map((i) => `${cells[2 * i]},${cells[2 * i + 1]}`);
}

describe('an order of cells', () => {
  it('is, on 2 x 3 cells, what its name says', () => {
    const walk = (order: GridOrder) => [...orderOfCells(order, full(2, 3))];
    expect(walk('row-major')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(walk('column-major')).toEqual([0, 3, 1, 4, 2, 5]);
    expect(walk('snake')).toEqual([0, 1, 2, 5, 4, 3]);
    expect(walk('window-2')).toEqual([0, 1, 3, 4, 2, 5]);
    expect([...orderOfCells('column-major-reversed', full(2, 3))]).toEqual([5, 2, 4, 1, 3, 0]);
  });

  it('is a permutation of any cells, whatever order they come in', () => {
    const cell = fc.tuple(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -40, max: 40 }));
    fc.assert(
      fc.property(
        fc.uniqueArray(cell, { selector: String, maxLength: 40 }),
        fc.constantFrom(...ORDERS),
        (list, order) => {
          const cells = Int32Array.from(list.flat());
          const found = orderOfCells(order, cells);
          expect([...found].sort((a, b) => a - b)).toEqual([...list.keys()]);
          const turned = Int32Array.from([...list].reverse().flat());
          expect(visited(turned, orderOfCells(order, turned))).toEqual(visited(cells, found));
          expect([...found].map((i) => inverseOrder(found)[i])).toEqual([...list.keys()]);
        },
      ),
    );
  });

  it.each([1, 2, 4, 8, 16])('steps along the Hilbert curve and the snake only to neighbours: %i x side', (side) => {
    for (const order of ['hilbert', 'snake'] as const) {
      const cells = full(side, side, -3, 4);
      const walk = [...orderOfCells(order, cells)].map((i) => [cells[2 * i]!, cells[2 * i + 1]!] as const);
      for (const [i, [row, column]] of walk.slice(1).entries()) {
        expect(Math.abs(row - walk[i]![0]) + Math.abs(column - walk[i]![1]), order).toBe(1);
      }
    }
  });

  it('keeps the side of a Hilbert curve together: the quarters of a square one after another', () => {
    const cells = full(8, 8);
    const quarters = [...orderOfCells('hilbert', cells)].map((i) => `${cells[2 * i]! >> 2},${cells[2 * i + 1]! >> 2}`);
    expect(new Set(quarters.filter((q, i) => q !== quarters[i - 1])).size).toBe(4);
    expect(quarters.filter((q, i) => q !== quarters[i - 1])).toHaveLength(4);
  });

  it('goes by index where patches share a cell, and takes no cells at all', () => {
    expect([...orderOfCells('hilbert', Int32Array.from([1, 1, 0, 0, 1, 1]))]).toEqual([1, 0, 2]);
    for (const order of ORDERS) expect(orderOfCells(order, new Int32Array(0))).toHaveLength(0);
  });

  it('orders 200,000 cells in seconds', () => {
    for (const order of ORDERS) expect(orderOfCells(order, full(400, 500))).toHaveLength(200_000);
  });
});

it('cells undo the rounding of corners', () => {
  const side = 511.4;
  const corners = Int32Array.from({ length: 40 }, (_, i) => Math.round(i * side));
  const coords = Int32Array.from([...corners].flatMap((x, i) => [x, corners[39 - i]!]));
  expect([...cellsOfCoords(coords, side)]).toEqual([...corners.keys()].flatMap((i) => [39 - i, i]));
});

it('knows the names of orders', () => {
  expect(searchOrders).toHaveLength(8);
  expect(searchOrders.every(isScanOrder)).toBe(true);
  expect(ORDERS.every(isGridOrder)).toBe(true);
  expect(['window-0', 'window-', 'zigzag', 'row-major-reversed', 'window-2.5'].some(isGridOrder)).toBe(false);
});
