/** Layouts that libvips does not write, put together by hand after TIFF 6.0 and the BigTIFF proposal. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { temporaryFolder } from './pictures.ts';

const folder = await temporaryFolder();

/** [tag, values]; every value is written as LONG (LONG8 in BigTIFF), text as ASCII. */
type Entry = [number, number[] | string];

interface Layout {
  readonly bigEndian: boolean;
  readonly bigTiff: boolean;
}

/** One page: the directory and its values at `at`, which lies behind all that they point to. */
function directory(entries: Entry[], at: number, { bigEndian, bigTiff }: Layout): Buffer {
  const size = bigTiff ? 8 : 4;
  const parts: Buffer[] = [];
  const number = (value: number, bytes: number) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64BE(BigInt(value));
    const big = buffer.subarray(8 - bytes);
    return bigEndian ? big : Buffer.from(big.toReversed());
  };
  let outside = at + (bigTiff ? 8 : 2) + entries.length * (bigTiff ? 20 : 12) + size;
  const values: Buffer[] = [];
  parts.push(number(entries.length, bigTiff ? 8 : 2));
  for (const [tag, value] of entries) {
    const data =
      typeof value === 'string' ? Buffer.from(`${value}\0`) : Buffer.concat(value.map((v) => number(v, size)));
    const count = typeof value === 'string' ? data.length : value.length;
    parts.push(number(tag, 2), number(typeof value === 'string' ? 2 : bigTiff ? 16 : 4, 2), number(count, size));
    if (data.length <= size) parts.push(data, Buffer.alloc(size - data.length));
    else {
      parts.push(number(outside, size));
      values.push(data);
      outside += data.length;
    }
  }
  parts.push(number(0, size), ...values);
  return Buffer.concat(parts);
}

function header(at: number, { bigEndian, bigTiff }: Layout): Buffer {
  const buffer = Buffer.alloc(bigTiff ? 16 : 8);
  buffer.write(bigEndian ? 'MM' : 'II');
  const u16 = (value: number, offset: number) =>
    bigEndian ? buffer.writeUInt16BE(value, offset) : buffer.writeUInt16LE(value, offset);
  u16(bigTiff ? 43 : 42, 2);
  if (bigTiff) u16(8, 4);
  if (bigTiff && bigEndian) buffer.writeBigUInt64BE(BigInt(at), 8);
  else if (bigTiff) buffer.writeBigUInt64LE(BigInt(at), 8);
  else if (bigEndian) buffer.writeUInt32BE(at, 4);
  else buffer.writeUInt32LE(at, 4);
  return buffer;
}

const width = 7;
const rows = 500;

/** Grey, one strip per row, row r filled with r mod 251; the strips lie from `start` on. */
async function writeStrips(name: string, layout: Layout, start: number): Promise<string> {
  const path = join(folder, name);
  const offsets = Array.from({ length: rows }, (_, row) => start + row * width);
  const at = start + rows * width + 1;
  const entries: Entry[] = [
    [256, [width]],
    [257, [rows]],
    [258, [8]],
    [259, [1]],
    [262, [1]],
    [270, 'written by hand'],
    [273, offsets],
    [277, [1]],
    [278, [1]],
    [279, offsets.map(() => width)],
  ];
  const file = await open(path, 'w');
  await file.write(header(at, layout), 0, undefined, 0);
  await file.write(
    Buffer.from(Array.from({ length: rows * width }, (_, i) => Math.floor(i / width) % 251)),
    0,
    undefined,
    start,
  );
  await file.write(directory(entries, at, layout), 0, undefined, at);
  await file.close();
  return path;
}

describe('a TIFF file put together by hand', () => {
  it.each([
    ['little-endian', { bigEndian: false, bigTiff: false }, 100],
    ['big-endian', { bigEndian: true, bigTiff: false }, 100],
    ['BigTIFF', { bigEndian: false, bigTiff: true }, 100],
    ['big-endian BigTIFF', { bigEndian: true, bigTiff: true }, 100],
    ['with offsets over 4 GB (a file mostly of holes)', { bigEndian: false, bigTiff: true }, 5_000_000_000],
  ] as const)('%s: 500 strips', async (name, layout, start) => {
    const path = await writeStrips(`${name.slice(0, 10)}.tif`, layout, start);
    const slide = await openSlide(path);
    expect(slide.levels).toMatchObject([{ width, height: rows, tileHeight: 1 }]);
    expect(slide.properties.description).toBe('written by hand');
    const { data } = await slide.readRegion(0, 0, 0, width, rows);
    expect(data.every((value, i) => value === (i % 4 === 3 ? 255 : Math.floor(i / 4 / width) % 251))).toBe(true);
    await slide.close();
  });

  it('whose pages run in a circle is refused', async () => {
    const path = await writeStrips('circle.tif', { bigEndian: false, bigTiff: false }, 100);
    const at = 100 + rows * width + 1;
    const next = Buffer.alloc(4);
    next.writeUInt32LE(at);
    const file = await open(path, 'r+');
    await file.write(next, 0, 4, at + 2 + 10 * 12);
    await file.close();
    await expect(openSlide(path)).rejects.toMatchObject({
      code: 'damaged-slide',
      problem: expect.stringContaining('circle'),
    });
  });
});
