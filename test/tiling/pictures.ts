/** Pictures and slides for the tests of this folder, written by libvips (through sharp), which shares no code with the readers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type TiffOptions } from 'sharp';
import { afterAll } from 'vitest';
import { createRandom } from '../../src/random.ts';
import type { RgbImage } from '../../src/tiling/slide.ts';

/** A folder that is removed when the test file is done. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-tiling-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A smooth colourful picture with some noise: compressible, and no two tiles alike. */
export function createPicture(width: number, height: number, seed = 1): RgbImage {
  const random = createRandom(seed);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      data[at] = 128 + 90 * Math.sin(x / 37) + 20 * random();
      data[at + 1] = 128 + 90 * Math.cos(y / 23) + 20 * random();
      data[at + 2] = 128 + 90 * Math.sin((x + y) / 51) + 20 * random();
    }
  }
  return { width, height, data };
}

export async function writeTiff({ data, width, height }: RgbImage, path: string, options: TiffOptions): Promise<void> {
  await sharp(data, { raw: { width, height, channels: 3 } })
    .tiff(options)
    .toFile(path);
}

/** Mean absolute difference of two equally long rows of samples. */
export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}

/** RGBA to RGB. */
export function withoutAlpha(rgba: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: (rgba.length / 4) * 3 }, (_, i) => rgba[Math.floor(i / 3) * 4 + (i % 3)]!);
}
