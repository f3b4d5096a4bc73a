/** A slide out of grids of stored tiles: the half of every format that is the same for all. */
import { messageOf, UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { type DecodePool, type DecodeTask, PoolUnavailable, sharedDecodePool, shareOf } from './decode-pool.ts';
import type { BadTile, Raster, RgbImage, Scale, Slide, SlideLevel, TileOptions } from './slide.ts';
import { shiftRaster } from './subpixel.ts';
import type { TileGrid } from './tile-grid.ts';

export interface SlideContents {
  readonly format: string;
  readonly vendor: string | null;
  readonly scale: Scale;
  readonly objectivePower: number | null;
  readonly properties: Readonly<Record<string, string>>;
  /** Full resolution first. */
  readonly levels: readonly TileGrid[];
  readonly associated: ReadonlyMap<string, TileGrid>;
}

/** A region of more pixels is not read at once. */
const maxRegionPixels = 256 * 1024 * 1024;

/** Takes over `source` and closes it with the slide. */
export function createTiledSlide(
  source: ByteSource,
  contents: SlideContents,
  pool: DecodePool = sharedDecodePool(),
): Slide {
  const grids = contents.levels;
  const levels = grids.map((grid) => toLevel(grid, grids[0]!));
  const bad = new Map<string, BadTile>();

  function gridOf(level: number): TileGrid {
    const grid = grids[level];
    if (grid) return grid;
    throw new UserError(
      'outside-slide',
      `${source.name} has no level ${level}.`,
      `Ask for a level from 0 to ${grids.length - 1}.`,
    );
  }

  /** Null for an empty tile; a bad one is remembered and thrown. */
  async function tileOfLevel(level: number, column: number, row: number, options: TileOptions = {}) {
    const grid = gridOf(level);
    checkInside(source, grid, column, row);
    try {
      return await decodeGridTile(pool, grid, column, row, options);
    } catch (error) {
      if (options.signal?.aborted || error instanceof PoolUnavailable) throw error;
      const reason = messageOf(error);
      bad.set(`${level}/${column}/${row}`, { level, column, row, reason });
      throw unreadableTile(source, `tile ${column}, ${row} of level ${level}`, error);
    }
  }

  /** As `tileOfLevel`, null also for a bad tile: the slide has a hole there. */
  async function tileOrHole(
    level: number,
    column: number,
    row: number,
    signal?: AbortSignal,
  ): Promise<RgbImage | null> {
    try {
      return await tileOfLevel(level, column, row, { signal });
    } catch (error) {
      if (error instanceof UserError && error.code === 'unreadable-tile') return null;
      throw error;
    }
  }

  return {
    source: source.name,
    format: contents.format,
    vendor: contents.vendor,
    levels,
    scale: contents.scale,
    objectivePower: contents.objectivePower,
    properties: contents.properties,
    associated: [...contents.associated.keys()],
    get unreadable() {
      return [...bad.values()];
    },
    async readRegion(x, y, level, width, height, signal) {
      const grid = gridOf(level);
      const downsample = levels[level]!.downsample;
      checkRegion(source, x, y, width, height);
      const tile = (column: number, row: number) => tileOrHole(level, column, row, signal);
      const left = snap(x / downsample);
      const top = snap(y / downsample);
      if (Number.isInteger(left) && Number.isInteger(top)) return readRectangle(grid, left, top, width, height, tile);
      const larger = await readRectangle(grid, Math.floor(left), Math.floor(top), width + 1, height + 1, tile);
      return shiftRaster(larger, left - Math.floor(left), top - Math.floor(top));
    },
    async readTile(level, column, row, signal) {
      const tile = await tileOfLevel(level, column, row, { signal });
      if (tile === null) return null;
      const raster = createRaster(tile.width, tile.height);
      blit(tile, raster, 0, 0);
      return raster;
    },
    readTileRgb: tileOfLevel,
    async readStoredTile(level, column, row, signal) {
      const grid = gridOf(level);
      checkInside(source, grid, column, row);
      const { codec, reduce = 1 } = grid.encoding;
      if ((codec !== 'jpeg' && codec !== 'jpeg2000') || reduce > 1 || grid.overlap) return null;
      let bytes: Uint8Array | null;
      try {
        bytes = await grid.read(column, row, signal);
      } catch (error) {
        if (signal?.aborted) throw error;
        bad.set(`${level}/${column}/${row}`, { level, column, row, reason: messageOf(error) });
        throw unreadableTile(source, `tile ${column}, ${row} of level ${level}`, error);
      }
      return bytes && { bytes, mime: codec === 'jpeg' ? 'image/jpeg' : 'application/octet-stream' };
    },
    async readAssociated(name) {
      const grid = contents.associated.get(name);
      if (grid === undefined) {
        const names = [...contents.associated.keys()].join(', ') || 'none';
        throw new UserError('no-such-image', `${source.name} has no image "${name}".`, `It has: ${names}.`);
      }
      checkRegion(source, 0, 0, grid.width, grid.height);
      return readRectangle(grid, 0, 0, grid.width, grid.height, async (column, row) => {
        try {
          return await decodeGridTile(pool, grid, column, row, {});
        } catch (error) {
          if (error instanceof PoolUnavailable) throw error;
          throw unreadableTile(source, `its image "${name}"`, error);
        }
      });
    },
    close: () => source.close(),
  };
}

/** A whole number if the position is that but for rounding. */
function snap(position: number): number {
  return Math.abs(position - Math.round(position)) < 1 / 512 ? Math.round(position) : position;
}

function toLevel(grid: TileGrid, full: TileGrid): SlideLevel {
  const { width, height, tileWidth, tileHeight } = grid;
  return { width, height, tileWidth, tileHeight, downsample: (full.width / width + full.height / height) / 2 };
}

async function decodeGridTile(
  pool: DecodePool,
  grid: TileGrid,
  column: number,
  row: number,
  { signal, into, reduce = 1, urgency }: TileOptions,
): Promise<RgbImage | null> {
  const width = Math.min(grid.tileWidth, grid.width - column * grid.tileWidth);
  const height = Math.min(grid.tileHeight, grid.height - row * grid.tileHeight);
  let empty = false;
  const prepare = async (): Promise<DecodeTask | null> => {
    const bytes = await grid.read(column, row, signal);
    empty = bytes === null;
    const { encoding, overlap = 0 } = grid;
    const left = column > 0 ? overlap : 0;
    const top = row > 0 ? overlap : 0;
    const window = { width, height, left, top, reduce };
    return bytes && { kind: 'decode', bytes, encoding, window, into: into ?? null };
  };
  const data = await pool.run(prepare, signal, shareOf(width * height), urgency);
  if (empty) return null;
  const [columns, rows] = [Math.ceil(width / reduce), Math.ceil(height / reduce)];
  return { width: columns, height: rows, data: new Uint8Array(data ?? into!, 0, columns * rows * 3) };
}

function unreadableTile(source: ByteSource, what: string, cause: unknown): UserError {
  return new UserError(
    'unreadable-tile',
    `${source.name}: ${what} cannot be read: ${messageOf(cause)}.`,
    'Copy the slide again if it was cut short; otherwise that part of it is lost.',
    { cause },
  );
}

function checkInside(source: ByteSource, grid: TileGrid, column: number, row: number): void {
  const columns = Math.ceil(grid.width / grid.tileWidth);
  const rows = Math.ceil(grid.height / grid.tileHeight);
  if (
    !(Number.isInteger(column) && Number.isInteger(row) && column >= 0 && row >= 0 && column < columns && row < rows)
  ) {
    throw new UserError(
      'outside-slide',
      `${source.name} has no tile ${column}, ${row}.`,
      `Ask for columns 0 to ${columns - 1} and rows 0 to ${rows - 1}.`,
    );
  }
}

function checkRegion(source: ByteSource, x: number, y: number, width: number, height: number): void {
  const whole = [width, height].every((size) => Number.isInteger(size) && size > 0);
  if (!whole || !Number.isFinite(x) || !Number.isFinite(y) || width * height > maxRegionPixels) {
    throw new UserError(
      'bad-region',
      `A region of ${width} x ${height} pixels at ${x}, ${y} cannot be read from ${source.name}.`,
      `Ask for at least 1 and at most ${maxRegionPixels} pixels.`,
    );
  }
}

function createRaster(width: number, height: number): Raster {
  return { width, height, data: new Uint8Array(width * height * 4) };
}

/** Pixels [left, left + width) x [top, top + height) of one grid, transparent where it has none. */
async function readRectangle(
  grid: TileGrid,
  left: number,
  top: number,
  width: number,
  height: number,
  tile: (column: number, row: number) => Promise<RgbImage | null>,
): Promise<Raster> {
  const raster = createRaster(width, height);
  const { tileWidth, tileHeight } = grid;
  const firstColumn = Math.max(0, Math.floor(left / tileWidth));
  const firstRow = Math.max(0, Math.floor(top / tileHeight));
  const right = Math.min(left + width, grid.width);
  const bottom = Math.min(top + height, grid.height);
  const pending: Promise<void>[] = [];
  for (let row = firstRow; row * tileHeight < bottom; row++) {
    for (let column = firstColumn; column * tileWidth < right; column++) {
      const place = async () => {
        const image = await tile(column, row);
        if (image) blit(image, raster, column * tileWidth - left, row * tileHeight - top);
      };
      pending.push(place());
    }
  }
  await Promise.all(pending);
  return raster;
}

/** Copies an opaque image into a raster, its corner at x, y; what falls outside is cut. */
function blit(image: RgbImage, raster: Raster, x: number, y: number): void {
  const from = image.data;
  const to = raster.data;
  const firstColumn = Math.max(0, -x);
  const lastColumn = Math.min(image.width, raster.width - x);
  for (let row = Math.max(0, -y); row < Math.min(image.height, raster.height - y); row++) {
    let at = (row * image.width + firstColumn) * 3;
    let into = ((row + y) * raster.width + firstColumn + x) * 4;
    for (let column = firstColumn; column < lastColumn; column++, at += 3, into += 4) {
      to[into] = from[at]!;
      to[into + 1] = from[at + 1]!;
      to[into + 2] = from[at + 2]!;
      to[into + 3] = 255;
    }
  }
}
