/** The whole slide as one small picture, every pixel the mean of the area it covers. Tiles stream through; only the sums are kept. */
import { UserError } from '../errors.ts';
import { type ReducedLevel, reducedLevel } from './reduced-level.ts';
import type { RgbImage, Slide, TileOptions } from './slide.ts';

export interface Overview extends RgbImage {
  /** Level-0 pixels across one pixel of the picture, >= 1; the last column and row may hang over the slide's edge. */
  readonly level0PerPixel: number;
}

/** Their sums take 256 MB. */
export const maxOverviewPixels = 16 * 1024 * 1024;

/** Tiles asked for before the first of them has come; more than the decoders take at a time. */
const tilesAtOnce = 96;
/** Larger tiles are strips of a picture, of which few are read. */
const reusedBytes = 1024 * 1024;

/** Reads the coarsest level that is fine enough. What the slide does not have is white. */
export async function readOverview(slide: Slide, level0PerPixel: number, signal?: AbortSignal): Promise<Overview> {
  const scale = Math.max(1, level0PerPixel);
  const full = slide.levels[0]!;
  const width = Math.ceil(full.width / scale);
  const height = Math.ceil(full.height / scale);
  if (width * height > maxOverviewPixels) {
    throw new UserError(
      'overview-too-large',
      `An overview of ${slide.source} would have ${width} x ${height} pixels.`,
      'Ask for a smaller one.',
    );
  }
  const source = reducedLevel(slide, scale, 1);
  const sums = new AreaSums(width, height, scale * source.scaleX, scale * source.scaleY);
  let next = 0;
  const tileBytes = source.tileWidth * source.tileHeight * 3;
  const readTiles = async () => {
    const into = tileBytes <= reusedBytes ? new SharedArrayBuffer(tileBytes) : undefined;
    while (next < source.columns * source.rows) {
      const index = next++;
      const [column, row] = [index % source.columns, Math.floor(index / source.columns)];
      const tile = await readTileOrNull(slide, source, column, row, { signal, into });
      if (tile) sums.add(tile, column * source.tileWidth, row * source.tileHeight);
    }
  };
  await Promise.all(Array.from({ length: tilesAtOnce }, readTiles));
  return { width, height, data: sums.means(), level0PerPixel: scale };
}

/** Null for an empty tile and for a bad one, which the slide remembers. */
async function readTileOrNull(
  slide: Slide,
  { level, reduce }: ReducedLevel,
  column: number,
  row: number,
  options: TileOptions,
): Promise<RgbImage | null> {
  try {
    return await slide.readTileRgb(level, column, row, { ...options, reduce });
  } catch (error) {
    if (error instanceof UserError && error.code === 'unreadable-tile') return null;
    throw error;
  }
}

/** Sums of colour and of area per output pixel. */
class AreaSums {
  readonly #width: number;
  readonly #height: number;
  readonly #stepX: number;
  readonly #stepY: number;
  /** Red, green, blue and area of each pixel. */
  readonly #sums: Float32Array;

  /** @param stepX source pixels across one output pixel */
  constructor(width: number, height: number, stepX: number, stepY: number) {
    this.#width = width;
    this.#height = height;
    this.#stepX = stepX;
    this.#stepY = stepY;
    this.#sums = new Float32Array(width * height * 4);
  }

  add(tile: RgbImage, x: number, y: number): void {
    const first = Math.floor(x / this.#stepX);
    const line = new Float32Array((Math.ceil((x + tile.width) / this.#stepX) - first + 1) * 4);
    for (let row = 0; row < tile.height; row++) {
      line.fill(0);
      this.#sumLine(tile, row, x, first, line);
      this.#addLine(line, first, y + row);
    }
  }

  /** One row of a tile, reduced across: each pixel goes to the one or two output pixels that it lies in. */
  #sumLine(tile: RgbImage, row: number, x: number, first: number, line: Float32Array): void {
    const { data, width } = tile;
    const step = this.#stepX;
    for (let column = 0, at = row * width * 3; column < width; column++, at += 3) {
      const from = (x + column) / step;
      const pixel = Math.floor(from);
      const share = Math.min(1, (pixel + 1 - from) * step);
      const to = (pixel - first) * 4;
      const red = data[at]!;
      const green = data[at + 1]!;
      const blue = data[at + 2]!;
      line[to] = line[to]! + share * red;
      line[to + 1] = line[to + 1]! + share * green;
      line[to + 2] = line[to + 2]! + share * blue;
      line[to + 3] = line[to + 3]! + share;
      if (share < 1) {
        const rest = 1 - share;
        line[to + 4] = line[to + 4]! + rest * red;
        line[to + 5] = line[to + 5]! + rest * green;
        line[to + 6] = line[to + 6]! + rest * blue;
        line[to + 7] = line[to + 7]! + rest;
      }
    }
  }

  #addLine(line: Float32Array, first: number, y: number): void {
    const from = y / this.#stepY;
    const row = Math.floor(from);
    const share = Math.min(1, (row + 1 - from) * this.#stepY);
    this.#addShare(line, first, row, share);
    if (share < 1) this.#addShare(line, first, row + 1, 1 - share);
  }

  #addShare(line: Float32Array, first: number, row: number, share: number): void {
    if (row >= this.#height) return;
    const start = (row * this.#width + first) * 4;
    const count = Math.min(line.length, (this.#width - first) * 4);
    for (let i = 0; i < count; i++) this.#sums[start + i] = this.#sums[start + i]! + share * line[i]!;
  }

  means(): Uint8Array {
    const pixels = this.#width * this.#height;
    const data = new Uint8Array(pixels * 3).fill(255);
    for (let pixel = 0; pixel < pixels; pixel++) {
      const area = this.#sums[pixel * 4 + 3]!;
      if (area < 1e-3) continue;
      for (let i = 0; i < 3; i++) data[pixel * 3 + i] = Math.round(this.#sums[pixel * 4 + i]! / area);
    }
    return data;
  }
}
