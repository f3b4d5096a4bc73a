/** Real slides, pixel against pixel of OpenSlide. */
import { existsSync, readdirSync } from 'node:fs';
import { join, parse } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createGrid } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { patches } from '../../src/tiling/patches.ts';
import { readTissue } from '../../src/tiling/tissue.ts';
import { dataFolder, slideNames as files, isMeasured } from '../real-data.ts';
import { meanDifference, withoutAlpha } from './pictures.ts';

const slides = join(dataFolder, 'slides');
const regions = join(slides, 'regions-by-openslide');
const isThere = existsSync(slides);

/** `<slide>_L<level>_x<x>_y<y>_<size>.png`. */
const cases = (existsSync(regions) ? readdirSync(regions) : []).flatMap((picture) => {
  const match = /^(.+)_L(\d+)_x(\d+)_y(\d+)_(\d+)\.png$/.exec(picture);
  const file = match && files.find((name) => parse(name).name === match[1]);
  if (!match || !file) return [];
  const [level, x, y, size] = match.slice(2).map(Number) as [number, number, number, number];
  return [{ picture, file, level, x, y, size }];
});

describe.skipIf(!isThere)(`slides, and their regions read by OpenSlide (skipped if ${slides} is missing)`, () => {
  it('there are some', () => {
    expect(files).not.toEqual([]);
  });

  it.each(cases)('$picture', async ({ picture, file, level, x, y, size }) => {
    const expected = await sharp(join(regions, picture)).ensureAlpha().raw().toBuffer();
    const slide = await openSlide(join(slides, file));
    const { data } = await slide.readRegion(x, y, level, size, size);
    await slide.close();
    let difference = 0;
    let opaque = 0;
    let otherEdge = 0;
    for (let i = 0; i < expected.length; i += 4) {
      if (data[i + 3] !== expected[i + 3]) otherEdge++;
      if (expected[i + 3] === 0) continue;
      opaque++;
      for (let c = 0; c < 3; c++) difference += Math.abs(data[i + c]! - expected[i + c]!);
    }
    expect(otherEdge).toBe(0);
    expect(opaque).toBeGreaterThan(0);
    expect(difference / opaque / 3).toBeLessThanOrEqual(2);
  });

  it.each(files)('%s opens, the middle of each level is there, and it is tiled', async (file) => {
    const slide = await openSlide(join(slides, file));
    expect(slide.levels.length).toBeGreaterThan(0);
    for (const [index, { width, height, downsample }] of slide.levels.entries()) {
      const [w, h] = [Math.min(64, width), Math.min(64, height)];
      const x = Math.floor((width - w) / 2) * downsample;
      const y = Math.floor((height - h) / 2) * downsample;
      const { data } = await slide.readRegion(x, y, index, w, h);
      expect(data.length).toBe(w * h * 4);
    }
    const grid = createGrid(slide, await readTissue(slide), { mpp: null });
    for await (const batch of patches(slide, grid, { batchSize: 16 })) {
      expect(batch.pixels.length).toBe(Math.min(16, grid.count) * 256 * 256 * 3);
      expect(batch.holes).toEqual([]);
      // Level 0 as it is: a patch is the region at its place, white where the slide ends.
      for (let patch = 0; patch < Math.min(4, batch.count); patch++) {
        const { data } = await slide.readRegion(grid.coords[2 * patch]!, grid.coords[2 * patch + 1]!, 0, 256, 256);
        const region = withoutAlpha(data.map((value, i) => (data[i | 3] === 0 ? 255 : value)));
        const pixels = batch.pixels.subarray(patch * region.length, (patch + 1) * region.length);
        expect(meanDifference(pixels, region)).toBeLessThan(1);
      }
      break;
    }
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });

  it.each(files)('%s: any rectangle of any level is the crop of the whole level', async (file) => {
    const slide = await openSlide(join(slides, file));
    for (const [index, { width, height, downsample }] of slide.levels.entries()) {
      if (width * height > 4e6) continue;
      const whole = (await slide.readRegion(0, 0, index, width, height)).data;
      const rectangle = fc.tuple(
        fc.integer({ min: -20, max: width }),
        fc.integer({ min: -20, max: height }),
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1, max: 90 }),
      );
      await fc.assert(
        fc.asyncProperty(rectangle, async ([left, top, w, h]) => {
          const { data } = await slide.readRegion(left * downsample, top * downsample, index, w, h);
          for (let y = 0; y < h; y++) {
            const inside = top + y >= 0 && top + y < height;
            for (let x = 0; x < w; x++) {
              const from = inside && left + x >= 0 && left + x < width ? ((top + y) * width + left + x) * 4 : -1;
              const at = (y * w + x) * 4;
              const same = from < 0 ? data[at + 3] === 0 : [0, 1, 2, 3].every((i) => data[at + i] === whole[from + i]);
              if (!same) expect.fail(`pixel ${x}, ${y} of ${w} x ${h} at ${left}, ${top} of level ${index}`);
            }
          }
        }),
        { numRuns: 12, seed: 8 },
      );
    }
    await slide.close();
  });

  it.each(files)('%s takes the scale it is given', async (file) => {
    const slide = await openSlide(join(slides, file), { mpp: 0.25 });
    expect(slide.scale).toEqual({ mpp: 0.25, source: 'flag' });
    await slide.close();
  });

  const svs = files.filter((name) => name.endsWith('.svs'));

  it.each(svs)('%s: associated images and stored tiles decode to what they should be', async (file) => {
    const slide = await openSlide(join(slides, file));
    for (const name of slide.associated) {
      const { width, height, data } = await slide.readAssociated(name);
      expect(data.length).toBe(width * height * 4);
      expect(data.every((value, i) => i % 4 !== 3 || value === 255)).toBe(true);
    }
    const { width, height, tileWidth, tileHeight } = slide.levels[0]!;
    const [column, row] = [Number(width >= 2 * tileWidth), Number(height >= 2 * tileHeight)];
    const stored = await slide.readStoredTile(0, column, row);
    if (stored?.mime === 'image/jpeg') {
      const byLibvips = await sharp(stored.bytes).removeAlpha().raw().toBuffer();
      const byUs = await slide.readTileRgb(0, column, row);
      expect(byUs!.data.every((value, i) => Math.abs(value - byLibvips[i]!) <= 2)).toBe(true);
    }
    await slide.close();
  });
});

describe.skipIf(!isMeasured('slides/CMU-1-Small-Region.svs'))(
  'CMU-1-Small-Region.svs (skipped if missing or another file of that name)',
  () => {
    it('has one level, three other images, and its scale', async () => {
      const slide = await openSlide(join(slides, 'CMU-1-Small-Region.svs'));
      expect(slide).toMatchObject({
        format: 'aperio-svs',
        vendor: 'aperio',
        scale: { mpp: 0.499, source: 'file' },
        objectivePower: 20,
        associated: ['thumbnail', 'label', 'macro'],
      });
      expect(slide.levels).toEqual([{ width: 2220, height: 2967, downsample: 1, tileWidth: 240, tileHeight: 240 }]);
      const sizes = await Promise.all(slide.associated.map((name) => slide.readAssociated(name)));
      expect(sizes.map(({ width, height }) => [width, height])).toEqual([
        [574, 768],
        [387, 463],
        [1280, 431],
      ]);
      await slide.close();
    });
  },
);
