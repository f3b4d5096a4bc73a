/**
 * Writes a picture as a tiled, pyramidal TIFF the way a slide scanner does: classic TIFF, JPEG tiles of 256 px (YCbCr, 4:2:0,
 * each a whole JPEG stream), halved levels as further directories. Rows come in from top to bottom; only one row of tiles a
 * level is held. TIFF 6.0 and TIFF Technical Note 2 (JPEG in TIFF).
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import sharp from 'sharp';
import type { Mpp } from '../../src/units.ts';

export const TILE = 256;

export interface PyramidOptions {
  readonly width: number;
  readonly height: number;
  readonly mpp: Mpp;
  readonly description: string;
  /** JPEG quality, 1 to 100. */
  readonly quality: number;
}

export interface PyramidWriter {
  /** The next rows, RGB, width x n x 3: a multiple of 256 rows, except at the end. Takes a copy before it returns. */
  append(rgb: Uint8Array): Promise<void>;
  finish(): Promise<void>;
  /** Gives up and leaves nothing behind. Harmless after `finish`. */
  abort(): Promise<void>;
}

interface Level {
  readonly width: number;
  readonly height: number;
  /** One row of tiles, RGB. */
  readonly rows: Uint8Array;
  /** Rows held. */
  held: number;
  readonly offsets: number[];
  readonly byteCounts: number[];
}

/** A level no longer than this needs no smaller one. */
const SMALLEST = 512;

export async function createPyramid(path: string, options: PyramidOptions): Promise<PyramidWriter> {
  const temporary = `${path}.partial`;
  const file = await open(temporary, 'w');
  const levels = createLevels(options.width, options.height);
  let position = await put(file, Buffer.from([0x49, 0x49, 42, 0, 0, 0, 0, 0]), 0);
  let writing: Promise<void> = Promise.resolve();
  let closed = false;

  /** Encodes the tiles while the caller paints on; they reach the file in order. */
  function writeTiles(level: Level): void {
    const tiles = Promise.all(cutTiles(level).map((tile) => encode(tile, options.quality)));
    const earlier = writing;
    writing = (async () => {
      await earlier;
      for (const tile of await tiles) {
        if (position + tile.length > 0xffffffff) throw new RangeError('a classic TIFF ends at 4 GiB');
        level.offsets.push(position);
        level.byteCounts.push(tile.length);
        position = await put(file, tile, position);
      }
    })();
    writing.catch(() => {});
  }

  function flush(index: number): void {
    const level = levels[index]!;
    if (level.held === 0) return;
    writeTiles(level);
    const next = levels[index + 1];
    if (next) {
      halve(level, next);
      if (next.held === TILE) flush(index + 1);
    }
    level.held = 0;
  }

  async function abort(): Promise<void> {
    if (closed) return;
    closed = true;
    await writing.catch(() => {});
    await file.close();
    await rm(temporary, { force: true });
  }

  return {
    async append(rgb) {
      const base = levels[0]!;
      await writing;
      for (let start = 0; start < rgb.length; start += base.rows.length) {
        const rows = rgb.subarray(start, start + base.rows.length);
        base.rows.set(rows);
        base.held = rows.length / (base.width * 3);
        flush(0);
      }
    },
    async finish() {
      levels.forEach((_, index) => {
        flush(index);
      });
      await writing;
      position += position % 2;
      const start = Buffer.alloc(4);
      start.writeUInt32LE(position);
      await put(file, directories(levels, options, position), position);
      await put(file, start, 4);
      closed = true;
      await file.close();
      await rename(temporary, path);
    },
    abort,
  };
}

function createLevels(width: number, height: number): Level[] {
  const levels: Level[] = [];
  for (let w = width, h = height; ; w >>= 1, h >>= 1) {
    levels.push({ width: w, height: h, rows: new Uint8Array(w * TILE * 3), held: 0, offsets: [], byteCounts: [] });
    if (Math.max(w, h) <= SMALLEST || Math.min(w, h) < 2) return levels;
  }
}

async function put(file: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
  return position + bytes.length;
}

/** Tiles of the held rows, left to right; those over the edge repeat its last pixels, which costs a JPEG least. */
function cutTiles({ width, rows, held }: Level): Uint8Array[] {
  return Array.from({ length: Math.ceil(width / TILE) }, (_, column) => {
    const tile = new Uint8Array(TILE * TILE * 3);
    const x = column * TILE;
    const inside = Math.min(TILE, width - x);
    for (let y = 0; y < TILE; y++) {
      const source = (Math.min(y, held - 1) * width + x) * 3;
      const target = y * TILE * 3;
      tile.set(rows.subarray(source, source + inside * 3), target);
      for (let i = target + inside * 3; i < target + TILE * 3; i++) tile[i] = tile[i - 3]!;
    }
    return tile;
  });
}

function encode(rgb: Uint8Array, quality: number): Promise<Buffer> {
  return sharp(rgb, { raw: { width: TILE, height: TILE, channels: 3 } })
    .jpeg({ quality, chromaSubsampling: '4:2:0' })
    .toBuffer();
}

/** Appends the mean of every 2 x 2 pixels to the next level. */
function halve(from: Level, to: Level): void {
  const rows = from.held >> 1;
  const stride = from.width * 3;
  let target = to.held * to.width * 3;
  for (let row = 0; row < rows; row++) {
    let source = 2 * row * stride;
    for (let x = 0; x < to.width; x++, source += 6) {
      for (let c = source; c < source + 3; c++) {
        to.rows[target++] =
          (from.rows[c]! + from.rows[c + 3]! + from.rows[c + stride]! + from.rows[c + stride + 3]! + 2) >> 2;
      }
    }
  }
  to.held += rows;
}

type Field = { tag: number; type: 'ascii' | 'short' | 'long' | 'rational'; values: number[] };

/** The image file directories of all levels, one after another, as they lie at `start`. */
function directories(levels: Level[], options: PyramidOptions, start: number): Buffer {
  const parts: Buffer[] = [];
  let position = start;
  levels.forEach((level, index) => {
    const part = directory(fields(level, index, levels[0]!, options), position, index === levels.length - 1);
    parts.push(part);
    position += part.length;
  });
  return Buffer.concat(parts);
}

function fields(level: Level, index: number, base: Level, { mpp, description }: PyramidOptions): Field[] {
  const pixelsPerCm = Math.round((10_000 / mpp) * (level.width / base.width) * 1000);
  const text = [...Buffer.from(`${description}\0`, 'latin1')];
  return [
    { tag: 254, type: 'long', values: [index === 0 ? 0 : 1] }, // NewSubfileType: 1 is a reduced resolution
    { tag: 256, type: 'long', values: [level.width] },
    { tag: 257, type: 'long', values: [level.height] },
    { tag: 258, type: 'short', values: [8, 8, 8] }, // BitsPerSample
    { tag: 259, type: 'short', values: [7] }, // Compression: JPEG
    { tag: 262, type: 'short', values: [6] }, // PhotometricInterpretation: YCbCr
    { tag: 270, type: 'ascii', values: text }, // ImageDescription
    { tag: 277, type: 'short', values: [3] }, // SamplesPerPixel
    { tag: 282, type: 'rational', values: [pixelsPerCm, 1000] }, // XResolution
    { tag: 283, type: 'rational', values: [pixelsPerCm, 1000] }, // YResolution
    { tag: 284, type: 'short', values: [1] }, // PlanarConfiguration: interleaved
    { tag: 296, type: 'short', values: [3] }, // ResolutionUnit: centimetre
    { tag: 322, type: 'long', values: [TILE] }, // TileWidth
    { tag: 323, type: 'long', values: [TILE] }, // TileLength
    { tag: 324, type: 'long', values: level.offsets },
    { tag: 325, type: 'long', values: level.byteCounts },
    { tag: 530, type: 'short', values: [2, 2] }, // YCbCrSubSampling
    { tag: 532, type: 'rational', values: [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1] }, // ReferenceBlackWhite
  ];
}

const TYPES = {
  ascii: { id: 2, bytes: 1 },
  short: { id: 3, bytes: 2 },
  long: { id: 4, bytes: 4 },
  rational: { id: 5, bytes: 4 },
};

/** One directory with the values that do not fit its entries behind it; of even length. */
function directory(entries: Field[], position: number, last: boolean): Buffer {
  const head = Buffer.alloc(2 + entries.length * 12 + 4);
  const tail: Buffer[] = [];
  let free = position + head.length;
  head.writeUInt16LE(entries.length, 0);
  entries.forEach(({ tag, type, values }, i) => {
    const { id, bytes } = TYPES[type];
    const data = Buffer.alloc(Math.max(4, values.length * bytes + ((values.length * bytes) % 2)));
    values.forEach((value, j) => {
      data.writeUIntLE(value, j * bytes, bytes);
    });
    const at = 2 + i * 12;
    head.writeUInt16LE(tag, at);
    head.writeUInt16LE(id, at + 2);
    head.writeUInt32LE(type === 'rational' ? values.length / 2 : values.length, at + 4);
    if (values.length * bytes <= 4) {
      data.copy(head, at + 8);
    } else {
      head.writeUInt32LE(free, at + 8);
      tail.push(data);
      free += data.length;
    }
  });
  head.writeUInt32LE(last ? 0 : free, head.length - 4);
  return Buffer.concat([head, ...tail]);
}
