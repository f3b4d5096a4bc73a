import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import type { Ring } from '../../datasets/synthetic/slide.ts';
import { DIMENSION, encodeStains } from '../../src/features/stain-vector.ts';
import { createRandom } from '../../src/random.ts';
import { dataFolder, isMeasured } from '../real-data.ts';
import { aboveChance, labelledTiles, nearestInClass } from './nearest-neighbour.ts';

const SIZE = 128;

interface Patch {
  features: Float32Array;
  tumour: boolean;
}

/** Whether a point lies in one of the rings (even-odd rule). */
function within(rings: readonly Ring[], x: number, y: number): boolean {
  return rings.some((ring) =>
    ring.reduce((odd, [x1, y1], i) => {
      const [x0, y0] = ring.at(i - 1)!;
      return y0 <= y !== y1 <= y && x < x0 + ((y - y0) * (x1 - x0)) / (y1 - y0) ? !odd : odd;
    }, false),
  );
}

/** Patches whose nine probes all lie in tumour, or all in other tissue. */
async function patches(path: string, nests: readonly Ring[], tissue: readonly Ring[]): Promise<Patch[]> {
  const { width, height } = await sharp(path).metadata();
  const found: Patch[] = [];
  for (let top = 0; top + SIZE <= height; top += SIZE / 2) {
    for (let left = 0; left + SIZE <= width; left += SIZE / 2) {
      const probes = [0, 0.5, 1].flatMap((v) => [0, 0.5, 1].map((u) => [left + u * SIZE, top + v * SIZE] as const));
      const [inNest, inTissue] = [nests, tissue].map((rings) => probes.filter(([x, y]) => within(rings, x, y)).length);
      if (inTissue !== 9 || (inNest !== 0 && inNest !== 9)) continue;
      const region = { left, top, width: SIZE, height: SIZE };
      const pixels = new Uint8Array(await sharp(path).extract(region).removeAlpha().raw().toBuffer());
      found.push({ features: encodeStains({ pixels, count: 1, size: SIZE }), tumour: inNest === 9 });
    }
  }
  return found;
}

function mean(rows: readonly Float32Array[]): Float32Array {
  return new Float32Array(DIMENSION).map((_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.hypot(...a.map((value, i) => value - b[i]!));
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

describe('stain features of synthetic slides', () => {
  let folder: string;
  const slides: { site: string; patches: Patch[] }[] = [];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-stain-'));
    const cohort = await writeSyntheticCohort(folder, { slides: 4, seed: 11, widthPx: 2400, heightPx: 1900 });
    for (const { path, site, label, truth } of cohort.slides) {
      if (label === 'tumour') slides.push({ site, patches: await patches(path, truth.nests, truth.tissue) });
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('find the tumour of one laboratory by the tumour of the other', () => {
    const [known, asked] = slides as [(typeof slides)[0], (typeof slides)[0]];
    expect(known.site).not.toBe(asked.site);
    const centre = (tumour: boolean) =>
      mean(known.patches.filter((patch) => patch.tumour === tumour).map(({ features }) => features));
    const [ofTumour, ofRest] = [centre(true), centre(false)];
    const right = asked.patches.filter(
      ({ features, tumour }) => distance(features, ofTumour) < distance(features, ofRest) === tumour,
    );
    expect(asked.patches.filter(({ tumour }) => tumour).length).toBeGreaterThan(3);
    expect(right.length / asked.patches.length).toBeGreaterThan(0.9);
  });

  it('are of order one', () => {
    const all = slides.flatMap((slide) => slide.patches.flatMap(({ features }) => [...features]));
    expect(all.every(Number.isFinite)).toBe(true);
    const spread = Math.sqrt(all.reduce((sum, value) => sum + value * value, 0) / all.length);
    expect(spread).toBeGreaterThan(0.5);
    expect(spread).toBeLessThan(3);
  });
});

describe('stain features', () => {
  it('hardly change when a patch is turned or mirrored', async () => {
    const side = 256;
    const random = createRandom(1);
    const noise = Uint8Array.from({ length: side * side * 3 }, () => 170 + 80 * (random() - 0.5));
    const upright = await sharp(noise, { raw: { width: side, height: side, channels: 3 } })
      .blur(2)
      .png()
      .toBuffer();
    const encode = async (image: Sharp) =>
      encodeStains({ pixels: new Uint8Array(await image.removeAlpha().raw().toBuffer()), count: 1, size: side });
    const wanted = await encode(sharp(upright));
    for (const moved of [
      sharp(upright).rotate(90),
      sharp(upright).rotate(180),
      sharp(upright).flip(),
      sharp(upright).flop(),
    ]) {
      const found = await encode(moved);
      expect(distance(found, wanted) / Math.sqrt(DIMENSION)).toBeLessThan(0.06);
    }
  });

  it('are finite for white, black and noise, and do not depend on the neighbours in the batch', () => {
    const patch = SIZE * SIZE * 3;
    const pixels = new Uint8Array(3 * patch);
    pixels.fill(255, 0, patch);
    for (let i = 2 * patch, state = 1; i < 3 * patch; i++) pixels[i] = state = (state * 48271) % 0x7fffffff;
    const batch = encodeStains({ pixels, count: 3, size: SIZE });
    expect(batch.every(Number.isFinite)).toBe(true);
    for (let i = 0; i < 3; i++) {
      const alone = encodeStains({ pixels: pixels.subarray(i * patch, (i + 1) * patch), count: 1, size: SIZE });
      expect(alone).toEqual(batch.slice(i * DIMENSION, (i + 1) * DIMENSION));
    }
  });
});

const TILES = join(dataFolder, 'tiles/crc-val-he-7k');

describe.skipIf(!existsSync(TILES))(`stain features of real tiles (${TILES} present)`, () => {
  it('have the nearest neighbour in the same class far more often than chance', async () => {
    const tiles: { label: string; features: Float32Array }[] = [];
    for (const { label, path } of labelledTiles(TILES)) {
      const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      tiles.push({ label, features: encodeStains({ pixels: new Uint8Array(data), count: 1, size: info.width }) });
    }
    const share = nearestInClass(tiles, ({ features: a }, { features: b }) => cosine(a, b));
    console.info(`leave-one-out 1-nearest-neighbour (cosine): ${share.toFixed(3)} of ${tiles.length}`);
    expect(share).toBeGreaterThan(aboveChance(tiles));
    if (isMeasured('tiles/crc-val-he-7k')) expect(share).toBeGreaterThanOrEqual(0.54);
  });
});
