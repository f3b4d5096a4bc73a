/** The whole slide as one small picture, every pixel the mean of the area it covers. Tiles stream through; only the sums are kept. */
import { setImmediate as turn } from 'node:timers/promises';
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
/** Tiles come in bunches; whoever feeds an encoder beside this does not wait for all of a bunch. */
const longestTurnMs = 4;
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
  const [stepX, stepY] = [scale * source.scaleX, scale * source.scaleY];
  const isCopy = Math.abs(stepX * width - width) + Math.abs(stepY * height - height) < 1;
  const picture = isCopy ? new CopiedPixels(width, height, source) : new AreaSums(width, height, stepX, stepY);
  let next = 0;
  let since = performance.now();
  const tileBytes = source.tileWidth * source.tileHeight * 3;
  const readTiles = async () => {
    const into = tileBytes <= reusedBytes ? new SharedArrayBuffer(tileBytes) : undefined;
    while (next < source.columns * source.rows) {
      const index = next++;
      const [column, row] = [index % source.columns, Math.floor(index / source.columns)];
      const tile = await readTileOrNull(slide, source, column, row, { signal, into });
      if (tile) picture.add(tile, column * source.tileWidth, row * source.tileHeight);
      if (performance.now() - since < longestTurnMs) continue;
      await turn();
      since = performance.now();
    }
  };
  await Promise.all(Array.from({ length: tilesAtOnce }, readTiles));
  return { width, height, data: await picture.means(), level0PerPixel: scale };
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

/** A level of the very scale. Where it was cut off at a part of a pixel, its last column and row stand for that. */
class CopiedPixels {
  readonly #width: number;
  readonly #height: number;
  readonly #level: Pick<ReducedLevel, 'width' | 'height'>;
  readonly #data: Uint8Array;

  constructor(width: number, height: number, level: Pick<ReducedLevel, 'width' | 'height'>) {
    this.#width = width;
    this.#height = height;
    this.#level = level;
    this.#data = new Uint8Array(width * height * 3).fill(255);
  }

  add({ width, height, data }: RgbImage, x: number, y: number): void {
    const columns = Math.min(width, this.#width - x);
    for (let row = 0; row < Math.min(height, this.#height - y); row++) {
      this.#data.set(data.subarray(row * width * 3, (row * width + columns) * 3), ((y + row) * this.#width + x) * 3);
    }
  }

  async means(): Promise<Uint8Array> {
    const [columns, rows] = [Math.ceil(this.#level.width), Math.ceil(this.#level.height)];
    const line = this.#width * 3;
    for (let row = 0; columns < this.#width && row < rows; row++) {
      this.#data.copyWithin(
        (row * this.#width + columns) * 3,
        (row * this.#width + columns - 1) * 3,
        row * line + columns * 3,
      );
    }
    if (rows < this.#height) this.#data.copyWithin(rows * line, (rows - 1) * line, rows * line);
    return this.#data;
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
    const columns = this.#columnsUnder(tile.width, x);
    const line = new Float32Array(columns.count * 4);
    for (let row = 0; row < tile.height; row++) {
      line.fill(0);
      sumLine(tile, row, columns, line);
      this.#addLine(line, columns.first, y + row);
    }
  }

  #columnsUnder(width: number, x: number): Columns {
    const step = this.#stepX;
    const first = Math.floor(x / step);
    const places = new Int32Array(width);
    const shares = new Float32Array(width);
    for (let column = 0; column < width; column++) {
      const from = (x + column) / step;
      const pixel = Math.floor(from);
      places[column] = (pixel - first) * 4;
      shares[column] = Math.min(1, (pixel + 1 - from) * step);
    }
    return { first, count: Math.ceil((x + width) / step) - first + 1, places, shares };
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

  async means(): Promise<Uint8Array> {
    const sums = this.#sums;
    const data = new Uint8Array(this.#width * this.#height * 3).fill(255);
    for (let row = 0; row < this.#height; row++) {
      for (let pixel = row * this.#width; pixel < (row + 1) * this.#width; pixel++) {
        const area = sums[pixel * 4 + 3]!;
        if (area < 1e-3) continue;
        // Storing cuts off what is behind the point.
        data[pixel * 3] = sums[pixel * 4]! / area + 0.5;
        data[pixel * 3 + 1] = sums[pixel * 4 + 1]! / area + 0.5;
        data[pixel * 3 + 2] = sums[pixel * 4 + 2]! / area + 0.5;
      }
      if (row % 256 === 255) await turn();
    }
    return data;
  }
}

/** Where the columns of a tile go. */
interface Columns {
  /** The first output pixel, and how many there are. */
  readonly first: number;
  readonly count: number;
  /** Of each column: its first output pixel's place in the sums of a line, and its share of that; the rest is the next one's. */
  readonly places: Int32Array;
  readonly shares: Float32Array;
}

/** One row of a tile, reduced across: each pixel goes to the one or two output pixels that it lies in. */
function sumLine({ data, width }: RgbImage, row: number, { places, shares }: Columns, line: Float32Array): void {
  for (let column = 0, at = row * width * 3; column < width; column++, at += 3) {
    const share = shares[column]!;
    const to = places[column]!;
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
