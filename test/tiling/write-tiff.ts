/** Tiled TIFF files put together by hand after TIFF 6.0, with descriptions and SubIFDs as scanners write them. */
import { writeFile } from 'node:fs/promises';
import type { RgbImage } from '../../src/tiling/slide.ts';

export interface HandPage {
  readonly image: RgbImage;
  /** Side of its tiles, a multiple of 16. */
  readonly tile: number;
  readonly description?: string;
  readonly software?: string;
  /** Tag 700. */
  readonly xmp?: string;
  /** What the page says about its size, if not the truth. */
  readonly says?: { readonly width: number; readonly height: number };
  /** Index of a tile that is left out. */
  readonly empty?: number;
  /** One plane per colour. */
  readonly planar?: boolean;
  /** What the page says of its samples; 8 if nothing. */
  readonly bits?: number;
  /** Each tile as a zstd frame (RFC 8878) of one block that is not compressed. */
  readonly zstd?: boolean;
  readonly subPages?: readonly HandPage[];
}

type Value = readonly number[] | string;

/** Classic, little-endian, uncompressed. */
export async function writeHandTiff(path: string, pages: readonly HandPage[]): Promise<void> {
  const file = new Growing();
  file.add(Buffer.from([0x49, 0x49, 42, 0, 0, 0, 0, 0]));
  let link = 4;
  for (const page of pages) {
    const at = addPage(file, page);
    file.patch(link, at.directory);
    link = at.next;
  }
  await writeFile(path, file.bytes());
}

class Growing {
  readonly #parts: Buffer[] = [];
  readonly #patches: [number, number][] = [];
  length = 0;

  /** Where it lies. */
  add(part: Buffer): number {
    const at = this.length;
    const padded = part.length % 2 ? Buffer.concat([part, Buffer.alloc(1)]) : part;
    this.#parts.push(padded);
    this.length += padded.length;
    return at;
  }

  patch(at: number, value: number): void {
    this.#patches.push([at, value]);
  }

  bytes(): Buffer {
    const whole = Buffer.concat(this.#parts);
    for (const [at, value] of this.#patches) whole.writeUInt32LE(value, at);
    return whole;
  }
}

function addPage(file: Growing, page: HandPage): { directory: number; next: number } {
  const { image, tile, planar = false } = page;
  const { width, height } = page.says ?? image;
  const columns = Math.ceil(width / tile);
  const rows = Math.ceil(height / tile);
  const subOffsets = (page.subPages ?? []).map((sub) => addPage(file, sub).directory);
  const tiles = Array.from({ length: columns * rows * (planar ? 3 : 1) }, (_, index) => {
    const plane = Math.floor(index / (columns * rows));
    const place = index % (columns * rows);
    return place === page.empty
      ? Buffer.alloc(0)
      : tileOf(image, tile, place % columns, Math.floor(place / columns), planar ? plane : null);
  });
  const stored = page.zstd ? tiles.map(zstdFrame) : tiles;
  const offsets = stored.map((bytes) => (bytes.length ? file.add(bytes) : 0));
  const entries: [number, Value][] = [
    [254, [subOffsets.length || page.subPages ? 0 : 1]],
    [256, [width]],
    [257, [height]],
    [258, [page.bits ?? 8, page.bits ?? 8, page.bits ?? 8]],
    [259, [page.zstd ? 50000 : 1]],
    [262, [2]],
    ...(page.description === undefined ? [] : ([[270, page.description]] as [number, Value][])),
    [277, [3]],
    [284, [planar ? 2 : 1]],
    ...(page.software === undefined ? [] : ([[305, page.software]] as [number, Value][])),
    [322, [tile]],
    [323, [tile]],
    [324, offsets],
    [325, stored.map(({ length }) => length)],
    ...(subOffsets.length ? ([[330, subOffsets]] as [number, Value][]) : []),
    ...(page.xmp === undefined ? [] : ([[700, page.xmp]] as [number, Value][])),
  ];
  const directory = Buffer.alloc(2 + entries.length * 12 + 4);
  directory.writeUInt16LE(entries.length, 0);
  entries.forEach(([tag, value], i) => {
    const at = 2 + i * 12;
    const data = typeof value === 'string' ? Buffer.from(`${value}\0`) : Buffer.concat(value.map(u32));
    directory.writeUInt16LE(tag, at);
    directory.writeUInt16LE(typeof value === 'string' ? (tag === 700 ? 1 : 2) : 4, at + 2);
    directory.writeUInt32LE(typeof value === 'string' ? data.length : value.length, at + 4);
    if (data.length <= 4) data.copy(directory, at + 8);
    else directory.writeUInt32LE(file.add(data), at + 8);
  });
  const at = file.add(directory);
  return { directory: at, next: at + 2 + entries.length * 12 };
}

function tileOf(
  { width, height, data }: RgbImage,
  side: number,
  column: number,
  row: number,
  plane: number | null,
): Buffer {
  const colours = plane === null ? [0, 1, 2] : [plane];
  const bytes = Buffer.alloc(side * side * colours.length, 255);
  for (let i = 0; i < side * side; i++) {
    const x = column * side + (i % side);
    const y = row * side + Math.floor(i / side);
    if (x < width && y < height)
      for (const [k, c] of colours.entries()) bytes[i * colours.length + k] = data[(y * width + x) * 3 + c]!;
  }
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function zstdFrame(bytes: Buffer): Buffer {
  const block = u32(1 | (bytes.length << 3)).subarray(0, 3);
  return Buffer.concat([Buffer.from('28b52ffda0', 'hex'), u32(bytes.length), block, bytes]);
}
