/** Writes slides of any size for measurements: one picture's JPEG tiles over and over, as a BigTIFF that OpenSlide opens too. */
import { type FileHandle, open } from 'node:fs/promises';
import type { RgbImage } from '../tiling/slide.ts';
import { encodeJpeg } from '../tiling/thumbnail.ts';

export interface BigSlideOptions {
  readonly width: number;
  readonly height: number;
  /** Levels by their downsample: 1, 4, ... */
  readonly downsamples: readonly number[];
  /** Every tile with bytes of its own, or all copies of a tile with the same ones: a slide of any size in a small file. */
  readonly copies: boolean;
  readonly mpp: number;
}

export const tileSide = 256;

/** The picture's sides are multiples of 256 x the largest downsample; every level has more than one tile. */
export async function writeBigSlide(path: string, picture: RgbImage, options: BigSlideOptions): Promise<void> {
  const file = await open(path, 'w');
  try {
    let end = await append(file, header(0), 0);
    let link = 8;
    for (const downsample of options.downsamples) {
      const reduced = downsample === 1 ? picture : reduce(picture, downsample);
      const tiles = await encodeTiles(reduced);
      const across = reduced.width / tileSide;
      const width = Math.ceil(options.width / downsample);
      const height = Math.ceil(options.height / downsample);
      const [columns, rows] = [Math.ceil(width / tileSide), Math.ceil(height / tileSide)];
      const offsets = new BigUint64Array(columns * rows);
      const lengths = new BigUint64Array(columns * rows);
      const places = new Map<number, number>();
      for (let index = 0; index < offsets.length; index++) {
        const [column, row] = [index % columns, Math.floor(index / columns)];
        const which = (row % (reduced.height / tileSide)) * across + (column % across);
        const tile = tiles[which]!;
        if (options.copies || !places.has(which)) {
          places.set(which, end);
          end = await append(file, tile, end);
        }
        offsets[index] = BigInt(places.get(which)!);
        lengths[index] = BigInt(tile.length);
      }
      end += (8 - (end % 8)) % 8;
      const offsetsAt = end;
      end = await append(file, bytesOf(offsets), end);
      const lengthsAt = end;
      end = await append(file, bytesOf(lengths), end);
      const directory = directoryOf({ width, height, tiles: offsets.length, offsetsAt, lengthsAt, mpp: options.mpp });
      await append(file, bytesOf(BigUint64Array.of(BigInt(end))), link);
      link = end + directory.length - 8;
      end = await append(file, directory, end);
    }
  } finally {
    await file.close();
  }
}

async function append(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  await file.write(bytes, 0, bytes.length, at);
  return at + bytes.length;
}

function bytesOf(values: BigUint64Array): Uint8Array {
  return new Uint8Array(values.buffer);
}

function header(first: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.write('II');
  bytes.writeUInt16LE(43, 2);
  bytes.writeUInt16LE(8, 4);
  bytes.writeBigUInt64LE(BigInt(first), 8);
  return bytes;
}

interface Directory {
  readonly width: number;
  readonly height: number;
  readonly tiles: number;
  readonly offsetsAt: number;
  readonly lengthsAt: number;
  readonly mpp: number;
}

/** Entries, and the place of the next directory (0). */
function directoryOf({ width, height, tiles, offsetsAt, lengthsAt, mpp }: Directory): Uint8Array {
  const [short, long, rational, long8] = [3, 4, 5, 16];
  const full = Math.round((10_000 / mpp) * 1000);
  const entries: [tag: number, type: number, count: number, value: bigint][] = [
    [256, long, 1, BigInt(width)],
    [257, long, 1, BigInt(height)],
    [258, short, 3, 0x0008_0008_0008n],
    [259, short, 1, 7n],
    [262, short, 1, 6n],
    [277, short, 1, 3n],
    [282, rational, 1, BigInt(full) | (1000n << 32n)],
    [283, rational, 1, BigInt(full) | (1000n << 32n)],
    [284, short, 1, 1n],
    [296, short, 1, 3n],
    [322, short, 1, BigInt(tileSide)],
    [323, short, 1, BigInt(tileSide)],
    [324, long8, tiles, BigInt(offsetsAt)],
    [325, long8, tiles, BigInt(lengthsAt)],
    [530, short, 2, 0x0002_0002n],
  ];
  const bytes = Buffer.alloc(8 + entries.length * 20 + 8);
  bytes.writeBigUInt64LE(BigInt(entries.length), 0);
  entries.forEach(([tag, type, count, value], i) => {
    const to = 8 + i * 20;
    bytes.writeUInt16LE(tag, to);
    bytes.writeUInt16LE(type, to + 2);
    bytes.writeBigUInt64LE(BigInt(count), to + 4);
    bytes.writeBigUInt64LE(value, to + 12);
  });
  return bytes;
}

function encodeTiles(picture: RgbImage): Promise<Buffer[]> {
  const across = picture.width / tileSide;
  return Promise.all(
    Array.from({ length: across * (picture.height / tileSide) }, (_, i) => {
      const data = new Uint8Array(tileSide * tileSide * 3);
      for (let row = 0; row < tileSide; row++) {
        const at = (Math.floor(i / across) * tileSide + row) * picture.width * 3 + (i % across) * tileSide * 3;
        data.set(picture.data.subarray(at, at + tileSide * 3), row * tileSide * 3);
      }
      return encodeJpeg({ width: tileSide, height: tileSide, data }, 80);
    }),
  );
}

/** Means of squares, plainly. */
function reduce({ width, height, data }: RgbImage, by: number): RgbImage {
  const small = { width: width / by, height: height / by, data: new Uint8Array((width / by) * (height / by) * 3) };
  for (let y = 0; y < small.height; y++) {
    for (let i = 0; i < small.width * 3; i++) {
      const [x, c] = [Math.floor(i / 3), i % 3];
      let sum = 0;
      for (let row = y * by; row < (y + 1) * by; row++) {
        for (let column = x * by; column < (x + 1) * by; column++) sum += data[(row * width + column) * 3 + c]!;
      }
      small.data[y * small.width * 3 + i] = Math.round(sum / by / by);
    }
  }
  return small;
}
