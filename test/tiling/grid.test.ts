import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderOfCells } from '../../src/row-order.ts';
import { countExcluded, createGrid, excludeFromGrid } from '../../src/tiling/grid.ts';
import type { TissueMask } from '../../src/tiling/tissue.ts';

function slideOf(width: number, height: number, mpp: number | null) {
  const level = { width, height, downsample: 1, tileWidth: 256, tileHeight: 256 };
  return { source: 'a.svs', levels: [level], scale: { mpp, source: mpp ? ('file' as const) : ('none' as const) } };
}

const sides = fc.integer({ min: 1, max: 5000 });
const mpps = fc.double({ min: 0.1, max: 2, noNaN: true });

describe('createGrid', () => {
  it('covers the slide without gap or overlap at any scale', () => {
    fc.assert(
      fc.property(sides, sides, mpps, mpps, fc.constantFrom(64, 224, 256), (width, height, slideMpp, mpp, patchPx) => {
        const grid = createGrid(slideOf(width, height, slideMpp), null, { mpp, patchPx, minTissue: 0 });
        // Exactly the size asked for, on the slide as in micrometres.
        expect(grid.level0Side * slideMpp).toBeCloseTo(patchPx * mpp, 6);
        const xs = [...new Set(grid.coords.filter((_, i) => i % 2 === 0))];
        const ys = [...new Set(grid.coords.filter((_, i) => i % 2 === 1))];
        expect(grid.count).toBe(xs.length * ys.length);
        for (const [positions, length] of [
          [xs, width],
          [ys, height],
        ] as const) {
          expect(positions[0]).toBe(0);
          // Each begins where the one before ends, to the half pixel that whole coordinates cost; the error does not add up.
          positions.forEach((position, i) => {
            expect(Math.abs(position - i * grid.level0Side)).toBeLessThanOrEqual(0.5);
          });
          expect(positions.at(-1)!).toBeLessThan(length);
          expect(positions.at(-1)! + grid.level0Side).toBeGreaterThanOrEqual(length - 1);
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  it('goes row by row', () => {
    const { coords } = createGrid(slideOf(600, 500, 0.5), null, { minTissue: 0 });
    expect([...coords]).toEqual([0, 0, 256, 0, 512, 0, 0, 256, 256, 256, 512, 256]);
  });

  it('keeps patches by the exact share of tissue under them', () => {
    const width = 30;
    const height = 20;
    const data = Uint8Array.from({ length: width * height }, (_, i) => ((i * 7919) % 13 < 5 ? 1 : 0));
    const mask: TissueMask = { width, height, data, level0PerPixel: 10, areaUm2: null };
    const slide = slideOf(295, 200, 0.5);
    const all = createGrid(slide, mask, { patchPx: 37, minTissue: 0 });
    for (let patch = 0; patch < all.count; patch++) {
      const [x, y] = [all.coords[patch * 2]!, all.coords[patch * 2 + 1]!];
      let set = 0;
      for (let row = y; row < y + 37; row++) {
        for (let column = x; column < x + 37; column++) {
          const [mx, my] = [Math.floor(column / 10), Math.floor(row / 10)];
          if (mx < width && my < height) set += data[my * width + mx]!;
        }
      }
      expect(all.tissue[patch]).toBeCloseTo(set / 37 ** 2, 5);
    }
    const kept = createGrid(slide, mask, { patchPx: 37, minTissue: 0.35 });
    expect(kept.count).toBe(all.tissue.filter((share) => share >= 0.35).length);
    expect(kept.count).toBeLessThan(all.count);
  });

  it('does not guess a scale', () => {
    const slide = slideOf(1000, 1000, null);
    expect(() => createGrid(slide, null, { mpp: 0.5 })).toThrow(expect.objectContaining({ code: 'no-mpp' }));
    expect(createGrid(slide, null, { mpp: null, minTissue: 0 })).toMatchObject({
      mpp: null,
      level0Side: 256,
      count: 16,
    });
  });

  it('with a stride covers the slide with that overlap, and makes none that only repeats', () => {
    fc.assert(
      fc.property(
        sides,
        fc.integer({ min: 16, max: 300 }),
        fc.integer({ min: 1, max: 300 }),
        (side, patchPx, stridePx) => {
          const grid = createGrid(slideOf(side, 10, 0.5), null, { patchPx, stridePx, minTissue: 0 });
          const xs = [...grid.coords.filter((_, i) => i % 2 === 0)];
          expect(xs).toEqual(xs.map((_, i) => i * stridePx));
          // Only a stride longer than a patch leaves gaps.
          if (stridePx <= patchPx) expect(xs.at(-1)! + patchPx).toBeGreaterThanOrEqual(side);
          if (xs.length > 1) expect(xs.at(-2)! + patchPx).toBeLessThan(side);
        },
      ),
      { numRuns: 100, seed: 2 },
    );
  });

  it('takes a maximum by the seed, in order', () => {
    const slide = slideOf(5000, 5000, 0.5);
    const all = createGrid(slide, null, { minTissue: 0 });
    const some = (seed: number) => createGrid(slide, null, { minTissue: 0, maximum: 50, seed });
    expect(some(1).count).toBe(50);
    expect(some(1)).toEqual(some(1));
    expect(some(1).coords).not.toEqual(some(2).coords);
    const places = new Set(Array.from({ length: all.count }, (_, i) => all.coords.subarray(i * 2, i * 2 + 2).join()));
    const keys = Array.from({ length: 50 }, (_, i) => some(1).coords.subarray(i * 2, i * 2 + 2));
    expect(keys.every((key) => places.has(key.join()))).toBe(true);
    const ranks = keys.map(([x, y]) => y! * 10_000 + x!);
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b));
    expect(createGrid(slide, null, { minTissue: 0, maximum: 10_000 })).toEqual(all);
  });

  it('is listed in the order asked for, always the same patches', () => {
    const slide = slideOf(2700, 1900, 0.47);
    const rows = createGrid(slide, null, { minTissue: 0 });
    expect([...rows.cells.subarray(0, 6)]).toEqual([0, 0, 0, 1, 0, 2]);
    for (const order of ['column-major', 'snake', 'hilbert', 'window-2', 'window-3'] as const) {
      const grid = createGrid(slide, null, { minTissue: 0, order });
      expect(grid.order).toBe(order);
      const permutation = orderOfCells(order, rows.cells);
      expect([...grid.cells]).toEqual([...permutation].flatMap((i) => [rows.cells[2 * i]!, rows.cells[2 * i + 1]!]));
      expect([...grid.coords]).toEqual([...permutation].flatMap((i) => [rows.coords[2 * i]!, rows.coords[2 * i + 1]!]));
    }
  });

  it('jitter moves patches by the seed, no further than asked, and never their cells', () => {
    fc.assert(
      fc.property(sides, sides, fc.integer({ min: 0, max: 128 }), fc.integer(), (width, height, jitterPx, seed) => {
        const slide = slideOf(width, height, 0.31);
        const still = createGrid(slide, null, { minTissue: 0 });
        const moved = createGrid(slide, null, { minTissue: 0, jitterPx, seed });
        expect(moved).toEqual(createGrid(slide, null, { minTissue: 0, jitterPx, seed }));
        expect([...moved.cells]).toEqual([...still.cells]);
        moved.coords.forEach((at, i) => {
          expect(Math.abs(at - still.coords[i]!)).toBeLessThanOrEqual((jitterPx * 0.5) / 0.31 + 1);
          expect(at).toBeGreaterThanOrEqual(0);
          expect(at).toBeLessThan(i % 2 === 0 ? width : height);
        });
      }),
      { numRuns: 50, seed: 4 },
    );
    const slide = slideOf(5000, 5000, 0.5);
    const grid = (seed: number) => createGrid(slide, null, { minTissue: 0, jitterPx: 100, seed }).coords;
    expect(grid(1)).not.toEqual(grid(2));
  });

  it('says of every place with tissue that it left out why', () => {
    const slide = slideOf(3000, 3000, 0.5);
    const data = Uint8Array.from({ length: 300 * 300 }, (_, i) => (i % 300 < 160 ? 1 : 0));
    const mask: TissueMask = { width: 300, height: 300, data, level0PerPixel: 10, areaUm2: null };
    // Six full columns of 256 px; the seventh has 64 px of tissue: a quarter.
    const grid = createGrid(slide, mask, { minTissue: 0.3, maximum: 50 });
    expect(grid.count).toBe(50);
    expect(countExcluded(grid)).toEqual({ 'little-tissue': 12, 'not-chosen': 6 * 12 - 50 });
  });

  it('goes without patches that turn out bad, and remembers them', () => {
    const grid = createGrid(slideOf(1024, 512, 0.5), null);
    const sifted = excludeFromGrid(
      grid,
      new Map([
        [0, 'blurred' as const],
        [5, 'pen' as const],
      ]),
    );
    expect([...sifted.cells]).toEqual([0, 1, 0, 2, 0, 3, 1, 0, 1, 2, 1, 3]);
    expect(sifted.excluded).toEqual([
      { reason: 'blurred', coords: Int32Array.of(0, 0) },
      { reason: 'pen', coords: Int32Array.of(256, 256) },
    ]);
    expect(excludeFromGrid(grid, new Map())).toBe(grid);
  });

  it.each([
    { patchPx: 0 },
    { stridePx: -1 },
    { minTissue: 1.5 },
    { minTissue: Number.NaN },
    { jitterPx: 129 },
    { jitterPx: -1 },
    { maximum: -1 },
  ])('refuses %o', (options) => {
    expect(() => createGrid(slideOf(1000, 1000, 0.5), null, options)).toThrow(
      expect.objectContaining({ code: 'bad-grid' }),
    );
  });
});
