/** That places mean the same everywhere: a slide whose colours say where each pixel lies, cut in any way. */
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createGrid, type GridOptions } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { patches } from '../../src/tiling/patches.ts';
import { temporaryFolder, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const path = join(folder, 'places.tif');
const [width, height] = [1000, 760];

/** Red is a quarter of x, green a quarter of y, blue the sum's eighth: smooth, so that means of areas are values of their middles. */
const data = new Uint8Array(width * height * 3);
for (let y = 0, at = 0; y < height; y++) {
  for (let x = 0; x < width; x++, at += 3) data.set([x / 4, y / 4, (x + y) / 8], at);
}
await writeTiff({ width, height, data }, path, {
  tile: true,
  tileWidth: 96,
  tileHeight: 160,
  pyramid: true,
  compression: 'deflate',
});

const ways = fc.record({
  mpp: fc.double({ min: 0.2, max: 3, noNaN: true }),
  slideMpp: fc.double({ min: 0.2, max: 1, noNaN: true }),
  patchPx: fc.integer({ min: 16, max: 70 }),
  overlap: fc.integer({ min: -10, max: 12 }),
  jitter: fc.constantFrom(0, 0, 2),
  order: fc.constantFrom('row-major', 'column-major', 'snake', 'hilbert', 'window-3' as const),
  maximum: fc.integer({ min: 1, max: 60 }),
});

describe('a patch', () => {
  it('shows the place its level-0 coordinates name, whatever its scale, order, overlap and jitter', async () => {
    await fc.assert(
      fc.asyncProperty(ways, async ({ mpp, slideMpp, patchPx, overlap, jitter, order, maximum }) => {
        const slide = await openSlide(path, { mpp: slideMpp });
        const options = { patchPx, mpp, stridePx: patchPx - overlap, jitterPx: jitter, order, maximum, minTissue: 0 };
        const grid = createGrid(slide, null, options as GridOptions);
        const step = grid.level0Side / patchPx;
        expect(step).toBeCloseTo(mpp / slideMpp, 9);
        for await (const { pixels, first, count } of patches(slide, grid, { batchSize: 9 })) {
          for (let i = 0; i < count * patchPx * patchPx; i += 7) {
            const patch = first + Math.floor(i / patchPx ** 2);
            const [column, row] = [i % patchPx, Math.floor(i / patchPx) % patchPx];
            const x = grid.coords[2 * patch]! + (column + 0.5) * step;
            const y = grid.coords[2 * patch + 1]! + (row + 0.5) * step;
            // Near the edge a mean has white in it, or only a part of its area.
            if (x + step + 8 > width || y + step + 8 > height || x < step + 8 || y < step + 8) continue;
            expect(Math.abs(pixels[i * 3]! * 4 - x)).toBeLessThan(7);
            expect(Math.abs(pixels[i * 3 + 1]! * 4 - y)).toBeLessThan(7);
          }
        }
        await slide.close();
      }),
      { numRuns: 30, seed: 6 },
    );
  }, 60_000);
});
