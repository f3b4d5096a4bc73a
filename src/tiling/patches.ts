/**
 * The patches of a slide as a stream of ready batches: decoded and resampled in the pool while the caller encodes the batch before.
 *
 * Each stored tile is decoded once, however many patches share it, and kept until the last of them has been cut: about one row of
 * tiles for patches in row order. A slow caller stops the stream: two batches are made ahead, no more.
 */
import { UserError } from '../errors.ts';
import { sharedDecodePool } from './decode-pool.ts';
import type { PatchGrid } from './grid.ts';
import { type ReducedLevel, reducedLevel } from './reduced-level.ts';
import type { CutTask, Normalisation, PlacedTile, Rectangle } from './resample.ts';
import { giveMemory, takeMemory } from './shared-memory.ts';
import type { Slide } from './slide.ts';

/** Part of a patch that could not be read and is white. */
export interface PatchHole {
  /** Index of the patch in the grid. */
  readonly patch: number;
  /** Share of its area, above 0 and up to 1. */
  readonly missing: number;
}

/** A batch of patches; of bytes, it is structurally a `PatchBatch` of the encoders. */
export interface PatchStreamBatch<Pixels = Uint8Array> {
  /**
   * RGB, 8 bits: count x size x size x 3; or normalised floats: count x 3 x size x size. What lies outside the slide is white. In shared
   * memory, so that it passes between threads without a copy.
   */
  readonly pixels: Pixels;
  readonly count: number;
  readonly size: number;
  /** Index in the grid of the first patch; the others follow in order. */
  readonly first: number;
  readonly holes: readonly PatchHole[];
  /**
   * Gives the memory of `pixels` to a later batch; nobody may look at them any more. Whoever does not call it keeps them, and pays for
   * fresh memory, which takes longer than cutting the patches.
   */
  release(): void;
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
 * Where even that level is four times too fine or more, its tiles are decoded as means of 2, 4 or 8 pixels each way, at least twice as
 * fine as the patch.
 * Only a patch that is pixel for pixel a square of that level is copied.
 *
 * @throws the signal's reason. A bad tile is no error: its patches come with the part missing, listed in `holes`.
 */
export async function* patches(
  slide: Slide,
  grid: PatchGrid,
  options: PatchStreamOptions = {},
): AsyncGenerator<PatchStreamBatch, void, void> {
  for await (const { pixels, ...batch } of stream(slide, grid, null, options)) {
    yield { ...batch, pixels: new Uint8Array(pixels, 0, batch.count * batch.size ** 2 * 3) };
  }
}

/** As `patches`, ready for a network: floats, channel by channel, less their mean and over their deviation. */
export async function* normalisedPatches(
  slide: Slide,
  grid: PatchGrid,
  normalise: Normalisation,
  options: PatchStreamOptions = {},
): AsyncGenerator<PatchStreamBatch<Float32Array>, void, void> {
  for await (const { pixels, ...batch } of stream(slide, grid, normalise, options)) {
    yield { ...batch, pixels: new Float32Array(pixels, 0, batch.count * batch.size ** 2 * 3) };
  }
}

async function* stream(
  slide: Slide,
  grid: PatchGrid,
  normalise: Normalisation | null,
  options: PatchStreamOptions,
): AsyncGenerator<PatchStreamBatch<SharedArrayBuffer>, void, void> {
  const { batchSize = 64 } = options;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
  const cutter = new PatchCutter(slide, grid, normalise, signal, Math.min(batchSize, grid.count));
  const ahead: Promise<PatchStreamBatch<SharedArrayBuffer>>[] = [];
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

/** A tile that patches are cut from. */
interface Tile {
  readonly column: number;
  readonly row: number;
  readonly content: Promise<TileContent>;
}

type TileContent = PlacedTile | 'empty' | 'bad';

interface Piece {
  /** Memory of a batch, the piece at its front. */
  readonly pixels: SharedArrayBuffer;
  readonly count: number;
  readonly holes: readonly PatchHole[];
}

class PatchCutter {
  readonly #slide: Slide;
  readonly #grid: PatchGrid;
  readonly #normalise: Normalisation | null;
  readonly #signal: AbortSignal;
  readonly #source: ReducedLevel;
  /** Patches that still want a tile, row by row. */
  readonly #wanted: Uint32Array;
  /** Those that are being read or kept. */
  readonly #tiles = new Map<number, Tile>();
  readonly #batchBytes: number;
  readonly #waiting: (() => void)[] = [];
  #tilesHeld = 0;
  #patchesBegun = 0;

  constructor(slide: Slide, grid: PatchGrid, normalise: Normalisation | null, signal: AbortSignal, batchSize: number) {
    this.#batchBytes = batchSize * grid.patchPx ** 2 * 3 * (normalise ? 4 : 1);
    this.#slide = slide;
    this.#grid = grid;
    this.#normalise = normalise;
    this.#signal = signal;
    this.#source = reducedLevel(slide, grid.level0Side / grid.patchPx, 2);
    this.#wanted = new Uint32Array(this.#source.columns * this.#source.rows);
    for (let patch = 0; patch < grid.count; patch++) {
      for (const index of this.#tilesUnder(this.#square(patch))) this.#wanted[index]!++;
    }
  }

  /** Cuts a batch as one piece, or as more where its tiles would take too much memory at once. */
  async readBatch(first: number, count: number): Promise<PatchStreamBatch<SharedArrayBuffer>> {
    const pieces: Promise<Piece>[] = [];
    let begun: number[] = [];
    const cutBegun = () => {
      const piece = this.#cut(begun);
      piece.catch(() => {});
      pieces.push(piece);
      begun = [];
    };
    for (let patch = first; patch < first + count; patch++) {
      if (begun.length > 0 && this.#isFull()) cutBegun();
      await this.#room();
      this.#tilesUnder(this.#square(patch)).forEach((index) => void this.#tile(index));
      begun.push(patch);
    }
    cutBegun();
    const cut = await Promise.all(pieces);
    const pixels = cut.length === 1 ? cut[0]!.pixels : this.#join(cut);
    let released = false;
    const release = () => {
      if (!released) giveMemory(pixels);
      released = true;
    };
    return { pixels, count, size: this.#grid.patchPx, first, holes: cut.flatMap(({ holes }) => holes), release };
  }

  #join(pieces: readonly Piece[]): SharedArrayBuffer {
    const { patchPx } = this.#grid;
    const patchBytes = patchPx ** 2 * 3 * (this.#normalise ? 4 : 1);
    const joined = takeMemory(this.#batchBytes);
    const whole = new Uint8Array(joined);
    let at = 0;
    for (const { pixels, count } of pieces) {
      whole.set(new Uint8Array(pixels, 0, count * patchBytes), at);
      at += count * patchBytes;
      giveMemory(pixels);
    }
    return joined;
  }

  /** Cuts patches when their tiles are there, and lets go of those. */
  async #cut(patches: readonly number[]): Promise<Piece> {
    try {
      const read = await Promise.all(patches.map((patch) => this.#readTiles(this.#square(patch))));
      const task: CutTask = {
        kind: 'cut',
        cuts: read.map(({ rectangle, tiles }) => ({ rectangle, tiles })),
        size: this.#grid.patchPx,
        normalise: this.#normalise,
        memory: takeMemory(this.#batchBytes),
      };
      await sharedDecodePool().run(() => task, this.#signal);
      const holes = read.map(({ missing }, i) => ({ patch: patches[i]!, missing }));
      return { pixels: task.memory, count: patches.length, holes: holes.filter(({ missing }) => missing > 0) };
    } finally {
      for (const patch of patches) this.#release(this.#square(patch));
    }
  }

  /** The tiles under a rectangle, and the share of it that bad ones leave out. */
  async #readTiles(rectangle: Rectangle): Promise<TilesUnder> {
    const under = this.#tilesUnder(rectangle).map((index) => this.#tile(index));
    const contents = await Promise.all(under.map(({ content }) => content));
    const bad = under.filter((_, i) => contents[i] === 'bad');
    return {
      rectangle,
      tiles: contents.filter((content) => typeof content === 'object'),
      missing: bad.reduce((share, tile) => share + this.#overlap(tile, rectangle), 0),
    };
  }

  /** The patch in pixels of the level. */
  #square(patch: number): Rectangle {
    const { coords, level0Side } = this.#grid;
    const { scaleX, scaleY } = this.#source;
    return {
      x: coords[patch * 2]! * scaleX,
      y: coords[patch * 2 + 1]! * scaleY,
      width: level0Side * scaleX,
      height: level0Side * scaleY,
    };
  }

  /** Their numbers, counted row by row. */
  #tilesUnder({ x, y, width, height }: Rectangle): number[] {
    const { tileWidth, tileHeight, columns, rows } = this.#source;
    const under: number[] = [];
    const lastRow = Math.min(rows - 1, Math.ceil((y + height - edge) / tileHeight) - 1);
    const lastColumn = Math.min(columns - 1, Math.ceil((x + width - edge) / tileWidth) - 1);
    for (let row = Math.max(0, Math.floor((y + edge) / tileHeight)); row <= lastRow; row++) {
      for (let column = Math.max(0, Math.floor((x + edge) / tileWidth)); column <= lastColumn; column++) {
        under.push(row * columns + column);
      }
    }
    return under;
  }

  /** Read when first asked for. */
  #tile(index: number): Tile {
    let tile = this.#tiles.get(index);
    if (!tile) {
      const { columns } = this.#source;
      const [column, row] = [index % columns, Math.floor(index / columns)];
      const content = this.#decode(column, row);
      content.catch(() => {});
      tile = { column, row, content };
      this.#tiles.set(index, tile);
    }
    return tile;
  }

  async #decode(column: number, row: number): Promise<TileContent> {
    const { level, reduce, tileWidth, tileHeight } = this.#source;
    this.#tilesHeld++;
    const memory = takeMemory(tileWidth * tileHeight * 3);
    try {
      const options = { signal: this.#signal, into: memory, reduce };
      const image = await this.#slide.readTileRgb(level, column, row, options);
      if (image)
        return { memory, x: column * tileWidth, y: row * tileHeight, width: image.width, height: image.height };
      this.#giveBack(memory);
      return 'empty';
    } catch (error) {
      // A thread that hung at it may still write: its memory is nobody else's.
      this.#tilesHeld--;
      if (error instanceof UserError && error.code === 'unreadable-tile') return 'bad';
      throw error;
    }
  }

  /** A patch less wants the tiles under it; the last one frees their memory for others. */
  #release(rectangle: Rectangle): void {
    this.#patchesBegun--;
    for (const index of this.#tilesUnder(rectangle)) {
      if (--this.#wanted[index]! > 0) continue;
      const tile = this.#tiles.get(index);
      this.#tiles.delete(index);
      void tile?.content.then(
        (content) => typeof content === 'object' && this.#giveBack(content.memory),
        () => {},
      );
    }
    this.#waiting.shift()?.();
  }

  #giveBack(memory: SharedArrayBuffer): void {
    this.#tilesHeld--;
    giveMemory(memory);
  }

  #isFull(): boolean {
    const { tileWidth, tileHeight } = this.#source;
    return this.#patchesBegun > 0 && this.#tilesHeld * tileWidth * tileHeight * 3 > tileBudgetBytes;
  }

  /** Waits, first come first served, until another patch may be begun; one at least is always under way. */
  async #room(): Promise<void> {
    while (this.#isFull()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#patchesBegun++;
  }

  /** Share of a rectangle that a tile covers. */
  #overlap(tile: Tile, rectangle: Rectangle): number {
    const { tileWidth, tileHeight, width, height } = this.#source;
    const left = Math.max(rectangle.x, tile.column * tileWidth);
    const top = Math.max(rectangle.y, tile.row * tileHeight);
    const right = Math.min(rectangle.x + rectangle.width, (tile.column + 1) * tileWidth, width);
    const bottom = Math.min(rectangle.y + rectangle.height, (tile.row + 1) * tileHeight, height);
    return (Math.max(0, right - left) * Math.max(0, bottom - top)) / (rectangle.width * rectangle.height);
  }
}

interface TilesUnder {
  readonly rectangle: Rectangle;
  readonly tiles: readonly PlacedTile[];
  readonly missing: number;
}

/** Rounding that is not taken for a sliver of the next tile, in pixels. */
const edge = 1e-3;
