/**
 * A slide's picture as the files of Deep Zoom: `LEVEL/COLUMN_ROW.jpeg`, level 0 a single pixel.
 *
 * Tiles that the slide stores as JPEG at these places pass through undecoded. Levels that it lacks are made branch by branch,
 * a tile right after the four above it, so that memory holds one branch whatever the size of the slide.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cannotWrite, UserError } from '../errors.ts';
import type { SlideFacts, ViewLevel } from './api.ts';
import { hasTile, type PictureTiles, rasterJpeg, sizeOfTiles } from './picture.ts';

export interface WrittenTiles {
  readonly tiles: number;
  readonly bytes: number;
  /** Level-0 rectangles of tiles that could not be read; their files are blank. */
  readonly holes: SlideFacts['holes'];
}

/** A slide of which so many tiles cannot be read is none that one shows. */
const MOST_HOLES = 1000;
/** Tiles that are made at the same time. */
const AT_ONCE = 16;

/** The `.dzi` of a picture whose finest level is this one. */
export function deepZoomDescriptor({ width, height, tileWidth }: ViewLevel): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" Overlap="0" TileSize="${tileWidth}"><Size Width="${width}" Height="${height}"/></Image>
`;
}

export function tileCount(levels: readonly ViewLevel[]): number {
  return levels.reduce((sum, level) => sum + columnsOf(level) * rowsOf(level), 0);
}

/**
 * Writes the levels of `pyramid` (halves of halves, `halvingLevels`) from `finest` on into `folder`.
 * @throws UserError `cannot-write`, `disk-full`, `unreadable-slide`
 */
export async function writeTiles(
  pyramid: PictureTiles,
  finest: number,
  folder: string,
  signal: AbortSignal,
  onTile: (bytes: number) => void,
): Promise<WrittenTiles> {
  const { levels } = pyramid;
  const holes: { x: number; y: number; width: number; height: number }[] = [];
  let [tiles, bytes] = [0, 0];
  const folderOf = (level: number) => join(folder, `${levels.length - 1 - level}`);
  for (let level = finest; level < levels.length; level++) await mkdir(folderOf(level), { recursive: true });

  async function write(level: number, column: number, row: number): Promise<void> {
    const tile = await pyramid.read(level, column, row).catch((error) => {
      holes.push(levelZeroRectangle(levels, level, column, row));
      if (holes.length > MOST_HOLES) throw tooManyHoles(error);
      const { width, height } = sizeOfTiles(levels[level]!, column, row, 1);
      return rasterJpeg({ width, height, data: new Uint8Array(4 * width * height) });
    });
    const path = join(folderOf(level), `${column}_${row}.jpeg`);
    await writeFile(path, tile!).catch((error) => {
      throw cannotWrite(path, error);
    });
    tiles++;
    bytes += tile!.length;
    onTile(tile!.length);
  }

  /** A tile and, before it, all tiles that it is made from, down to the level `base`. */
  async function branch(level: number, column: number, row: number, base: number): Promise<void> {
    signal.throwIfAborted();
    if (level > base) {
      const quarters = [0, 1, 2, 3]
        .map((i) => [2 * column + (i & 1), 2 * row + (i >> 1)] as const)
        .filter((place) => hasTile(levels[level - 1]!, ...place));
      const work = quarters.map((place) => () => branch(level - 1, ...place, base));
      await inRounds(work, 4 ** (level - base) <= AT_ONCE ? 4 : 1);
    }
    if (level >= finest) await write(level, column, row);
  }

  for (const [base, top] of chains(pyramid)) {
    if (top < finest) continue;
    const place = levels[top]!;
    const atOnce = Math.max(1, AT_ONCE / 4 ** (top - base));
    for (let row = 0; row < rowsOf(place); row++) {
      const roots = Array.from({ length: columnsOf(place) }, (_, column) => () => branch(top, column, row, base));
      await inRounds(roots, atOnce);
    }
  }
  return { tiles, bytes, holes };
}

/** A level that is not made from the one above it, and the last one of those that are made from it in turn. */
function chains({ levels }: PictureTiles): [base: number, top: number][] {
  const bases = levels.flatMap(({ tiles }, level) => (tiles === 'halved' ? [] : [level]));
  return bases.map((base, i) => [base, (bases[i + 1] ?? levels.length) - 1]);
}

/** So many at once. When one fails the others of its round still end: nothing writes on after the folder is gone. */
async function inRounds(work: readonly (() => Promise<void>)[], atOnce: number): Promise<void> {
  for (let first = 0; first < work.length; first += atOnce) {
    const round = await Promise.allSettled(work.slice(first, first + atOnce).map((one) => one()));
    const failed = round.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
  }
}

const columnsOf = ({ width, tileWidth }: ViewLevel) => Math.ceil(width / tileWidth);
const rowsOf = ({ height, tileHeight }: ViewLevel) => Math.ceil(height / tileHeight);

function levelZeroRectangle(levels: readonly ViewLevel[], level: number, column: number, row: number) {
  const { scaleX, scaleY, tileWidth, tileHeight } = levels[level]!;
  const [x, y] = [column * tileWidth * scaleX, row * tileHeight * scaleY];
  const [full] = levels;
  return {
    x,
    y,
    width: Math.min(tileWidth * scaleX, full!.width - x),
    height: Math.min(tileHeight * scaleY, full!.height - y),
  };
}

function tooManyHoles(cause: unknown): UserError {
  const problem = `More than ${MOST_HOLES} tiles of the slide cannot be read (${(cause as Error).message}).`;
  return new UserError('unreadable-slide', problem, 'Check the file and its drive, then export again.', { cause });
}
