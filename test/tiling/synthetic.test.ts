/** The synthetic slides of `datasets`, written by code that shares nothing with the readers but the published layout. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { createGrid } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { patches } from '../../src/tiling/patches.ts';
import { readTissue } from '../../src/tiling/tissue.ts';
import { temporaryFolder } from './pictures.ts';

const folder = await temporaryFolder();

/** Even-odd rule. */
function isInside(ring: readonly (readonly [number, number])[], x: number, y: number): boolean {
  return ring.reduce((inside, [ax, ay], i) => {
    const [bx, by] = ring[(i + 1) % ring.length]!;
    return ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax) ? !inside : inside;
  }, false);
}

describe('a synthetic slide', () => {
  it('opens at its scale; its tissue, the grid on it and the patches are where the truth says', async () => {
    const path = join(folder, 'synthetic.tif');
    const truth = await writeSyntheticSlide(path, { seed: 11, widthPx: 3000, heightPx: 2300, tumour: true });
    const slide = await openSlide(path);
    expect(slide).toMatchObject({
      format: 'aperio-svs',
      scale: { mpp: truth.mpp, source: 'file' },
    });
    expect(slide.levels[0]).toMatchObject({ width: 3000, height: 2300 });
    expect(slide.levels.length).toBeGreaterThan(1);
    const tissue = await readTissue(slide);
    let both = 0;
    let either = 0;
    for (let i = 0; i < tissue.data.length; i++) {
      const x = ((i % tissue.width) + 0.5) * tissue.level0PerPixel;
      const y = (Math.floor(i / tissue.width) + 0.5) * tissue.level0PerPixel;
      const expected = truth.tissue.some((ring) => isInside(ring, x, y)) ? 1 : 0;
      both += expected & tissue.data[i]!;
      either += expected | tissue.data[i]!;
    }
    expect(both / either).toBeGreaterThan(0.85);
    const grid = createGrid(slide, tissue);
    expect(grid.count).toBeGreaterThan(5);
    let count = 0;
    for await (const batch of patches(slide, grid)) {
      const bytes = batch.size ** 2 * 3;
      for (let i = 0; i < batch.count; i++, count++) {
        const mean = batch.pixels.subarray(i * bytes, (i + 1) * bytes).reduce((sum, value) => sum + value, 0) / bytes;
        // Stained, not glass.
        expect(mean).toBeLessThan(240);
      }
      expect(batch.holes).toEqual([]);
    }
    expect(count).toBe(grid.count);
    await slide.close();
  });
});
