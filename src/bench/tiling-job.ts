/** One measurement of slides, each in a process of its own so that threads, caches and peak memory are its own. */
import { decodeBaseline } from '../tiling/baseline-jpeg.ts';
import { useDecodeThreads } from '../tiling/decode-pool.ts';
import { createGrid } from '../tiling/grid.ts';
import { openSlide } from '../tiling/open-slide.ts';
import { normalisedPatches, patches } from '../tiling/patches.ts';
import { resampleArea } from '../tiling/resample.ts';
import type { Slide } from '../tiling/slide.ts';
import { hashSlide } from '../tiling/slide-hash.ts';
import type { TileEncoding } from '../tiling/tile-encoding.ts';
import { readTissue } from '../tiling/tissue.ts';
import { decodeJpegTurbo } from '../tiling/wasm-codecs.ts';
import { expectClose, WrongResult } from './check.ts';

export interface TilingJob {
  readonly kind: keyof typeof jobs;
  readonly slide: string;
  readonly threads: number;
}

/** What a job found, by name. */
export type Figures = Readonly<Record<string, number>>;

/** The usual normalisation, that of ImageNet. */
export const normalise = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
/** A patch covers as many level-0 pixels as the peer's. */
const coveredPx = 256;
const patchPx = 224;
const passes = 2;
/** Tiles asked for at a time. */
const atOnce = 48;

const jobs = { tiles, patches: patchStream, quarter, open, mask, memory, reduce, region };

export async function runTilingJob({ kind, slide, threads }: TilingJob): Promise<Figures> {
  useDecodeThreads(threads);
  return jobs[kind](slide);
}

/** Runs `measure` after a warm-up; the best. */
async function best(measure: () => Promise<number>): Promise<number> {
  let rate = 0;
  for (let pass = 0; pass <= passes; pass++) rate = Math.max(rate, await measure());
  return rate;
}

/** Whole level-0 tiles, decoded to RGB. */
async function tiles(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const { tileWidth, tileHeight } = slide.levels[0]!;
  const rate = await best(() => tilesPerSecond(slide, 1));
  await slide.close();
  if (slide.unreadable.length > 0) throw new WrongResult(`${slide.unreadable.length} tiles could not be read`);
  return { tilesPerSecond: rate, megapixelsPerSecond: (rate * tileWidth * tileHeight) / 1e6 };
}

async function tilesPerSecond(slide: Slide, reduce: number): Promise<number> {
  const { width, height, tileWidth, tileHeight } = slide.levels[0]!;
  const [columns, rows] = [Math.floor(width / tileWidth), Math.floor(height / tileHeight)];
  let next = 0;
  const started = performance.now();
  const read = async () => {
    const into = new SharedArrayBuffer(tileWidth * tileHeight * 3);
    for (let i = next++; i < columns * rows; i = next++) {
      await slide.readTileRgb(0, i % columns, Math.floor(i / columns), { into, reduce });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, read));
  return (columns * rows * 1000) / (performance.now() - started);
}

/** Patches of tissue as normalised floats, as the peer makes them: 256 level-0 pixels to 224; what is checked is the first batch. */
async function patchStream(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const mpp = (slide.scale.mpp! * coveredPx) / patchPx;
  const started = performance.now();
  const grid = createGrid(slide, await readTissue(slide), { patchPx, mpp });
  const maskSeconds = (performance.now() - started) / 1000;
  for await (const bytes of patches(slide, grid)) {
    for await (const floats of normalisedPatches(slide, grid, normalise)) {
      checkNormalised(bytes.pixels, floats.pixels, patchPx);
      break;
    }
    break;
  }
  const rate = await best(async () => {
    const start = performance.now();
    for await (const batch of normalisedPatches(slide, grid, normalise)) batch.release();
    return (grid.count * 1000) / (performance.now() - start);
  });
  await slide.close();
  return { patchesPerSecond: rate, count: grid.count, maskSeconds };
}

/** Floats, plane after plane, are the normalised bytes, up to their rounding. */
function checkNormalised(bytes: Uint8Array, floats: Float32Array, size: number): void {
  const back = Float32Array.from(bytes, (_, i) => {
    const [patch, channel, pixel] = [Math.floor(i / 3 / size ** 2), i % 3, Math.floor(i / 3) % size ** 2];
    const value = floats[(patch * 3 + channel) * size ** 2 + pixel]!;
    return (value * normalise.std[channel]! + normalise.mean[channel]!) * 255;
  });
  expectClose('a batch of normalised patches', back, bytes, 0.51, 1);
}

/** Patches at four times the scale of a slide with no lower level. */
async function quarter(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const grid = createGrid(slide, null, { patchPx: 256, mpp: slide.scale.mpp! * 4, minTissue: 0 });
  const rate = await best(async () => {
    const start = performance.now();
    for await (const batch of patches(slide, grid)) batch.release();
    return (grid.count * 1000) / (performance.now() - start);
  });
  await slide.close();
  // As level-0 tiles: a patch covers 16.
  return { tilesPerSecond: rate * 16 };
}

/** From the path to levels, scale and hash; the first slide of the process, and the best of ten. */
async function open(path: string): Promise<Figures> {
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const started = performance.now();
    const slide = await openSlide(path);
    await hashSlide(path);
    times.push(performance.now() - started);
    await slide.close();
  }
  return { first: times[0]!, best: Math.min(...times) };
}

async function mask(path: string): Promise<Figures> {
  const started = performance.now();
  const slide = await openSlide(path);
  const grid = createGrid(slide, await readTissue(slide), { patchPx: 256, mpp: slide.scale.mpp! });
  const seconds = (performance.now() - started) / 1000;
  await slide.close();
  if (grid.count === 0) throw new WrongResult('no tissue was found on a slide of tissue');
  return { seconds, patches: grid.count };
}

/** Everything that a slide goes through, to its last patch. */
async function memory(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const grid = createGrid(slide, await readTissue(slide), { patchPx: 256, mpp: slide.scale.mpp! });
  const started = performance.now();
  for await (const batch of patches(slide, grid)) batch.release();
  const seconds = (performance.now() - started) / 1000;
  await slide.close();
  return { peakMegabytes: process.resourceUsage().maxRSS / 1000, patches: grid.count, seconds };
}

/** One thread, one tile after the other: decoded at a quarter, or whole and averaged. Checks both before. */
async function reduce(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const { tileWidth: width, tileHeight: height } = slide.levels[0]!;
  const encoding: TileEncoding = { codec: 'jpeg', width, height, colour: 'rgb', samples: 3, differenced: false };
  const stored: Uint8Array[] = [];
  for (let i = 0; i < 256; i++) stored.push((await slide.readStoredTile(0, i % 16, Math.floor(i / 16)))!.bytes);
  await slide.close();
  const small = new Uint8Array((width * height * 3) / 16);
  const average = (pixels: Uint8Array) =>
    resampleArea(pixels, width, height, { x: 0, y: 0, width, height }, small, width / 4, height / 4);
  let difference = 0;
  for (const bytes of stored) {
    const whole = (await decodeJpegTurbo(bytes, encoding)).data.slice();
    const ours = decodeBaseline(bytes, encoding, 1)!.data.slice();
    expectClose('a decoded tile', ours, whole, 0, 1);
    average(whole);
    const quartered = decodeBaseline(bytes, encoding, 4)!.data;
    for (let i = 0; i < small.length; i++) difference += Math.abs(quartered[i]! - small[i]!);
  }
  const meanDifference = difference / small.length / stored.length;
  if (meanDifference > 1) throw new WrongResult(`tiles at a quarter differ by ${meanDifference} from means`);
  const ways = {
    quarter: (bytes: Uint8Array) => small.set(decodeBaseline(bytes, encoding, 4)!.data),
    whole: (bytes: Uint8Array) => average(decodeBaseline(bytes, encoding, 1)!.data.slice()),
    libjpegTurbo: async (bytes: Uint8Array) => average((await decodeJpegTurbo(bytes, encoding)).data.slice()),
  };
  const rates: Record<string, number> = { meanDifference };
  for (let round = 0; round < 6; round++) {
    for (const [name, decode] of Object.entries(ways)) {
      const start = performance.now();
      for (const bytes of stored) await decode(bytes);
      rates[name] = Math.max(rates[name] ?? 0, (stored.length * 1000) / (performance.now() - start));
    }
  }
  return rates;
}

/** The sum of a region's samples, each times its place: what the peer must find too. */
async function region(path: string): Promise<Figures> {
  const slide = await openSlide(path);
  const { data } = await slide.readRegion(300, 300, 0, 512, 512);
  await slide.close();
  let sum = 0;
  for (let i = 0, place = 1; i < data.length; i++) if (i % 4 !== 3) sum += data[i]! * (place++ % 1009);
  return { sum };
}
