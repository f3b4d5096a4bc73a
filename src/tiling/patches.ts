/**
 * The patches of a slide as a stream of ready batches: decoded and resampled in the pool while the caller encodes the batch before.
 *
 * Each stored tile is decoded once, however many patches share it, and kept until the last of them has been cut: about one row of
 * tiles for patches in row order. A slow caller stops the stream: two batches are made ahead, no more.
 */
import { UserError } from '../errors.ts';
import { sharedDecodePool } from './decode-pool.ts';
import type { PatchGrid } from './grid.ts';
import { coarsestLevel } from './overview.ts';
import type { PlacedTile } from './resample.ts';
import type { Slide, SlideLevel } from './slide.ts';

/** Part of a patch that could not be read and is white. */
export interface PatchHole {
  /** Index of the patch in the grid. */
  readonly patch: number;
  /** Share of its area, above 0 and up to 1. */
  readonly missing: number;
}

/** A batch of patches; structurally a `PatchBatch` of the encoders. */
export interface PatchStreamBatch {
  /** RGB, 8 bits: count x size x size x 3. What lies outside the slide is white. */
  readonly pixels: Uint8Array;
  readonly count: number;
  readonly size: number;
  /** Index in the grid of the first patch; the others follow in order. */
  readonly first: number;
  readonly holes: readonly PatchHole[];
}

export interface PatchStreamOptions {
  readonly batchSize?: number;
  readonly signal?: AbortSignal | undefined;
}

const batchesAhead = 2;
/** Decoded tiles that may wait for their patches before the next patch is begun. */
const tileBudgetBytes = 256 * 1024 * 1024;

/**
 * Reads the patches of a grid at its scale exactly: from the coarsest level that is fine enough, by area, without snapping to it.
 * Only a patch that is pixel for pixel a square of that level is copied.
 *
 * @throws the signal's reason. A bad tile is no error: its patches come with the part missing, listed in `holes`.
 */
export async function* patches(
  slide: Slide,
  grid: PatchGrid,
  options: PatchStreamOptions = {},
): AsyncGenerator<PatchStreamBatch, void, void> {
  const { batchSize = 64 } = options;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
  const cutter = new PatchCutter(slide, grid, Math.min(batchSize, grid.count), signal);
  const ahead: Promise<PatchStreamBatch>[] = [];
  try {
    for (let next = 0; next < grid.count || ahead.length > 0; ) {
      while (next < grid.count && ahead.length <= batchesAhead) {
        const batch = cutter.readBatch(next, Math.min(batchSize, grid.count - next));
        // It is awaited later; until then its failure is not an unhandled one.
        batch.catch(() => {});
        ahead.push(batch);
        next += batchSize;
      }
      yield await ahead.shift()!;
    }
  } finally {
    stop.abort();
    await Promise.allSettled(ahead);
  }
}

/** A tile of the level that patches are cut from, and how many of them still want it. */
interface Tile {
  readonly column: number;
  readonly row: number;
  wanted: number;
  /** The decoded tile, `empty`, or `bad`; undefined until first asked for. */
  content: Promise<PlacedTile | 'empty' | 'bad'> | undefined;
}

class PatchCutter {
  readonly #slide: Slide;
  readonly #grid: PatchGrid;
  readonly #signal: AbortSignal;
  readonly #levelIndex: number;
  readonly #level: SlideLevel;
  /** Pixels of the level per level-0 pixel, across and down. */
  readonly #scaleX: number;
  readonly #scaleY: number;
  readonly #tiles = new Map<number, Tile>();
  readonly #batchSize: number;
  readonly #freeTiles: SharedArrayBuffer[] = [];
  readonly #freeBatches: SharedArrayBuffer[] = [];
  readonly #waiting: (() => void)[] = [];
  #tilesHeld = 0;
  #patchesBegun = 0;

  constructor(slide: Slide, grid: PatchGrid, batchSize: number, signal: AbortSignal) {
    this.#batchSize = batchSize;
    this.#slide = slide;
    this.#grid = grid;
    this.#signal = signal;
    this.#levelIndex = coarsestLevel(slide, grid.level0Side / grid.patchPx);
    this.#level = slide.levels[this.#levelIndex]!;
    this.#scaleX = this.#level.width / slide.levels[0]!.width;
    this.#scaleY = this.#level.height / slide.levels[0]!.height;
    for (let patch = 0; patch < grid.count; patch++) {
      for (const tile of this.#tilesUnder(patch)) tile.wanted++;
    }
  }

  async readBatch(first: number, count: number): Promise<PatchStreamBatch> {
    const size = this.#grid.patchPx;
    const patchBytes = size * size * 3;
    const memory = this.#freeBatches.pop() ?? new SharedArrayBuffer(this.#batchSize * patchBytes);
    const cuts: Promise<number>[] = [];
    for (let i = 0; i < count; i++) {
      await this.#room();
      const cut = this.#cut(first + i, memory, i * patchBytes);
      cut.catch(() => {});
      cuts.push(cut);
    }
    const missing = await Promise.all(cuts);
    const holes = missing.map((share, i) => ({ patch: first + i, missing: share })).filter((hole) => hole.missing > 0);
    // Out of shared memory, which GPUs and encoders refuse, and which is wanted for the next batch.
    const pixels = new Uint8Array(memory).slice(0, count * patchBytes);
    this.#freeBatches.push(memory);
    return { pixels, count, size, first, holes };
  }

  /** Cuts one patch into memory; the share of it that bad tiles left out. */
  async #cut(patch: number, into: SharedArrayBuffer, offset: number): Promise<number> {
    const square = this.#square(patch);
    const under = this.#tilesUnder(patch);
    try {
      const contents = await Promise.all(under.map((tile) => (tile.content ??= this.#decode(tile))));
      const tiles = contents.filter((content) => typeof content === 'object');
      await sharedDecodePool().run(
        () => ({ kind: 'resample', tiles, ...square, size: this.#grid.patchPx, into, offset }),
        this.#signal,
      );
      const bad = under.filter((_, i) => contents[i] === 'bad');
      return bad.reduce((share, tile) => share + this.#overlap(tile, square), 0);
    } finally {
      this.#patchesBegun--;
      for (const tile of under) this.#release(tile);
      this.#waiting.shift()?.();
    }
  }

  /** The patch in pixels of the level. */
  #square(patch: number): { x: number; y: number; width: number; height: number } {
    const { coords, level0Side } = this.#grid;
    return {
      x: coords[patch * 2]! * this.#scaleX,
      y: coords[patch * 2 + 1]! * this.#scaleY,
      width: level0Side * this.#scaleX,
      height: level0Side * this.#scaleY,
    };
  }

  #tilesUnder(patch: number): Tile[] {
    const { x, y, width, height } = this.#square(patch);
    const { tileWidth, tileHeight } = this.#level;
    const columns = Math.ceil(this.#level.width / tileWidth);
    const rows = Math.ceil(this.#level.height / tileHeight);
    const under: Tile[] = [];
    const lastRow = Math.min(rows - 1, Math.ceil((y + height - edge) / tileHeight) - 1);
    const lastColumn = Math.min(columns - 1, Math.ceil((x + width - edge) / tileWidth) - 1);
    for (let row = Math.floor((y + edge) / tileHeight); row <= lastRow; row++) {
      for (let column = Math.floor((x + edge) / tileWidth); column <= lastColumn; column++) {
        const key = row * columns + column;
        let tile = this.#tiles.get(key);
        if (!tile) this.#tiles.set(key, (tile = { column, row, wanted: 0, content: undefined }));
        under.push(tile);
      }
    }
    return under;
  }

  async #decode({ column, row }: Tile): Promise<PlacedTile | 'empty' | 'bad'> {
    const { tileWidth, tileHeight } = this.#level;
    this.#tilesHeld++;
    const memory = this.#freeTiles.pop() ?? new SharedArrayBuffer(tileWidth * tileHeight * 3);
    try {
      const image = await this.#slide.readTileRgb(this.#levelIndex, column, row, this.#signal, memory);
      if (image)
        return { memory, x: column * tileWidth, y: row * tileHeight, width: image.width, height: image.height };
      this.#giveBack(memory);
      return 'empty';
    } catch (error) {
      this.#giveBack(memory);
      if (error instanceof UserError && error.code === 'unreadable-tile') return 'bad';
      throw error;
    }
  }

  /** One patch less wants the tile; the last one frees its memory for another. */
  #release(tile: Tile): void {
    if (--tile.wanted > 0) return;
    this.#tiles.delete(tile.row * Math.ceil(this.#level.width / this.#level.tileWidth) + tile.column);
    void tile.content?.then(
      (content) => typeof content === 'object' && this.#giveBack(content.memory),
      () => {},
    );
  }

  #giveBack(memory: SharedArrayBuffer): void {
    this.#tilesHeld--;
    this.#freeTiles.push(memory);
  }

  /** Waits, first come first served, until another patch may be begun; one at least is always under way. */
  async #room(): Promise<void> {
    const isFull = () =>
      this.#patchesBegun > 0 && this.#tilesHeld * this.#level.tileWidth * this.#level.tileHeight * 3 > tileBudgetBytes;
    while (isFull()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#patchesBegun++;
  }

  /** Share of a square that a tile covers. */
  #overlap(tile: Tile, square: { x: number; y: number; width: number; height: number }): number {
    const { tileWidth, tileHeight } = this.#level;
    const left = Math.max(square.x, tile.column * tileWidth);
    const top = Math.max(square.y, tile.row * tileHeight);
    const right = Math.min(square.x + square.width, (tile.column + 1) * tileWidth, this.#level.width);
    const bottom = Math.min(square.y + square.height, (tile.row + 1) * tileHeight, this.#level.height);
    return (Math.max(0, right - left) * Math.max(0, bottom - top)) / (square.width * square.height);
  }
}

/** Rounding that is not taken for a sliver of the next tile, in pixels. */
const edge = 1e-3;
