/**
 * The whole slide as one small picture, every pixel the mean of the area it covers. Tiles stream through, row by row; sums are kept of the
 * rows that are not yet complete.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { UserError } from '../errors.ts';
import { type ReducedLevel, reducedLevel } from './reduced-level.ts';
import { giveMemory, takeMemory } from './shared-memory.ts';
import type { RgbImage, Slide, TileOptions } from './slide.ts';

export interface Overview extends RgbImage {
  /** Level-0 pixels across one pixel of the picture, >= 1; the last column and row may hang over the slide's edge. */
  readonly level0PerPixel: number;
}

/** They take 48 MB. */
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
  const steps = { x: scale * source.scaleX, y: scale * source.scaleY };
  const isCopy = Math.abs(steps.x * width - width) + Math.abs(steps.y * height - height) < 1;
  const picture = isCopy ? new CopiedPixels(width, height, source) : new AreaMeans(width, height, source, steps);
  let next = 0;
  let since = performance.now();
  const tileBytes = source.tileWidth * source.tileHeight * 3;
  const readTiles = async () => {
    const into = tileBytes <= reusedBytes ? takeMemory(tileBytes) : undefined;
    while (next < source.columns * source.rows) {
      const index = next++;
      const [column, row] = [index % source.columns, Math.floor(index / source.columns)];
      picture.add(await readTileOrNull(slide, source, column, row, { signal, into, urgency: 'later' }), column, row);
      if (performance.now() - since < longestTurnMs) continue;
      await turn();
      since = performance.now();
    }
    if (into) giveMemory(into);
  };
  await Promise.all(Array.from({ length: tilesAtOnce }, readTiles));
  return { width, height, data: picture.data, level0PerPixel: scale };
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
  readonly data: Uint8Array;
  readonly #width: number;
  readonly #height: number;
  readonly #level: ReducedLevel;

  constructor(width: number, height: number, level: ReducedLevel) {
    this.data = new Uint8Array(width * height * 3).fill(255);
    this.#width = width;
    this.#height = height;
    this.#level = level;
  }

  add(tile: RgbImage | null, column: number, row: number): void {
    if (!tile) return;
    const { tileWidth, tileHeight, columns, rows } = this.#level;
    const [left, top] = [column * tileWidth, row * tileHeight];
    const width = Math.min(tile.width, this.#width - left, Math.ceil(this.#level.width) - left);
    const height = Math.min(tile.height, this.#height - top, Math.ceil(this.#level.height) - top);
    const isLast = { column: column === columns - 1, row: row === rows - 1 };
    for (let y = 0; y < (isLast.row ? this.#height - top : height); y++) {
      const from = Math.min(y, height - 1) * tile.width * 3;
      const to = ((top + y) * this.#width + left) * 3;
      this.data.set(tile.data.subarray(from, from + width * 3), to);
      const end = to + (isLast.column ? this.#width - left : width) * 3;
      for (let at = to + width * 3; at < end; at++) this.data[at] = this.data[at - 3]!;
    }
  }
}

/** Pixels made of parts of many. */
class AreaMeans {
  readonly data: Uint8Array;
  readonly #width: number;
  readonly #height: number;
  readonly #level: ReducedLevel;
  /** Pixels of the level across one of the picture. */
  readonly #steps: { readonly x: number; readonly y: number };
  /** Red, green, blue and area of each pixel of the rows under way. */
  readonly #sums = new Map<number, Float32Array>();
  readonly #free: Float32Array[] = [];
  /** Of tiles by their left side. */
  readonly #columns = new Map<number, Columns>();
  /** Tiles to come, by row. */
  readonly #left: Uint32Array;
  /** Rows of tiles, and of pixels, that are complete, from the top. */
  #tileRows = 0;
  #rows = 0;

  constructor(width: number, height: number, level: ReducedLevel, steps: { readonly x: number; readonly y: number }) {
    this.data = new Uint8Array(width * height * 3).fill(255);
    this.#width = width;
    this.#height = height;
    this.#level = level;
    this.#steps = steps;
    this.#left = new Uint32Array(level.rows).fill(level.columns);
  }

  add(tile: RgbImage | null, column: number, row: number): void {
    const { tileWidth, tileHeight, rows } = this.#level;
    if (tile) this.#addTile(tile, column * tileWidth, row * tileHeight);
    this.#left[row]!--;
    while (this.#left[this.#tileRows] === 0) this.#tileRows++;
    const complete = Math.floor((this.#tileRows * tileHeight) / this.#steps.y);
    const end = this.#tileRows === rows ? this.#height : Math.min(this.#height, complete);
    while (this.#rows < end) this.#finish(this.#rows++);
  }

  #addTile(tile: RgbImage, x: number, y: number): void {
    let columns = this.#columns.get(x);
    if (!columns) this.#columns.set(x, (columns = this.#columnsUnder(tile.width, x)));
    const { line } = columns;
    for (let row = 0; row < tile.height; row++) {
      sumLine(tile, row, columns);
      this.#addLine(line, columns.first, y + row);
    }
  }

  #columnsUnder(width: number, x: number): Columns {
    const step = this.#steps.x;
    const first = Math.floor(x / step);
    const places = new Int32Array(width);
    const shares = new Float32Array(width);
    for (let column = 0; column < width; column++) {
      const from = (x + column) / step;
      const pixel = Math.floor(from);
      places[column] = (pixel - first) * 4;
      shares[column] = Math.min(1, (pixel + 1 - from) * step);
    }
    const count = Math.ceil((x + width) / step) - first + 1;
    return { first, places, shares, line: new Float32Array(count * 4) };
  }

  #addLine(line: Float32Array, first: number, y: number): void {
    const step = this.#steps.y;
    const from = y / step;
    const row = Math.floor(from);
    const share = Math.min(1, (row + 1 - from) * step);
    this.#addShare(line, first, row, share);
    if (share < 1) this.#addShare(line, first, row + 1, 1 - share);
  }

  #addShare(line: Float32Array, first: number, row: number, share: number): void {
    if (row >= this.#height) return;
    const sums = this.#sumsOf(row);
    const count = Math.min(line.length, (this.#width - first) * 4);
    for (let i = 0, at = first * 4; i < count; i++, at++) sums[at] = sums[at]! + share * line[i]!;
  }

  #sumsOf(row: number): Float32Array {
    let sums = this.#sums.get(row);
    if (!sums) this.#sums.set(row, (sums = this.#free.pop() ?? new Float32Array(this.#width * 4)));
    return sums;
  }

  #finish(row: number): void {
    const sums = this.#sums.get(row);
    if (!sums) return;
    for (let pixel = 0, at = row * this.#width * 3; pixel < this.#width; pixel++, at += 3) {
      const area = sums[pixel * 4 + 3]!;
      if (area < 1e-3) continue;
      // Storing cuts off what is behind the point.
      this.data[at] = sums[pixel * 4]! / area + 0.5;
      this.data[at + 1] = sums[pixel * 4 + 1]! / area + 0.5;
      this.data[at + 2] = sums[pixel * 4 + 2]! / area + 0.5;
    }
    this.#sums.delete(row);
    this.#free.push(sums.fill(0));
  }
}

/** Where the columns of a tile go. */
interface Columns {
  /** The first output pixel. */
  readonly first: number;
  /** Of each column: its first output pixel's place in the sums of a line, and its share of that; the rest is the next one's. */
  readonly places: Int32Array;
  readonly shares: Float32Array;
  /** Sums of one row of a tile: red, green, blue and width of each output pixel. */
  readonly line: Float32Array;
}

/** One row of a tile, reduced across: each pixel goes to the one or two output pixels that it lies in. */
function sumLine({ data, width }: RgbImage, row: number, { places, shares, line }: Columns): void {
  line.fill(0);
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
