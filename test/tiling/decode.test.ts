/** Our own JPEG decoder against libvips (libjpeg-turbo by another road), and reduced tiles against means of whole ones. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import createJpegTurbo from '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs';
import sharp, { type JpegOptions } from 'sharp';
import { describe, expect, it } from 'vitest';
import { createRandom, integer } from '../../src/random.ts';
import { decodeTile, type TileWindow } from '../../src/tiling/decode.ts';
import { jpegSize } from '../../src/tiling/jpeg-stream.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { resampleArea } from '../../src/tiling/resample.ts';
import type { RgbImage } from '../../src/tiling/slide.ts';
import { tileLoops } from '../../src/tiling/wasm/open.ts';
import { dataFolder, isMeasured, type MeasuredFile, slideNames } from '../real-data.ts';
import { createPicture, meanDifference } from './pictures.ts';

/** Hard edges in full colour: every path of the transform, and values that must be clamped. */
function createStripes(width: number, height: number): RgbImage {
  const random = createRandom(4);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = random() < 0.5 ? 0 : 255;
  return { width, height, data };
}

function jpegOf({ data, width, height }: RgbImage, options: JpegOptions): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg(options)
    .toBuffer();
}

/** What libjpeg-turbo itself makes of it. */
async function byLibjpeg(bytes: Uint8Array): Promise<Uint8Array> {
  const file = createRequire(import.meta.url).resolve('@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm');
  const module = await createJpegTurbo({ wasmBinary: await readFile(file), print() {}, printErr() {} });
  const decoder = new module.JPEGDecoder();
  decoder.getEncodedBuffer(bytes.length).set(bytes);
  decoder.decode();
  return Uint8Array.from(decoder.getDecodedBuffer());
}

/** As the readers check before they decode. */
function declaredPixels(bytes: Uint8Array): number {
  try {
    const { width, height } = jpegSize(bytes);
    return width * height;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** By our decoder alone; null if it leaves the picture to libjpeg-turbo. */
function byUs(bytes: Uint8Array): Uint8Array | null {
  const loops = tileLoops();
  const at = loops.take(bytes.length);
  new Uint8Array(loops.memory.buffer).set(bytes, at);
  if (!loops.decodeJpeg(at, bytes.length, 1)) return null;
  const size = loops.pixelsWidth.value * loops.pixelsHeight.value * loops.pixelsSamples.value;
  return new Uint8Array(loops.memory.buffer, loops.pixels.value, size).slice();
}

async function decode(bytes: Uint8Array, window: TileWindow): Promise<Uint8Array> {
  const { width, height } = jpegSize(bytes);
  const { reduce = 1 } = window;
  const target = new Uint8Array(Math.ceil(window.width / reduce) * Math.ceil(window.height / reduce) * 3);
  const encoding = { codec: 'jpeg', width, height, colour: 'rgb', samples: 3, differenced: false } as const;
  await decodeTile(bytes, encoding, window, target);
  return target;
}

const sizes = [
  [256, 256],
  [240, 200],
  [37, 53],
  [17, 9],
  [8, 1],
] as const;

describe('baseline JPEG', () => {
  for (const chroma of ['4:4:4', '4:2:0'] as const) {
    it.each(sizes)(`${chroma}, %i x %i: the pixels of libjpeg-turbo, each of them`, async (width, height) => {
      for (const picture of [createPicture(width, height), createStripes(width, height)]) {
        for (const quality of [20, 80, 100]) {
          const bytes = await jpegOf(picture, { quality, chromaSubsampling: chroma });
          expect(Buffer.compare(byUs(bytes)!, await byLibjpeg(bytes))).toBe(0);
        }
      }
    });
  }

  it('grey, with tables of its own', async () => {
    const { data, width, height } = createPicture(101, 67);
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .toColourspace('b-w')
      .jpeg({ optimiseCoding: true })
      .toBuffer();
    expect(byUs(bytes)).toHaveLength(101 * 67);
    expect(Buffer.compare(byUs(bytes)!, await byLibjpeg(bytes))).toBe(0);
  });

  it('progressive is left to libjpeg-turbo, and so is what is cut short', async () => {
    const picture = createPicture(64, 64);
    const progressive = await jpegOf(picture, { progressive: true });
    expect(byUs(progressive)).toBeNull();
    expect(meanDifference(await decode(progressive, { width: 64, height: 64 }), picture.data)).toBeLessThan(10);
    const whole = await jpegOf(picture, { quality: 90 });
    for (const share of [0.3, 0.6, 0.9]) expect(byUs(whole.subarray(0, whole.length * share))).toBeNull();
  });
});

describe('a damaged JPEG', () => {
  it('never stops the decoder, nor spoils what it decodes next', async () => {
    const random = createRandom(11);
    const seeds = await Promise.all(
      (['4:2:0', '4:4:4'] as const).map((chromaSubsampling) =>
        jpegOf(createPicture(96, 80), { quality: 70, chromaSubsampling, optimiseCoding: true }),
      ),
    );
    const expected = await Promise.all(seeds.map(byLibjpeg));
    const outcomes = { decoded: 0, declined: 0 };
    for (let i = 0; i < 4000; i++) {
      const damaged = Buffer.from(seeds[i % 2]!);
      for (let changes = 1 + integer(random, 6); changes > 0; changes--) {
        // The first 700 bytes are headers and tables.
        const at = integer(random, random() < 0.5 ? 700 : damaged.length);
        if (random() < 0.5) damaged[at]! ^= 1 << integer(random, 8);
        else damaged[at] = [0, 0xff, 0xd0, 0x11, 0x22][integer(random, 5)]!;
      }
      const loops = tileLoops();
      const at = loops.take(damaged.length);
      new Uint8Array(loops.memory.buffer).set(damaged, at);
      // Whatever size it says: no more than 16 bits each way.
      if (declaredPixels(damaged) > 1e6) continue;
      outcomes[loops.decodeJpeg(at, damaged.length, [1, 2, 4, 8][i % 4]!) ? 'decoded' : 'declined']++;
      if (i % 100 < 2) expect(Buffer.compare(byUs(seeds[i % 2]!)!, expected[i % 2]!)).toBe(0);
    }
    expect(Math.min(outcomes.decoded, outcomes.declined)).toBeGreaterThan(400);
  });
});

describe('a tile reduced', () => {
  const picture = createPicture(240, 160, 7);

  it.each([
    ['4:2:0', 2],
    ['4:2:0', 4],
    ['4:2:0', 8],
    ['4:4:4', 2],
    ['4:4:4', 4],
    ['4:4:4', 8],
  ] as const)('of JPEG %s by %i is the means of its pixels', async (chromaSubsampling, reduce) => {
    const bytes = await jpegOf(picture, { quality: 85, chromaSubsampling });
    const whole = await byLibjpeg(bytes);
    const expected = new Uint8Array((240 / reduce) * (160 / reduce) * 3);
    const rectangle = { x: 0, y: 0, width: 240, height: 160 };
    resampleArea(whole, 240, 160, rectangle, expected, 240 / reduce, 160 / reduce);
    const found = await decode(bytes, { width: 240, height: 160, reduce });
    expect(meanDifference(found, expected)).toBeLessThan(0.7);
    expect(found.every((value, i) => Math.abs(value - expected[i]!) <= 8)).toBe(true);
  });

  it('has means of what there is at an edge that does not divide', async () => {
    const bytes = await jpegOf(picture, { quality: 85 });
    const whole = await byLibjpeg(bytes);
    const found = await decode(bytes, { left: 1, top: 2, width: 101, height: 83, reduce: 4 });
    // The last pixel: column 100 alone, rows 80 to 82.
    for (let c = 0; c < 3; c++) {
      const mean = [80, 81, 82].reduce((sum, y) => sum + whole[((y + 2) * 240 + 101) * 3 + c]!, 0) / 3;
      expect(Math.abs(found.at(c - 3)! - mean)).toBeLessThanOrEqual(0.51);
    }
  });
});

/** A codestream's first two markers (T.800 A.4). */
const CODESTREAM = Buffer.from('ff4fff51', 'hex');
const jpeg2000 = slideNames
  .filter((name) => /\.(svs|tiff?|dcm)$/.test(name))
  .map((name) => `slides/${name}`)
  .filter((name) => readFileSync(join(dataFolder, name)).includes(CODESTREAM));

describe.skipIf(jpeg2000.length === 0)('JPEG 2000 reduced (skipped if no slide has it)', () => {
  it.each(jpeg2000.flatMap((name) => [2, 4, 8].map((reduce) => [name, reduce] as const)))(
    '%s by %i is close to the means of its pixels',
    async (name, reduce) => {
      const slide = await openSlide(join(dataFolder, name));
      const { width, height, tileWidth, tileHeight } = slide.levels[0]!;
      const [column, row] = [width, height].map((size, i) => Math.floor(size / (i ? tileHeight : tileWidth) / 2)) as [
        number,
        number,
      ];
      const whole = (await slide.readTileRgb(0, column, row))!;
      const found = (await slide.readTileRgb(0, column, row, { reduce }))!;
      await slide.close();
      const expected = new Uint8Array(found.data.length);
      const rectangle = { x: 0, y: 0, width: found.width * reduce, height: found.height * reduce };
      resampleArea(whole.data, whole.width, whole.height, rectangle, expected, found.width, found.height);
      // Wavelets and means part where there is detail: a quarter of it at most.
      const detail = meanDifference(
        whole.data,
        whole.data.map((_, i) => {
          const [x, y] = [Math.floor(i / 3) % whole.width, Math.floor(i / 3 / whole.width)];
          return expected[(Math.floor(y / reduce) * found.width + Math.floor(x / reduce)) * 3 + (i % 3)]!;
        }),
      );
      const most = isMeasured(name as MeasuredFile) ? 1.5 : Math.max(1.5, detail / 4);
      expect(meanDifference(found.data, expected)).toBeLessThan(most);
    },
  );
});
