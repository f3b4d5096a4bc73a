import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { readOverview } from '../../src/tiling/overview.ts';
import { resampleArea } from '../../src/tiling/resample.ts';
import { encodeJpeg, readThumbnail } from '../../src/tiling/thumbnail.ts';
import { createPicture, meanDifference, temporaryFolder, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const picture = createPicture(600, 450, 9);

describe('readOverview', () => {
  it.each([1, 2.5, 7.5, 100])(
    'of a slide without lower levels, %f level-0 pixels per pixel, is the mean of the areas',
    async (scale) => {
      const path = join(folder, 'one-level.tif');
      await writeTiff(picture, path, { tile: true, tileWidth: 112, tileHeight: 80, compression: 'deflate' });
      const slide = await openSlide(path);
      const overview = await readOverview(slide, scale);
      await slide.close();
      expect(overview).toMatchObject({
        width: Math.ceil(600 / scale),
        height: Math.ceil(450 / scale),
        level0PerPixel: scale,
      });
      const expected = new Uint8Array(overview.data.length);
      const { width, height } = overview;
      const rectangle = { x: 0, y: 0, width: Math.min(600, width * scale), height: Math.min(450, height * scale) };
      if (rectangle.width === width * scale && rectangle.height === height * scale) {
        resampleArea(picture.data, 600, 450, rectangle, expected, width, height);
        // Of tiles taken at 1 / 2 or 1 / 4, a pixel at the border of two areas is the mean of both.
        if (scale < 2) expect(overview.data.every((value, i) => Math.abs(value - expected[i]!) <= 1)).toBe(true);
        else expect(meanDifference(overview.data, expected)).toBeLessThan(1);
      } else {
        // The last pixel hangs over the edge and is the mean of what it has.
        expect(overview.data[overview.data.length - 3]).toBeGreaterThan(0);
        expect(overview.data[overview.data.length - 3]).toBeLessThan(255);
      }
    },
  );

  it('of a pyramid shows the same as of level 0', async () => {
    const path = join(folder, 'pyramid.tif');
    await writeTiff(picture, path, {
      tile: true,
      tileWidth: 112,
      tileHeight: 80,
      pyramid: true,
      compression: 'deflate',
    });
    const slide = await openSlide(path);
    const thumbnail = await readThumbnail(slide, 100);
    await slide.close();
    expect(thumbnail).toMatchObject({ width: 100, height: 75 });
    const expected = new Uint8Array(100 * 75 * 3);
    resampleArea(picture.data, 600, 450, { x: 0, y: 0, width: 600, height: 450 }, expected, 100, 75);
    expect(meanDifference(thumbnail.data, expected)).toBeLessThan(2);
  });

  it.each([
    ['row', 601, 451, 2.0039],
    ['column', 20_003, 40, 2],
  ])('of the very scale of a level is that level, whose last %s stands for what it cuts off', async (what, ...size) => {
    const [fullWidth, fullHeight, scale] = size;
    const path = join(folder, `cut-off-${what}.tif`);
    const odd = createPicture(fullWidth, fullHeight, 9);
    await writeTiff(odd, path, { tile: true, tileWidth: 112, tileHeight: 80, pyramid: true, compression: 'deflate' });
    const slide = await openSlide(path);
    const { width, height } = slide.levels[1]!;
    const overview = await readOverview(slide, scale);
    const level = await slide.readRegion(0, 0, 1, width, height);
    await slide.close();
    expect([overview.width - width, overview.height - height]).toEqual(what === 'row' ? [0, 1] : [1, 0]);
    const expected = Uint8Array.from({ length: overview.width * overview.height * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3);
      const x = Math.min(width - 1, pixel % overview.width);
      const y = Math.min(height - 1, Math.floor(pixel / overview.width));
      return level.data[(y * width + x) * 4 + (i % 3)]!;
    });
    expect(overview.data).toEqual(expected);
  });
});

it('encodeJpeg keeps the size of the picture', async () => {
  const { width, height, format } = await sharp(await encodeJpeg(picture)).metadata();
  expect([width, height, format]).toEqual([600, 450, 'jpeg']);
});
