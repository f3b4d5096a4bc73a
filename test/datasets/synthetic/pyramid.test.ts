import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromFile } from 'geotiff';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPyramid, TILE } from '../../../datasets/synthetic/pyramid.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-pyramid-'));
});
afterAll(() => rm(folder, { recursive: true }));

const options = { width: 1301, height: 1003, mpp: 0.25, description: 'a picture', quality: 95 };

/** Slow waves of colour, different along both axes, so that a misplaced tile or level shows. */
function picture(width: number, height: number, step: number): Uint8Array {
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [(x + 0.5) * step, (y + 0.5) * step];
      rgb[(y * width + x) * 3] = 128 + 90 * Math.sin(u / 90);
      rgb[(y * width + x) * 3 + 1] = 128 + 90 * Math.sin(v / 70);
      rgb[(y * width + x) * 3 + 2] = 128 + 90 * Math.sin((u + v) / 200);
    }
  }
  return rgb;
}

async function write(path: string): Promise<void> {
  const rgb = picture(options.width, options.height, 1);
  const band = options.width * TILE * 3;
  const pyramid = await createPyramid(path, options);
  for (let start = 0; start < rgb.length; start += band) await pyramid.append(rgb.subarray(start, start + band));
  await pyramid.finish();
}

describe('a pyramid', () => {
  it('is read by libtiff: every level is the picture at half the size of the one before', async () => {
    const path = join(folder, 'a.tif');
    await write(path);
    expect((await sharp(path).metadata()).pages).toBe(3);
    for (const [page, [width, height]] of [
      [1301, 1003],
      [650, 501],
      [325, 250],
    ].entries()) {
      const { data, info } = await sharp(path, { page }).raw().toBuffer({ resolveWithObject: true });
      expect([info.width, info.height, info.channels]).toEqual([width, height, 3]);
      const wanted = picture(width!, height!, 2 ** page);
      const error = data.reduce((sum, value, i) => sum + Math.abs(value - wanted[i]!), 0) / data.length;
      expect(error).toBeLessThan(1.5);
    }
  });

  it('has the tags of a scanner', async () => {
    const path = join(folder, 'tags.tif');
    await write(path);
    const tiff = await fromFile(path);
    const directory = async (i: number) => (await tiff.getImage(i)).fileDirectory;
    const value = async (i: number, tag: string) => {
      const found = await (await directory(i)).loadValue(tag as never);
      return typeof found === 'object' ? [...(found as ArrayLike<number> & Iterable<number>)] : found;
    };
    expect(await value(0, 'NewSubfileType')).toBe(0);
    expect(await value(1, 'NewSubfileType')).toBe(1);
    expect(await value(0, 'ImageDescription')).toMatch(/^a picture/);
    expect(await value(0, 'ResolutionUnit')).toBe(3);
    const [numerator, denominator] = (await value(1, 'XResolution')) as [number, number];
    expect(10_000 / (numerator / denominator)).toBeCloseTo((0.25 * 1301) / 650, 5);
    expect([await value(0, 'Compression'), await value(0, 'PhotometricInterpretation')]).toEqual([7, 6]);
    expect([await value(2, 'TileWidth'), await value(2, 'TileLength')]).toEqual([256, 256]);
    tiff.close();
  });

  it('that is given up leaves nothing behind', async () => {
    const pyramid = await createPyramid(join(folder, 'given-up.tif'), options);
    await pyramid.append(new Uint8Array(options.width * TILE * 3));
    await pyramid.abort();
    expect((await readdir(folder)).filter((name) => name.startsWith('given-up'))).toEqual([]);
  });
});
