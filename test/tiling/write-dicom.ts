/** A DICOM slide of one level, written by hand: shares nothing with the reader but the standard. */
import sharp, { type Sharp } from 'sharp';
import type { RgbImage } from '../../src/tiling/slide.ts';

export interface DicomOptions {
  readonly planar?: boolean;
  readonly sparse?: boolean;
  /** Frame to leave out, of TILED_SPARSE. */
  readonly skip?: number;
  readonly undefinedLengths?: boolean;
  /** What the JPEG streams hold; without it pixels are not compressed. */
  readonly jpeg?: 'ycbcr' | 'rgb';
  readonly table?: boolean;
  readonly extended?: boolean;
  readonly fragments?: number;
  readonly mpp?: number;
  readonly flavour?: string;
  readonly series?: string;
  readonly bits?: number;
  readonly syntax?: string;
  readonly sopClass?: string;
}

const long = new Set(['OB', 'OW', 'OV', 'SQ', 'UN', 'UT']);

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function element(tag: number, vr: string, value: Buffer, length = value.length): Buffer {
  const head = Buffer.alloc(long.has(vr) ? 12 : 8);
  head.writeUInt16LE(Math.floor(tag / 65536), 0);
  head.writeUInt16LE(tag % 65536, 2);
  head.write(vr, 4, 'latin1');
  if (long.has(vr)) head.writeUInt32LE(length, 8);
  else head.writeUInt16LE(length, 6);
  return Buffer.concat([head, value]);
}

const text = (tag: number, vr: string, value: string) =>
  element(tag, vr, Buffer.from(value.length % 2 ? `${value}${vr === 'UI' ? '\0' : ' '}` : value));
const us = (tag: number, value: number) => element(tag, 'US', u32(value).subarray(0, 2));
const ul = (tag: number, value: number) => element(tag, 'UL', u32(value));
const item = (value: Buffer, length = value.length) =>
  Buffer.concat([Buffer.from('feff00e0', 'hex'), u32(length), value]);
const itemEnd = Buffer.from('feff0de000000000', 'hex');
const sequenceEnd = Buffer.from('feffdde000000000', 'hex');

/** The tiles of a picture row by row, the ones at the edges filled up with black. */
async function framesOf({ width, height, data }: RgbImage, side: number, options: DicomOptions): Promise<Buffer[]> {
  const columns = Math.ceil(width / side);
  const rows = Math.ceil(height / side);
  return Promise.all(
    Array.from({ length: columns * rows }, async (_, frame) => {
      const pixels = Buffer.alloc(side * side * 3);
      for (let i = 0; i < side * side; i++) {
        const x = (frame % columns) * side + (i % side);
        const y = Math.floor(frame / columns) * side + Math.floor(i / side);
        for (let c = 0; c < 3 && x < width && y < height; c++) pixels[i * 3 + c] = data[(y * width + x) * 3 + c]!;
      }
      if (options.planar) return Buffer.from([0, 1, 2].flatMap((c) => [...pixels].filter((_, i) => i % 3 === c)));
      if (!options.jpeg) return pixels;
      return options.jpeg === 'rgb'
        ? rgbJpeg(pixels, side)
        : encodeJpeg(sharp(pixels, { raw: { width: side, height: side, channels: 3 } }));
    }),
  );
}

async function encodeJpeg(image: Sharp): Promise<Buffer> {
  const bytes = await image.jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer();
  return bytes.length % 2 ? Buffer.concat([bytes, Buffer.alloc(1)]) : bytes;
}

/** A JPEG whose three components are R, G and B, unmarked: what an encoder makes of samples that it takes for YCbCr already. */
async function rgbJpeg(rgb: Buffer, side: number): Promise<Buffer> {
  // RGB that JPEG's own conversion turns into the wanted samples; colours out of range are lost, so the picture is kept mild.
  const turned = Buffer.alloc(rgb.length);
  for (let i = 0; i < rgb.length; i += 3) {
    const [y, cb, cr] = [rgb[i]!, rgb[i + 1]! - 128, rgb[i + 2]! - 128];
    const values = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb];
    values.forEach((value, c) => {
      turned[i + c] = Math.max(0, Math.min(255, Math.round(value)));
    });
  }
  const bytes = await encodeJpeg(sharp(turned, { raw: { width: side, height: side, channels: 3 } }));
  // Without the JFIF segment, if there is one: it would call them YCbCr.
  return bytes[3] === 0xe0 ? Buffer.concat([bytes.subarray(0, 2), bytes.subarray(4 + bytes.readUInt16BE(4))]) : bytes;
}

export async function dicomFile(picture: RgbImage, side: number, options: DicomOptions): Promise<Buffer> {
  const { mpp = 0.5, flavour = 'VOLUME', jpeg, bits = 8, undefinedLengths = false } = options;
  const sequence = (tag: number, items: Buffer[]) =>
    undefinedLengths
      ? element(
          tag,
          'SQ',
          Buffer.concat([...items.map((one) => Buffer.concat([item(one, 0xffffffff), itemEnd])), sequenceEnd]),
          0xffffffff,
        )
      : element(tag, 'SQ', Buffer.concat(items.map((one) => item(one))));
  const columns = Math.ceil(picture.width / side);
  const all = (await framesOf(picture, side, options)).map((bytes, tile) => ({ bytes, tile }));
  const frames = options.sparse ? all.filter(({ tile }) => tile !== options.skip).reverse() : all;
  const positions = frames.map(({ tile }) =>
    sequence(0x0048021a, [
      Buffer.concat([
        element(0x0048021e, 'SL', u32((tile % columns) * side + 1)),
        element(0x0048021f, 'SL', u32(Math.floor(tile / columns) * side + 1)),
      ]),
    ]),
  );
  const syntax = options.syntax ?? (jpeg ? '1.2.840.10008.1.2.4.50' : '1.2.840.10008.1.2.1');
  const photometric = jpeg === 'ycbcr' ? 'YBR_FULL_422' : 'RGB';
  const spacing = String(mpp / 1000);
  const { extended, pixels } = jpeg
    ? encapsulated(
        frames.map(({ bytes }) => bytes),
        options,
      )
    : plain(frames.map(({ bytes }) => bytes));
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    text(0x00020010, 'UI', syntax),
    text(0x00080008, 'CS', `ORIGINAL\\PRIMARY\\${flavour}\\NONE`),
    text(0x00080016, 'UI', options.sopClass ?? '1.2.840.10008.5.1.4.1.1.77.1.6'),
    text(0x00080070, 'LO', 'by hand'),
    text(0x0020000e, 'UI', options.series ?? '1.2.826.0.1'),
    text(0x00209311, 'CS', options.sparse ? 'TILED_SPARSE' : 'TILED_FULL'),
    us(0x00280002, 3),
    text(0x00280004, 'CS', photometric),
    us(0x00280006, options.planar ? 1 : 0),
    text(0x00280008, 'IS', String(frames.length)),
    us(0x00280010, side),
    us(0x00280011, side),
    us(0x00280100, bits),
    ul(0x00480006, picture.width),
    ul(0x00480007, picture.height),
    sequence(0x00480105, [text(0x00480112, 'DS', '20')]),
    sequence(0x52009229, [sequence(0x00289110, [text(0x00280030, 'DS', `${spacing}\\${spacing}`)])]),
    ...(options.sparse ? [sequence(0x52009230, positions)] : []),
    ...extended,
    pixels,
  ]);
}

function plain(frames: Buffer[]) {
  return { extended: [], pixels: element(0x7fe00010, 'OB', Buffer.concat(frames)) };
}

function encapsulated(frames: Buffer[], { table, extended, fragments = 1 }: DicomOptions) {
  const parts = frames.map((bytes) => {
    const cut = Math.floor(bytes.length / fragments / 2) * 2;
    return Buffer.concat(
      Array.from({ length: fragments }, (_, i) =>
        item(bytes.subarray(i * cut, i === fragments - 1 ? undefined : (i + 1) * cut)),
      ),
    );
  });
  const starts = parts.map((_, i) => parts.slice(0, i).reduce((sum, part) => sum + part.length, 0));
  const u64s = (values: number[]) => {
    const bytes = Buffer.alloc(values.length * 8);
    values.forEach((value, i) => {
      bytes.writeBigUInt64LE(BigInt(value), i * 8);
    });
    return bytes;
  };
  const value = Buffer.concat([item(table ? Buffer.concat(starts.map(u32)) : Buffer.alloc(0)), ...parts, sequenceEnd]);
  return {
    extended: extended
      ? [element(0x7fe00001, 'OV', u64s(starts)), element(0x7fe00002, 'OV', u64s(frames.map(({ length }) => length)))]
      : [],
    pixels: element(0x7fe00010, 'OB', value, 0xffffffff),
  };
}
