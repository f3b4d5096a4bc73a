/** A small picture of the slide, for people. */
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
