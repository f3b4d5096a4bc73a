/**
 * A slide as a picture for the browser: its levels, exactly where they lie, and their tiles as JPEG.
 *
 * The levels and tiles are the slide's own, so that stored JPEG tiles pass through undecoded. Below the smallest level more
 * are added, each half of the one above, until an overview takes few tiles; a tile of theirs is made from the four above it.
 */
import sharp, { type Sharp, type SharpOptions } from 'sharp';
import type { Raster, RgbImage, Slide, SlideLevel } from '../tiling/slide.ts';
import type { ViewLevel } from './api.ts';
import type { ByteCache, Bytes } from './byte-cache.ts';

/** A level as the page sees it, and how its tiles come about. */
export interface PictureLevel extends ViewLevel {
  /** `stored`: the slide's own tiles; `region`: cut anew from the slide's level; `halved`: made from the level above. */
  readonly tiles: 'stored' | 'region' | 'halved';
  /** The level of the slide under it; -1 for a halved one. */
  readonly slideLevel: number;
  /** Whether tiles at the edge are cut to the level's size, as other viewers want them; else they may hang over. */
  readonly cut: boolean;
}

/** Longest side of the smallest level: an overview of it takes at most a few dozen tiles. */
const OVERVIEW_PX = 2048;
/** Stored tiles outside these sides (strips as wide as the slide, a level in one piece) make poor tiles on a screen. */
const TILE_PX = { min: 64, max: 1024, own: 256 };
const JPEG_QUALITY = 85;
/** What is not on the slide, or cannot be read, must not look like dark tissue. */
const GLASS_LEVEL = 0xf4;
const GLASS = { r: GLASS_LEVEL, g: GLASS_LEVEL, b: GLASS_LEVEL };

/** Tiles of one region that are decoded together. */
const ROUND = 8;

/** Levels of the picture, full resolution first; the first ones are the slide's. */
export function pictureLevels(slide: Slide): PictureLevel[] {
  const full = slide.levels[0]!;
  const levels = slide.levels.map((level, i) => ownLevel(level, i, full));
  for (let above = levels.at(-1)!; Math.max(above.width, above.height) > OVERVIEW_PX; above = levels.at(-1)!) {
    levels.push({
      width: Math.ceil(above.width / 2),
      height: Math.ceil(above.height / 2),
      scaleX: above.scaleX * 2,
      scaleY: above.scaleY * 2,
      tileWidth: above.tileWidth,
      tileHeight: above.tileHeight,
      tiles: 'halved',
      slideLevel: -1,
      cut: false,
    });
  }
  return levels;
}

/**
 * The same picture in levels of exactly half the size, rounded up, down to a single pixel, in square tiles of one size: the
 * pyramid of Deep Zoom and IIIF. Where the slide has such a level its stored tiles pass through.
 */
export function halvingLevels(slide: Slide): PictureLevel[] {
  const full = slide.levels[0]!;
  const own = slide.levels.map((level, i) => ownLevel(level, i, full));
  const side = isHandy(full) && full.tileWidth === full.tileHeight ? full.tileWidth : TILE_PX.own;
  const count = Math.ceil(Math.log2(Math.max(full.width, full.height))) + 1;
  return Array.from({ length: count }, (_, k) => {
    const scale = 2 ** k;
    const [width, height] = [Math.ceil(full.width / scale), Math.ceil(full.height / scale)];
    const fitting = own.find(
      (level) =>
        level.scaleX === scale && level.scaleY === scale && width - level.width <= 1 && height - level.height <= 1,
    );
    const stored = fitting?.tiles === 'stored' && fitting.tileWidth === side && fitting.tileHeight === side;
    return {
      width,
      height,
      scaleX: scale,
      scaleY: scale,
      tileWidth: side,
      tileHeight: side,
      tiles: stored ? 'stored' : fitting ? 'region' : 'halved',
      slideLevel: fitting?.slideLevel ?? -1,
      cut: true,
    };
  });
}

function isHandy({ tileWidth, tileHeight }: SlideLevel): boolean {
  return [tileWidth, tileHeight].every((side) => side >= TILE_PX.min && side <= TILE_PX.max);
}

function ownLevel(level: SlideLevel, slideLevel: number, full: SlideLevel): PictureLevel {
  const handy = isHandy(level);
  return {
    slideLevel,
    cut: false,
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

/** Whoever may stop waiting. */
export interface Asker {
  readonly signal?: AbortSignal | undefined;
}

/** The tiles of one pyramid of a slide, made at need and kept in `cache` under `version`. */
export class PictureTiles {
  private readonly slide: Slide;
  readonly levels: readonly PictureLevel[];
  private readonly cache: ByteCache;
  private readonly version: string;

  /** @param version names the slide's content and the pyramid. */
  constructor(slide: Slide, levels: readonly PictureLevel[], cache: ByteCache, version: string) {
    this.slide = slide;
    this.levels = levels;
    this.cache = cache;
    this.version = version;
  }

  /**
   * One tile as JPEG, null where the level has none. Without `cut` a stored tile may hang over the slide's edge.
   * @param asker a request, say: its signal is made when it is looked at, which is when the tile is not at hand.
   */
  async read(level: number, column: number, row: number, asker?: Asker): Promise<Bytes | null> {
    const place = this.levels[level];
    if (!place || !hasTile(place, column, row)) return null;
    const key = `${this.version}/${level}/${column}_${row}`;
    const kept = this.cache.find(key);
    return kept ?? this.cache.get(key, (stop) => this.make(place, level, column, row, stop), asker?.signal);
  }

  /**
   * Pixels of a rectangle of a level; what is outside the level, or damaged, is glass.
   * @param left, top, width, height in pixels of the level.
   */
  async readPixels(
    level: number,
    left: number,
    top: number,
    width: number,
    height: number,
    signal?: AbortSignal,
  ): Promise<RgbImage> {
    const { tileWidth, tileHeight } = this.levels[level]!;
    const data = new Uint8Array(width * height * 3).fill(GLASS_LEVEL);
    const work: Promise<void>[] = [];
    for (let row = Math.floor(top / tileHeight); row * tileHeight < top + height; row++) {
      for (let column = Math.floor(left / tileWidth); column * tileWidth < left + width; column++) {
        const paste = async () => {
          const piece = await this.pixels(level, column, row, signal);
          if (piece) blit(piece, data, width, height, column * tileWidth - left, row * tileHeight - top);
        };
        work.push(paste());
        if (work.length === ROUND) await Promise.all(work.splice(0));
      }
    }
    await Promise.all(work);
    return { width, height, data };
  }

  private async make(place: PictureLevel, level: number, column: number, row: number, signal: AbortSignal) {
    const { width, height } = sizeOfTiles(place, column, row, 1);
    if (place.tiles === 'halved') return this.halve(level, column, row, signal);
    if (place.tiles === 'stored') {
      const stored = await this.slide.readStoredTile(place.slideLevel, column, row, signal);
      const whole = !place.cut || (width === place.tileWidth && height === place.tileHeight);
      if (stored?.mime === 'image/jpeg') return whole ? (stored.bytes as Bytes) : cutJpeg(stored.bytes, width, height);
      const raster = await this.slide.readTile(place.slideLevel, column, row, signal);
      return raster ? await rasterJpeg(raster) : await jpeg(sharp(glass(width, height)));
    }
    const [left, top] = [column * place.tileWidth * place.scaleX, row * place.tileHeight * place.scaleY];
    return rasterJpeg(await this.slide.readRegion(left, top, place.slideLevel, width, height, signal));
  }

  /** Every pixel the mean of four of the level above. */
  private async halve(level: number, column: number, row: number, signal: AbortSignal) {
    const above = this.levels[level - 1]!;
    const { width, height } = sizeOfTiles(above, 2 * column, 2 * row, 2);
    const [left, top] = [2 * column * above.tileWidth, 2 * row * above.tileHeight];
    const { data } = await this.readPixels(level - 1, left, top, width, height, signal);
    const raw = { width: Math.ceil(width / 2), height: Math.ceil(height / 2), channels: 3 as const };
    return jpeg(sharp(halved(data, width, height), { raw }));
  }

  /** Pixels of a tile; null where there is none, or it is damaged: it then stays glass in the smaller levels. */
  private async pixels(level: number, column: number, row: number, signal?: AbortSignal): Promise<RgbImage | null> {
    try {
      const tile = await this.read(level, column, row, { signal });
      if (!tile) return null;
      const { width, height } = sizeOfTiles(this.levels[level]!, column, row, 1);
      const picture = sharp(tile).toColourspace('srgb').removeAlpha().extract({ left: 0, top: 0, width, height });
      return { width, height, data: await picture.raw().toBuffer() };
    } catch {
      signal?.throwIfAborted();
      return null;
    }
  }
}

/** Copies `piece` into RGB pixels of `width` x `height` with its top-left corner at (left, top), as far as it reaches into them. */
function blit(piece: RgbImage, into: Uint8Array, width: number, height: number, left: number, top: number): void {
  const [first, last] = [Math.max(0, -left), Math.min(piece.width, width - left)];
  for (let y = Math.max(0, -top); y < Math.min(piece.height, height - top); y++) {
    const line = piece.data.subarray((y * piece.width + first) * 3, (y * piece.width + last) * 3);
    into.set(line, ((top + y) * width + left + first) * 3);
  }
}

/** Pixels of the level under `count` x `count` tiles from this one on. */
export function sizeOfTiles(level: ViewLevel, column: number, row: number, count: number) {
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

/** The top-left part of a JPEG. */
function cutJpeg(bytes: Uint8Array, width: number, height: number): Promise<Bytes> {
  return jpeg(sharp(bytes).toColourspace('srgb').extract({ left: 0, top: 0, width, height }));
}

/** What has no pixels is glass. */
export function rasterJpeg({ data, width, height }: Raster): Promise<Bytes> {
  return jpeg(sharp(data, { raw: { width, height, channels: 4 } }).flatten({ background: GLASS }));
}

function glass(width: number, height: number): SharpOptions {
  return { create: { width, height, channels: 3, background: GLASS } };
}

async function jpeg(picture: Sharp): Promise<Bytes> {
  return new Uint8Array(await picture.jpeg({ quality: JPEG_QUALITY }).toBuffer());
}
