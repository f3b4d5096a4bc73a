/** TIFF files written by libvips, in every compression that is read, against the picture they were made of. */
import { join } from 'node:path';
import fc from 'fast-check';
import sharp, { type TiffOptions } from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const picture = createPicture(700, 531);
const { width, height } = picture;
const tiled: TiffOptions = { tile: true, tileWidth: 128, tileHeight: 64, pyramid: true };

const lossless: Record<string, TiffOptions> = {
  'tiles, uncompressed': { ...tiled, compression: 'none' },
  'tiles, deflate with predictor': { ...tiled, compression: 'deflate', predictor: 'horizontal' },
  'tiles, LZW': { ...tiled, compression: 'lzw', predictor: 'none' },
  'tiles, LZW with predictor': { ...tiled, compression: 'lzw', predictor: 'horizontal' },
  'tiles, PackBits': { ...tiled, compression: 'packbits' },
  'tiles, BigTIFF': { ...tiled, compression: 'deflate', bigtiff: true },
  'strips, uncompressed': { compression: 'none' },
  'strips, LZW': { compression: 'lzw' },
  'strips, deflate': { compression: 'deflate' },
};

describe('a TIFF file', () => {
  it.each(Object.entries(lossless))('%s: level 0 is the picture', async (name, options) => {
    const path = join(folder, `${name}.tif`);
    await writeTiff(picture, path, options);
    const slide = await openSlide(path);
    expect(slide.format).toBe('tiff');
    const { data } = await slide.readRegion(0, 0, 0, width, height);
    expect(meanDifference(withoutAlpha(data), picture.data)).toBe(0);
    expect(slide.levels.length > 1).toBe(options.pyramid ?? false);
    await slide.close();
  });

  it.each([90, 95])('tiles, JPEG quality %i (below 90 with halved colour): as libvips decodes it', async (quality) => {
    const path = join(folder, `jpeg-${quality}.tif`);
    await writeTiff(picture, path, { ...tiled, compression: 'jpeg', quality });
    const expected = await sharp(path).removeAlpha().raw().toBuffer();
    const slide = await openSlide(path);
    const { data } = await slide.readRegion(0, 0, 0, width, height);
    expect(meanDifference(withoutAlpha(data), expected)).toBeLessThan(1);
    const stored = await slide.readStoredTile(0, 1, 2);
    expect(stored!.mime).toBe('image/jpeg');
    const tile = await slide.readTileRgb(0, 1, 2);
    expect(meanDifference(await sharp(stored!.bytes).removeAlpha().raw().toBuffer(), tile!.data)).toBeLessThan(1);
    await slide.close();
  });

  it('grey, one sample per pixel', async () => {
    const path = join(folder, 'grey.tif');
    await sharp(picture.data, { raw: { width, height, channels: 3 } })
      .greyscale()
      .tiff({ tile: true, compression: 'deflate' })
      .toFile(path);
    const expected = await sharp(path).toColourspace('b-w').raw().toBuffer();
    const slide = await openSlide(path);
    const { data } = await slide.readRegion(0, 0, 0, width, height);
    await slide.close();
    expect(data.every((value, i) => value === (i % 4 === 3 ? 255 : expected[Math.floor(i / 4)]))).toBe(true);
  });

  it('its resolution is the scale, but the resolution of a print is not', async () => {
    const scale = async (pixelsPerMm: number) => {
      const path = join(folder, `resolution-${pixelsPerMm}.tif`);
      await writeTiff(picture, path, { ...tiled, xres: pixelsPerMm, yres: pixelsPerMm, resolutionUnit: 'cm' });
      const slide = await openSlide(path);
      await slide.close();
      return slide.scale;
    };
    expect(await scale(2000)).toEqual({ mpp: 0.5, source: 'file' });
    expect(await scale(300 / 25.4)).toEqual({ mpp: null, source: 'none' });
    expect(await scale(1)).toEqual({ mpp: null, source: 'none' });
    await expect(scale(20)).rejects.toMatchObject({ code: 'implausible-mpp' });
    await expect(scale(50_000)).rejects.toMatchObject({ code: 'implausible-mpp' });
    const given = await openSlide(join(folder, 'resolution-20.tif'), { mpp: 1 });
    expect(given.scale).toEqual({ mpp: 1, source: 'flag' });
    await given.close();
  });

  it('a PNG and a JPEG picture are slides of one level', async () => {
    const image = sharp(picture.data, { raw: { width, height, channels: 3 } });
    for (const name of ['picture.png', 'picture.jpg']) {
      const path = join(folder, name);
      await image.toFile(path);
      const slide = await openSlide(path);
      expect(slide).toMatchObject({
        format: 'picture',
        levels: [{ width, height }],
        scale: { mpp: null, source: 'none' },
      });
      const { data } = await slide.readRegion(0, 0, 0, width, height);
      expect(meanDifference(withoutAlpha(data), await sharp(path).raw().toBuffer())).toBe(0);
      await slide.close();
    }
  });
});

describe('readRegion', () => {
  let slide: Slide;
  const levels: Uint8Array[] = [];

  beforeAll(async () => {
    const path = join(folder, 'regions.tif');
    await writeTiff(picture, path, { ...tiled, compression: 'jpeg', quality: 80 });
    slide = await openSlide(path);
    for (const [index, level] of slide.levels.entries()) {
      levels.push((await slide.readRegion(0, 0, index, level.width, level.height)).data);
    }
    return () => slide.close();
  });

  it('gives for any rectangle of any level the crop of the whole level, and transparency outside', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 2 }),
        fc.integer({ min: -60, max: 720 }),
        fc.integer({ min: -60, max: 550 }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 200 }),
        async (index, x, y, w, h) => {
          const level = slide.levels[index]!;
          const { data } = await slide.readRegion(x * level.downsample, y * level.downsample, index, w, h);
          for (let row = 0; row < h; row++) {
            for (let column = 0; column < w; column++) {
              const [lx, ly] = [x + column, y + row];
              const inside = lx >= 0 && ly >= 0 && lx < level.width && ly < level.height;
              const at = (row * w + column) * 4;
              const from = (ly * level.width + lx) * 4;
              for (let c = 0; c < 4; c++) {
                const expected = inside ? levels[index]![from + c] : 0;
                if (data[at + c] !== expected)
                  throw new Error(`level ${index}, pixel ${lx}, ${ly}: ${data[at + c]}, not ${expected}`);
              }
            }
          }
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it('reads between pixels where a level-0 position lies between them', async () => {
    const half = await slide.readRegion(slide.levels[1]!.downsample * 10.5, 0, 1, 8, 1);
    for (let x = 0; x < 8; x++) {
      const at = (10 + x) * 4;
      expect(Math.abs(half.data[x * 4]! - (levels[1]![at]! + levels[1]![at + 4]!) / 2)).toBeLessThanOrEqual(1);
    }
  });

  it('stops when told', async () => {
    const stop = new AbortController();
    const reading = slide.readRegion(0, 0, 0, width, height, stop.signal);
    stop.abort();
    await expect(reading).rejects.toThrow('aborted');
    expect(slide.unreadable).toEqual([]);
  });

  it('says what there is when asked for what there is not', async () => {
    await expect(slide.readRegion(0, 0, 9, 10, 10)).rejects.toMatchObject({ code: 'outside-slide' });
    await expect(slide.readTile(0, 99, 0)).rejects.toMatchObject({ code: 'outside-slide' });
    await expect(slide.readRegion(0, 0, 0, 1e6, 1e6)).rejects.toMatchObject({ code: 'bad-region' });
    await expect(slide.readAssociated('label')).rejects.toMatchObject({ code: 'no-such-image' });
  });
});
