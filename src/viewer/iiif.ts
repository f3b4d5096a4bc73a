/** Requests of the IIIF Image API 3.0 (https://iiif.io/api/image/3.0/), compliance level 2. */
import sharp from 'sharp';
import { UserError } from '../errors.ts';
import type { Bytes } from './byte-cache.ts';
import type { PictureTiles } from './picture.ts';

/** What `{region}/{size}/{rotation}/{quality}.{format}` asks for. */
export interface ImageRequest {
  /** Level-0 px. */
  readonly region: { readonly left: number; readonly top: number; readonly width: number; readonly height: number };
  readonly width: number;
  readonly height: number;
  /** Clockwise, after mirroring. */
  readonly rotation: 0 | 90 | 180 | 270;
  readonly mirrored: boolean;
  readonly quality: (typeof QUALITIES)[number];
  readonly format: 'jpg' | 'png';
}

const QUALITIES = ['default', 'color', 'gray', 'bitonal'] as const;
/** Longest side and most pixels of one answer: what a viewer or a figure needs, not a whole slide at once. */
const MOST = { side: 4096, pixels: 8 * 2 ** 20 };
const JPEG_QUALITY = 85;

/** `info.json`. @param id the address of the image, without a slash at its end. */
export function imageInformation(id: string, { levels }: PictureTiles): object {
  const [full] = levels;
  const { width, height, tileWidth } = full!;
  const fits = ({ width, height }: { width: number; height: number }) =>
    Math.max(width, height) <= MOST.side && width * height <= MOST.pixels;
  return {
    '@context': 'http://iiif.io/api/image/3/context.json',
    id,
    type: 'ImageService3',
    protocol: 'http://iiif.io/api/image',
    profile: 'level2',
    width,
    height,
    maxWidth: MOST.side,
    maxHeight: MOST.side,
    maxArea: MOST.pixels,
    sizes: levels
      .filter(fits)
      .map(({ width, height }) => ({ width, height }))
      .reverse(),
    tiles: [{ width: tileWidth, height: tileWidth, scaleFactors: levels.map(({ scaleX }) => scaleX) }],
    extraQualities: ['color', 'gray', 'bitonal'],
    extraFeatures: ['mirroring', 'regionSquare', 'sizeUpscaling'],
  };
}

/** @throws UserError `bad-request` that says which part is wrong. */
export function parseImageRequest(parts: readonly string[], width: number, height: number): ImageRequest {
  const [region = '', size = '', rotation = '', last = ''] = parts;
  const place = parseRegion(region, width, height);
  const turn = /^(!?)(0|90|180|270)$/.exec(rotation);
  if (!turn) throw wrong('rotation', rotation, 'Give 0, 90, 180 or 270, with ! before it to mirror.');
  const [quality, format, ...more] = last.split('.');
  if (!QUALITIES.includes(quality as never) || (format !== 'jpg' && format !== 'png') || more.length > 0) {
    throw wrong('quality or format', last, 'Give default, color, gray or bitonal, as .jpg or .png.');
  }
  return {
    region: place,
    ...parseSize(size, place),
    rotation: Number(turn[2]) as ImageRequest['rotation'],
    mirrored: turn[1] === '!',
    quality: quality as ImageRequest['quality'],
    format,
  };
}

function parseRegion(text: string, width: number, height: number): ImageRequest['region'] {
  if (text === 'full') return { left: 0, top: 0, width, height };
  if (text === 'square') {
    const side = Math.min(width, height);
    return { left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2), width: side, height: side };
  }
  const match = /^(pct:)?(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)$/.exec(text);
  if (!match || (!match[1] && text.includes('.')))
    throw wrong('region', text, 'Give full, square, x,y,w,h or pct:x,y,w,h.');
  const unit = match[1] ? [width / 100, height / 100] : [1, 1];
  const [x, y, w, h] = match.slice(2).map((number, i) => Math.round(Number(number) * unit[i % 2]!)) as [
    number,
    number,
    number,
    number,
  ];
  const found = { left: x, top: y, width: Math.min(w, width - x), height: Math.min(h, height - y) };
  if (found.width > 0 && found.height > 0) return found;
  throw wrong('region', text, `It has no pixel of the slide, which is ${width} x ${height}.`);
}

function parseSize(text: string, region: { width: number; height: number }): { width: number; height: number } {
  const upscales = text.startsWith('^');
  const size = sizeOf(upscales ? text.slice(1) : text, region, upscales);
  const hint = 'Give max, w, or ,h or w,h or !w,h or pct:n; ^ before it to enlarge.';
  if (!size || !(size.width >= 1 && size.height >= 1)) throw wrong('size', text, hint);
  if (!upscales && (size.width > region.width || size.height > region.height)) throw wrong('size', text, hint);
  if (Math.max(size.width, size.height) > MOST.side || size.width * size.height > MOST.pixels) {
    throw wrong('size', text, `At most ${MOST.side} px a side and ${MOST.pixels} px in all are given; ask for tiles.`);
  }
  return size;
}

function sizeOf(text: string, { width, height }: { width: number; height: number }, upscales: boolean) {
  const by = (scale: number) => ({
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  });
  if (text === 'max') {
    const most = Math.min(MOST.side / Math.max(width, height), Math.sqrt(MOST.pixels / width / height));
    const { width: w, height: h } = by(upscales ? most : Math.min(1, most));
    return w * h <= MOST.pixels ? { width: w, height: h } : { width: w - 1, height: h };
  }
  const share = /^pct:(\d+(?:\.\d+)?)$/.exec(text);
  if (share) return by(Number(share[1]) / 100);
  const match = /^(!?)(\d*),(\d*)$/.exec(text);
  if (!match || (!match[2] && !match[3])) return null;
  const [w, h] = [Number(match[2]), Number(match[3])];
  if (match[1]) {
    if (!w || !h) return null;
    const scale = Math.min(w / width, h / height);
    return by(upscales ? scale : Math.min(1, scale));
  }
  return {
    width: match[2] ? w : Math.max(1, Math.round((width * h) / height)),
    height: match[3] ? h : Math.max(1, Math.round((height * w) / width)),
  };
}

function wrong(what: string, found: string, hint: string): UserError {
  return new UserError('bad-request', `The ${what} "${found.slice(0, 40)}" is not understood.`, hint);
}

/** Draws what was asked for; a whole tile of the pyramid passes through. */
export async function drawImage(tiles: PictureTiles, request: ImageRequest, signal?: AbortSignal): Promise<Bytes> {
  const { region, width, height, rotation, mirrored, quality, format } = request;
  const plain = rotation === 0 && !mirrored && (quality === 'default' || quality === 'color');
  const shrink = Math.min(region.width / width, region.height / height);
  const level = Math.max(0, Math.min(tiles.levels.length - 1, Math.floor(Math.log2(shrink) + 1e-9)));
  const { scaleX: scale, tileWidth: side } = tiles.levels[level]!;
  const [left, top] = [region.left / scale, region.top / scale];
  const isTile =
    left % side === 0 &&
    top % side === 0 &&
    width === Math.min(side, tiles.levels[level]!.width - left) &&
    height === Math.min(side, tiles.levels[level]!.height - top) &&
    Math.ceil(region.width / scale) === width &&
    Math.ceil(region.height / scale) === height;
  if (isTile && plain && format === 'jpg') return (await tiles.read(level, left / side, top / side, { signal }))!;

  const [x, y] = [Math.floor(left), Math.floor(top)];
  const span = (start: number, length: number) =>
    Math.max(1, Math.ceil((start + length) / scale) - Math.floor(start / scale));
  const [w, h] = [span(region.left, region.width), span(region.top, region.height)];
  const { data } = await tiles.readPixels(level, x, y, w, h, signal);
  let picture = sharp(data, { raw: { width: w, height: h, channels: 3 } }).resize(width, height, { fit: 'fill' });
  if (mirrored || rotation !== 0) {
    // One after the other: sharp would turn before it mirrors.
    const raw = await picture.flop(mirrored).raw().toBuffer();
    picture = sharp(raw, { raw: { width, height, channels: 3 } }).rotate(rotation);
  }
  if (quality === 'gray' || quality === 'bitonal') picture = picture.grayscale();
  if (quality === 'bitonal') picture = picture.threshold(128);
  const encoded = format === 'jpg' ? picture.jpeg({ quality: JPEG_QUALITY }) : picture.png();
  return new Uint8Array(await encoded.toBuffer());
}
