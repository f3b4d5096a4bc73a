import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cellsOf, createGrid, reorderGrid } from '../../src/tiling/grid.ts';
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
    expect(() => createGrid(slide, null, { stridePx: 0 })).toThrow(expect.objectContaining({ code: 'bad-grid' }));
  });

  it('is put into another order by the cells of its patches', () => {
    const grid = createGrid(slideOf(700, 500, 0.47), null, { minTissue: 0 });
    expect([...cellsOf(grid)]).toEqual([0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2, 2, 0, 2, 1, 2, 2].slice(0, grid.count * 2));
    const reversed = reorderGrid(
      grid,
      Int32Array.from({ length: grid.count }, (_, i) => grid.count - 1 - i),
      'snake',
    );
    expect(reversed.order).toBe('snake');
    expect([...cellsOf(reversed).subarray(-2)]).toEqual([0, 0]);
    expect(() => reorderGrid(grid, new Int32Array(grid.count), 'snake')).toThrow(RangeError);
  });
});
