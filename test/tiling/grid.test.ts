import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createGrid } from '../../src/tiling/grid.ts';
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
});
