import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { ByteCache } from '../../src/viewer/byte-cache.ts';
import { PictureTiles, pictureLevels } from '../../src/viewer/picture.ts';

/** Longer than an overview may be twice over, of no even size: level 0 is large, there is no pyramid. */
const SIZE = { width: 4501, height: 2603 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-picture-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A picture whose colour tells the place: red grows to the right, green downwards. */
async function gradient(): Promise<Sharp> {
  const pixels = Buffer.alloc(SIZE.width * SIZE.height * 3);
  for (let y = 0; y < SIZE.height; y++) {
    for (let x = 0; x < SIZE.width; x++) {
      const at = (y * SIZE.width + x) * 3;
      pixels[at] = (255 * x) / SIZE.width;
      pixels[at + 1] = (255 * y) / SIZE.height;
      pixels[at + 2] = 128;
    }
  }
  return sharp(pixels, { raw: { ...SIZE, channels: 3 } });
}

describe.each([
  ['JPEG tiles', { tile: true, tileWidth: 256, tileHeight: 256, compression: 'jpeg', quality: 95 }],
  ['LZW tiles', { tile: true, tileWidth: 512, tileHeight: 512, compression: 'lzw' }],
  ['strips', { compression: 'lzw' }],
] as const)('a slide of %s without a pyramid', (_, options) => {
  it('gets smaller levels that lie where the slide lies', async () => {
    const path = join(folder, `${JSON.stringify(options).length}.tif`);
    await (await gradient()).tiff(options).toFile(path);
    const slide = await openSlide(path);
    try {
      const picture = new PictureTiles(slide, pictureLevels(slide), new ByteCache(2 ** 26), 'v');
      expect(picture.levels.map(({ width, height, scaleX }) => [width, height, scaleX])).toEqual([
        [4501, 2603, 1],
        [2251, 1302, 2],
        [1126, 651, 4],
      ]);
      for (const [index, level] of picture.levels.entries()) {
        const last = [Math.ceil(level.width / level.tileWidth) - 1, Math.ceil(level.height / level.tileHeight) - 1];
        for (const [column, row] of [[0, 0], [1, 1], last] as [number, number][]) {
          const tile = await picture.read(index, column, row);
          const { data, info } = await sharp(tile!).raw().toBuffer({ resolveWithObject: true });
          const x = Math.min(20, info.width - 2);
          const y = Math.min(20, info.height - 2);
          const at = (y * info.width + x) * info.channels;
          const slideX = (column * level.tileWidth + x + 0.5) * level.scaleX;
          const slideY = (row * level.tileHeight + y + 0.5) * level.scaleY;
          expect(Math.abs(data[at]! - (255 * slideX) / SIZE.width)).toBeLessThan(3);
          expect(Math.abs(data[at + 1]! - (255 * slideY) / SIZE.height)).toBeLessThan(3);
        }
        expect(await picture.read(index, last[0]! + 1, 0)).toBeNull();
      }
    } finally {
      await slide.close();
    }
  });
});

describe('the cache', () => {
  it('makes once what is asked for at the same time, and keeps no more than its limit', async () => {
    const cache = new ByteCache(100);
    let made = 0;
    const make = (length: number) => async () => {
      made++;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return new Uint8Array(length);
    };
    await Promise.all([cache.get('a', make(60)), cache.get('a', make(60)), cache.get('b', make(40))]);
    expect(made).toBe(2);
    await cache.get('a', make(60)); // used last, so it stays
    await cache.get('c', make(30));
    await cache.get('a', make(60));
    expect(made).toBe(3);
    await cache.get('b', make(40));
    expect(made).toBe(4);
  });

  it('forgets what could not be made', async () => {
    const cache = new ByteCache(100);
    await expect(cache.get('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect((await cache.get('a', async () => new Uint8Array(3))).length).toBe(3);
  });
});

describe('work that nobody waits for', () => {
  const never = (signal: AbortSignal, onStop: () => void) =>
    new Promise<Uint8Array<ArrayBuffer>>((_, reject) => {
      signal.addEventListener('abort', () => {
        onStop();
        reject(signal.reason);
      });
    });

  it('is stopped when the last one has gone, not before', async () => {
    const cache = new ByteCache(100);
    let stopped = 0;
    const [first, second] = [new AbortController(), new AbortController()];
    const make = (signal: AbortSignal) => never(signal, () => stopped++);
    const waits = [cache.get('a', make, first.signal), cache.get('a', make, second.signal)];
    first.abort();
    await expect(waits[0]).rejects.toThrow();
    expect(stopped).toBe(0);
    second.abort();
    await expect(waits[1]).rejects.toThrow();
    expect(stopped).toBe(1);
  });

  it('is given up after the time limit, also when it does not listen', async () => {
    const cache = new ByteCache(100, 20);
    await expect(cache.get('a', () => new Promise(() => {}))).rejects.toMatchObject({ name: 'TimeoutError' });
    expect((await cache.get('a', async () => new Uint8Array(1))).length).toBe(1);
  });
});
