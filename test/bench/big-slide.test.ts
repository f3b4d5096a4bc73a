import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeBigSlide } from '../../src/bench/big-slide.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { createPicture, meanDifference, temporaryFolder } from '../tiling/pictures.ts';

const folder = await temporaryFolder();

describe('a slide written for measurements', () => {
  it.each([true, false])(
    'shows its picture over and over, at every level (own bytes for each tile: %s)',
    async (copies) => {
      const path = join(folder, `${copies}.tif`);
      const picture = createPicture(512, 512);
      await writeBigSlide(path, picture, { width: 2000, height: 1500, downsamples: [1, 2], copies, mpp: 0.4 });
      const slide = await openSlide(path);
      expect(slide.scale.mpp).toBeCloseTo(0.4, 4);
      expect(slide.levels.map(({ width, height }) => [width, height])).toEqual([
        [2000, 1500],
        [1000, 750],
      ]);
      const first = (await slide.readTileRgb(0, 1, 0))!.data;
      const again = (await slide.readTileRgb(0, 5, 4))!.data;
      expect(Buffer.compare(first, again)).toBe(0);
      const expected = new Uint8Array(256 * 256 * 3);
      for (let row = 0; row < 256; row++) {
        expected.set(picture.data.subarray((row * 512 + 256) * 3, (row * 512 + 512) * 3), row * 256 * 3);
      }
      expect(meanDifference(first, expected)).toBeLessThan(10);
      const half = (await slide.readTileRgb(1, 2, 1))!.data;
      const whole = (await slide.readTileRgb(0, 0, 0, { reduce: 2 }))!;
      const corner = Uint8Array.from(
        { length: whole.data.length },
        (_, i) => half[Math.floor(i / 384) * 768 + (i % 384)]!,
      );
      expect(meanDifference(corner, whole.data)).toBeLessThan(10);
      await slide.close();
      // 48 and 12 tiles, or 4 and 1.
      expect((await stat(path)).size).toBeGreaterThan(copies ? 300_000 : 10_000);
      if (!copies) expect((await stat(path)).size).toBeLessThan(120_000);
    },
  );
});
