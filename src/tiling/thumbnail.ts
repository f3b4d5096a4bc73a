/** A small picture of the slide, for people. */
import { rename, rm } from 'node:fs/promises';
import sharp from 'sharp';
import { type Overview, readOverview } from './overview.ts';
import type { RgbImage, Slide } from './slide.ts';

/** The slide with its longer side at most `maxSide` pixels; never enlarged. */
export function readThumbnail(slide: Slide, maxSide: number, signal?: AbortSignal): Promise<Overview> {
  const { width, height } = slide.levels[0]!;
  return readOverview(slide, Math.max(width, height) / maxSide, signal);
}

/** The picture as JPEG. */
export function encodeJpeg(image: RgbImage, quality = 85): Promise<Buffer> {
  const { data, width, height } = image;
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality })
    .toBuffer();
}

/** Writes the picture as JPEG under a temporary name and renames it. */
export async function writeJpeg(image: RgbImage, path: string, quality = 85): Promise<void> {
  const { data, width, height } = image;
  const temporary = `${path}.partial`;
  try {
    await sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg({ quality })
      .toFile(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
