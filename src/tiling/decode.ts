/** Encoded tile in, RGB pixels out. Runs in the decoder threads; knows nothing of slides. */
import { inflateSync } from 'node:zlib';
import { ZSTDDecoder } from 'zstddec';
import { decodeBaseline } from './baseline-jpeg.ts';
import { decodeLzw } from './lzw.ts';
import { decodePackBits } from './packbits.ts';
import { resampleArea } from './resample.ts';
import { type Samples, splitPlanes, type TileEncoding } from './tile-encoding.ts';
import { decodeJpeg2000, decodeJpegTurbo } from './wasm-codecs.ts';

/** Which pixels of a tile are wanted. */
export interface TileWindow {
  readonly width: number;
  readonly height: number;
  /** Pixels left of and above them. */
  readonly left?: number;
  readonly top?: number;
  /** Each pixel wanted is the mean of `reduce` x `reduce` of these, fewer at the right and at the bottom; 1, 2, 4 or 8. */
  readonly reduce?: number;
}

/**
 * A window of a tile as RGB, into `target`: ceil(width / reduce) x ceil(height / reduce) x 3 bytes.
 *
 * @throws Error if the bytes are damaged or hold another size than the encoding says; nothing larger than that is ever allocated.
 */
export async function decodeTile(
  bytes: Uint8Array,
  encoding: TileEncoding,
  window: TileWindow,
  target: Uint8Array,
): Promise<void> {
  const scale = encoding.reduce ?? 1;
  const by = scale * (window.reduce ?? 1);
  const [left, top] = [scale * (window.left ?? 0), scale * (window.top ?? 0)];
  const [width, height] = [scale * window.width, scale * window.height];
  const wish = [8, 4, 2].find((step) => [by, left, top, width, height].every((length) => length % step === 0)) ?? 1;
  const decoded = await decodeSamples(bytes, encoding, top + height, wish);
  const { reduced = 1, phase = 0 } = decoded;
  const [right, bottom] = [(left + width) / reduced, (top + height) / reduced];
  if (decoded.width < right || decoded.height < bottom) {
    throw new Error(`holds ${decoded.width} x ${decoded.height} pixels where ${right} x ${bottom} are expected`);
  }
  const from = decoded.data.subarray(((top / reduced) * decoded.width + left / reduced) * decoded.samples);
  const rgb = (into: Uint8Array) =>
    toRgb({ ...decoded, data: from }, encoding.colour, width / reduced, height / reduced, into);
  const rest = by / reduced;
  if (rest === 1) {
    rgb(target);
    return;
  }
  const pixels = new Uint8Array((width / reduced) * (height / reduced) * 3);
  rgb(pixels);
  const [columns, rows] = [Math.ceil(width / by), Math.ceil(height / by)];
  const whole = { x: phase, y: phase, width: columns * rest, height: rows * rest };
  resampleArea(pixels, width / reduced, height / reduced, whole, target, columns, rows);
}

/** @param reduce how much smaller the picture may come, if its decoder can do that. */
function decodeSamples(
  bytes: Uint8Array,
  encoding: TileEncoding,
  height: number,
  reduce: number,
): Samples | Promise<Samples> {
  switch (encoding.codec) {
    case 'jpeg':
      return decodeBaseline(bytes, encoding, reduce) ?? decodeJpegTurbo(bytes, encoding);
    case 'jpeg2000':
      return decodeJpeg2000(bytes, encoding, reduce);
    case 'webp':
    case 'png':
      return decodePicture(bytes, encoding);
    default:
      return encoding.planar ? decodePlanes(bytes, encoding, height) : decodeRaw(bytes, encoding, height);
  }
}

async function decodePicture(bytes: Uint8Array, { width, height }: TileEncoding): Promise<Samples> {
  const { default: sharp } = await import('sharp');
  const { data, info } = await sharp(bytes, { limitInputPixels: width * height })
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, samples: info.channels, data };
}

async function decodePlanes(bytes: Uint8Array, encoding: TileEncoding, height: number): Promise<Samples> {
  const { width, samples } = encoding;
  const planes: Samples[] = [];
  for (const plane of splitPlanes(bytes)) planes.push(await decodeRaw(plane, { ...encoding, samples: 1 }, height));
  const rows = Math.min(...planes.map((plane) => plane.height));
  if (planes.length !== samples) throw new Error(`has ${planes.length} planes where ${samples} are expected`);
  const data = new Uint8Array(width * rows * samples);
  planes.forEach((plane, sample) => {
    for (let i = 0, to = sample; to < data.length; i++, to += samples) data[to] = plane.data[i]!;
  });
  return { width, height: rows, samples, data };
}

async function decodeRaw(bytes: Uint8Array, encoding: TileEncoding, height: number): Promise<Samples> {
  const { width, samples } = encoding;
  const rowBytes = width * samples;
  const limit = rowBytes * encoding.height;
  const data = await unpack(bytes, encoding.codec, limit);
  if (data.length < rowBytes * height) {
    throw new Error(`unpacks to ${data.length} bytes where ${rowBytes * height} are expected`);
  }
  const rows = Math.floor(data.length / rowBytes);
  if (encoding.differenced) {
    for (let row = 0; row < height; row++) {
      for (let i = row * rowBytes + samples, end = (row + 1) * rowBytes; i < end; i++) {
        data[i] = data[i]! + data[i - samples]!;
      }
    }
  }
  if (encoding.signed) for (let i = 0; i < data.length; i++) data[i] = data[i]! ^ 0x80;
  return { width, height: rows, samples, data };
}

async function unpack(bytes: Uint8Array, codec: TileEncoding['codec'], limit: number): Promise<Uint8Array> {
  if (codec === 'deflate') return inflateSync(bytes, { maxOutputLength: limit });
  if (codec === 'lzw') return decodeLzw(bytes, limit);
  if (codec === 'packbits') return decodePackBits(bytes, limit);
  if (codec === 'zstd') return unpackZstd(bytes, limit);
  return bytes.subarray(0, limit);
}

let zstd: Promise<ZSTDDecoder> | undefined;

async function unpackZstd(bytes: Uint8Array, limit: number): Promise<Uint8Array> {
  zstd ??= (async () => {
    const decoder = new ZSTDDecoder();
    await decoder.init();
    return decoder;
  })();
  try {
    return (await zstd).decode(bytes, limit);
  } catch (error) {
    zstd = undefined;
    throw error;
  }
}

function toRgb(from: Samples, colour: TileEncoding['colour'], width: number, height: number, target: Uint8Array): void {
  const { data, samples } = from;
  if (samples === 2 || samples < 1) throw new Error(`has ${samples} samples per pixel; 1, 3 or 4 are supported`);
  const grey = samples === 1 || colour === 'grey' || colour === 'grey-inverted';
  if (samples === 3 && colour === 'rgb' && from.width === width) {
    target.set(data.subarray(0, width * height * 3));
    return;
  }
  if (samples === 3 && colour === 'rgb') {
    for (let row = 0; row < height; row++) {
      const start = row * from.width * 3;
      target.set(data.subarray(start, start + width * 3), row * width * 3);
    }
    return;
  }
  const flip = colour === 'grey-inverted' ? 255 : 0;
  let to = 0;
  for (let row = 0; row < height; row++) {
    let at = row * from.width * samples;
    for (let column = 0; column < width; column++, at += samples, to += 3) {
      const a = data[at]!;
      if (grey) {
        target[to] = target[to + 1] = target[to + 2] = a ^ flip;
      } else if (colour === 'ycbcr') {
        writeRgbOfYCbCr(target, to, a, data[at + 1]! - 128, data[at + 2]! - 128);
      } else {
        target[to] = a;
        target[to + 1] = data[at + 1]!;
        target[to + 2] = data[at + 2]!;
      }
    }
  }
}

/** ITU-R BT.601, full range, as JPEG has it. */
function writeRgbOfYCbCr(target: Uint8Array, to: number, y: number, cb: number, cr: number): void {
  target[to] = clamp(y + 1.402 * cr);
  target[to + 1] = clamp(y - 0.344136 * cb - 0.714136 * cr);
  target[to + 2] = clamp(y + 1.772 * cb);
}

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : Math.round(value);
}
