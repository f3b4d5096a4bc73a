/**
 * A slide as a picture for the browser: its levels, exactly where they lie, and their tiles as JPEG.
 *
 * The levels and tiles are the slide's own, so that stored JPEG tiles pass through undecoded. Below the smallest level more
 * are added, each half of the one above, until an overview takes few tiles; a tile of theirs is made from the four above it.
 */
import sharp, { type Sharp, type SharpOptions } from 'sharp';
import type { Raster, RgbImage, Slide, SlideLevel } from '../tiling/slide.ts';
import type { ViewLevel } from './api.ts';
import type { ByteCache } from './byte-cache.ts';

/** A level as the page sees it, and how its tiles come about. */
export interface PictureLevel extends ViewLevel {
  /** `stored`: the slide's own tiles; `region`: cut anew from the slide's level; `halved`: made from the level above. */
  readonly tiles: 'stored' | 'region' | 'halved';
}

/** Longest side of the smallest level: an overview of it takes at most a few dozen tiles. */
const OVERVIEW_PX = 2048;
/** Stored tiles outside these sides (strips as wide as the slide, a level in one piece) make poor tiles on a screen. */
const TILE_PX = { min: 64, max: 1024, own: 256 };
const JPEG_QUALITY = 85;
/** What is not on the slide, or cannot be read, must not look like dark tissue. */
const GLASS_LEVEL = 0xf4;
const GLASS = { r: GLASS_LEVEL, g: GLASS_LEVEL, b: GLASS_LEVEL };

/** Places of the four tiles above a halved one. */
const QUARTERS = [
  [0, 0],
  [1, 0],
  [0, 1],
  [1, 1],
] as const;

/** Levels of the picture, full resolution first; the first ones are the slide's. */
export function pictureLevels(slide: Slide): PictureLevel[] {
  const full = slide.levels[0]!;
  const levels = slide.levels.map((level) => ownLevel(level, full));
  for (let above = levels.at(-1)!; Math.max(above.width, above.height) > OVERVIEW_PX; above = levels.at(-1)!) {
    levels.push({
      width: Math.ceil(above.width / 2),
      height: Math.ceil(above.height / 2),
      scaleX: above.scaleX * 2,
      scaleY: above.scaleY * 2,
      tileWidth: above.tileWidth,
      tileHeight: above.tileHeight,
      tiles: 'halved',
    });
  }
  return levels;
}

function ownLevel(level: SlideLevel, full: SlideLevel): PictureLevel {
  const sides = [level.tileWidth, level.tileHeight];
  const handy = sides.every((side) => side >= TILE_PX.min && side <= TILE_PX.max);
  return {
    width: level.width,
    height: level.height,
    scaleX: axisScale(full.width, level.width),
    scaleY: axisScale(full.height, level.height),
    tileWidth: handy ? level.tileWidth : TILE_PX.own,
    tileHeight: handy ? level.tileHeight : TILE_PX.own,
    tiles: handy ? 'stored' : 'region',
  };
}

/**
 * Level-0 px per pixel of a level, along one axis. Pyramids shrink by whole numbers and round the size that results (up or
 * down), so the ratio of the sizes is a little off; the whole number is taken where it explains the size.
 */
function axisScale(full: number, size: number): number {
  const whole = Math.max(1, Math.round(full / size));
  return Math.abs(whole * size - full) < whole ? whole : full / size;
}

export function hasTile(level: ViewLevel, column: number, row: number): boolean {
  return column >= 0 && row >= 0 && column * level.tileWidth < level.width && row * level.tileHeight < level.height;
}

/** The tiles of one slide, made at need and kept in `cache` under `version`. */
export class PictureTiles {
  private readonly slide: Slide;
  readonly levels: readonly PictureLevel[];
  private readonly cache: ByteCache;
  private readonly version: string;

  constructor(slide: Slide, cache: ByteCache, version: string) {
    this.slide = slide;
    this.levels = pictureLevels(slide);
    this.cache = cache;
    this.version = version;
  }

  /** One tile as JPEG, null where the level has none. A stored tile may hang over the slide's edge; the page cuts it. */
  async read(
    level: number,
    column: number,
    row: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer> | null> {
    const place = this.levels[level];
    if (!place || !hasTile(place, column, row)) return null;
    if (place.tiles === 'stored') {
      const stored = await this.slide.readStoredTile(level, column, row, signal);
      if (stored?.mime === 'image/jpeg') return stored.bytes as Uint8Array<ArrayBuffer>;
    }
    const key = `${this.version}/${level}/${column}_${row}`;
    return this.cache.get(key, () => this.make(place, level, column, row));
  }

  private async make(place: PictureLevel, level: number, column: number, row: number) {
    const left = column * place.tileWidth;
    const top = row * place.tileHeight;
    const { width, height } = sizeOfTiles(place, column, row, 1);
    if (place.tiles === 'halved') return this.halve(level, column, row, width, height);
    const raster =
      place.tiles === 'stored'
        ? await this.slide.readTile(level, column, row)
        : await this.slide.readRegion(left * place.scaleX, top * place.scaleY, level, width, height);
    return raster ? await rasterJpeg(raster) : await jpeg(sharp(glass(width, height)));
  }

  /** Every pixel the mean of four of the level above. */
  private async halve(level: number, column: number, row: number, width: number, height: number) {
    const above = this.levels[level - 1]!;
    const whole = sizeOfTiles(above, 2 * column, 2 * row, 2);
    const pixels = new Uint8Array(whole.width * whole.height * 3).fill(GLASS_LEVEL);
    for (const [right, down] of QUARTERS) {
      const piece = await this.pixels(level - 1, 2 * column + right, 2 * row + down);
      const start = (down * above.tileHeight * whole.width + right * above.tileWidth) * 3;
      for (let y = 0; y < (piece?.height ?? 0); y++) {
        const line = piece!.data.subarray(y * piece!.width * 3, (y + 1) * piece!.width * 3);
        pixels.set(line, start + y * whole.width * 3);
      }
    }
    return jpeg(sharp(halved(pixels, whole.width, whole.height), { raw: { width, height, channels: 3 } }));
  }

  /** Pixels of a tile; null where there is none, or it is damaged: it then stays glass in the smaller levels. */
  private async pixels(level: number, column: number, row: number): Promise<RgbImage | null> {
    try {
      const tile = await this.read(level, column, row);
      if (!tile) return null;
      const { width, height } = sizeOfTiles(this.levels[level]!, column, row, 1);
      const picture = sharp(tile).toColourspace('srgb').removeAlpha().extract({ left: 0, top: 0, width, height });
      return { width, height, data: await picture.raw().toBuffer() };
    } catch {
      return null;
    }
  }
}

/** Pixels of the level under `count` x `count` tiles from this one on. */
function sizeOfTiles(level: ViewLevel, column: number, row: number, count: number) {
  return {
    width: Math.min(count * level.tileWidth, level.width - column * level.tileWidth),
    height: Math.min(count * level.tileHeight, level.height - row * level.tileHeight),
  };
}

/** RGB of half the size, rounded up; the last column and row of an odd size count twice. */
function halved(rgb: Uint8Array, width: number, height: number): Uint8Array {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const half = new Uint8Array(columns * rows * 3);
  for (let row = 0, target = 0; row < rows; row++) {
    const upper = 2 * row * width;
    const lower = Math.min(2 * row + 1, height - 1) * width;
    for (let column = 0; column < columns; column++) {
      const [left, right] = [2 * column, Math.min(2 * column + 1, width - 1)];
      for (let c = 0; c < 3; c++) {
        const sum =
          rgb[(upper + left) * 3 + c]! +
          rgb[(upper + right) * 3 + c]! +
          rgb[(lower + left) * 3 + c]! +
          rgb[(lower + right) * 3 + c]!;
        half[target++] = (sum + 2) >> 2;
      }
    }
  }
  return half;
}

function rasterJpeg({ data, width, height }: Raster): Promise<Uint8Array<ArrayBuffer>> {
  return jpeg(sharp(data, { raw: { width, height, channels: 4 } }).flatten({ background: GLASS }));
}

function glass(width: number, height: number): SharpOptions {
  return { create: { width, height, channels: 3, background: GLASS } };
}

async function jpeg(picture: Sharp): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await picture.jpeg({ quality: JPEG_QUALITY }).toBuffer());
}
