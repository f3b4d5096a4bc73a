import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createRecolour } from '../../src/features/recolour.ts';
import type { Recolouring, StainMatrix } from '../../src/features/stain.ts';
import {
  fitStains,
  type StainStatistics,
  stainMethods,
  stainTransform,
  unmixOf,
} from '../../src/features/stain-fit.ts';
import { openPixelLoops } from '../../src/features/wasm/open.ts';
import { createRandom } from '../../src/random.ts';
import { dataFolder, isMeasured } from '../real-data.ts';

const unit = (v: number[]) => v.map((value) => value / Math.hypot(...v));
const matrixOf = (h: number[], e: number[]) => [...unit(h), ...unit(e)] as unknown as StainMatrix;

/** Laboratories: stains of different hue, none of them the program's own. */
const LABORATORIES = [
  matrixOf([0.6, 0.72, 0.33], [0.12, 0.88, 0.45]),
  matrixOf([0.72, 0.62, 0.3], [0.2, 0.9, 0.2]),
  matrixOf([0.55, 0.75, 0.4], [0.25, 0.78, 0.56]),
];

/** Pixels of nuclei, of eosin, of glass and of mixtures, painted with two stains by Beer and Lambert's law. */
function paint(stains: StainMatrix, seed: number, count = 40_000, strength = 1): Uint8Array {
  const random = createRandom(seed);
  const rgb = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) {
    const kind = random();
    const [h, e] =
      kind < 0.2
        ? [0, 0]
        : kind < 0.55
          ? [0.4 + 0.5 * random(), 0.05 * random()]
          : kind < 0.85
            ? [0.04 * random(), 0.25 + 0.4 * random()]
            : [0.5 * random(), 0.4 * random()];
    for (let k = 0; k < 3; k++) {
      const density = strength * (h * stains[k]! + e * stains[3 + k]!) + 0.004 * (random() - 0.5);
      rgb[3 * i + k] = Math.max(0, Math.min(255, Math.round(256 * 10 ** -density - 1)));
    }
  }
  return rgb;
}

function degrees(a: StainMatrix, b: StainMatrix, stain: 0 | 1): number {
  const dot = [0, 1, 2].reduce((sum, k) => sum + a[3 * stain + k]! * b[3 * stain + k]!, 0);
  return (Math.acos(Math.min(1, dot)) * 180) / Math.PI;
}

function statistics(method: (typeof stainMethods)[number], rgb: Uint8Array): StainStatistics {
  const found = fitStains(method, rgb);
  if ('reason' in found) throw new Error(found.reason);
  return found;
}

function recolour(rgb: Uint8Array, recolouring: Partial<Recolouring>, patch = 0): Uint8Array {
  const memory = openPixelLoops(rgb.length);
  const room = memory.u8(rgb.length);
  room.set(rgb);
  createRecolour(memory)(room, { transform: null, augmentation: null, first: 0, ...recolouring }, patch);
  return room.slice();
}

/** How far the channels' means and deviations of two pictures' tissue lie apart. */
function distance(a: Uint8Array, b: Uint8Array): number {
  const numbers = (rgb: Uint8Array) =>
    [0, 1, 2].flatMap((k) => {
      const values: number[] = [];
      for (let i = 0; i < rgb.length; i += 3) {
        if (Math.min(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!) < 200) values.push(rgb[i + k]!);
      }
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)];
    });
  const [ofA, ofB] = [numbers(a), numbers(b)];
  return Math.hypot(...ofA.map((value, i) => value - ofB[i]!));
}

/** How far statistics of the same method lie apart. */
function apart(a: StainStatistics, b: StainStatistics): number {
  const numbers = (one: StainStatistics) =>
    'stains' in one ? [...one.stains, ...one.amounts.map(Math.log)] : [...one.mean, ...one.deviation];
  const [ofA, ofB] = [numbers(a), numbers(b)];
  return Math.hypot(...ofA.map((value, i) => value - ofB[i]!));
}

describe('the stains of a painted slide', () => {
  it.each(['macenko', 'vahadane'] as const)('are found by %s, whichever laboratory they come from', (method) => {
    for (const [seed, stains] of LABORATORIES.entries()) {
      const found = statistics(method, paint(stains, seed));
      if (!('stains' in found)) throw new Error('no stains');
      expect(degrees(found.stains, stains, 0)).toBeLessThan(method === 'macenko' ? 5 : 4);
      expect(degrees(found.stains, stains, 1)).toBeLessThan(method === 'macenko' ? 5 : 4);
    }
  });

  it('are the same for less strength, with less of each', () => {
    const stains = LABORATORIES[2]!;
    const [full, less] = [1.5, 1.05].map((strength) => statistics('macenko', paint(stains, 7, 40_000, strength)));
    if (!('stains' in full!) || !('stains' in less!)) throw new Error('no stains');
    expect(degrees(full.stains, less.stains, 0)).toBeLessThan(3);
    expect(less.amounts[0] / full.amounts[0]).toBeCloseTo(0.7, 1);
    expect(less.amounts[1] / full.amounts[1]).toBeCloseTo(0.7, 1);
  });

  it('are not told where there are none, too few, or one', () => {
    const reason = (rgb: Uint8Array) => stainMethods.map((method) => 'reason' in fitStains(method, rgb));
    expect(reason(new Uint8Array(0))).toEqual([true, true, true]);
    expect(reason(new Uint8Array(30_000).fill(250))).toEqual([true, true, true]);
    expect(reason(new Uint8Array(30_000).fill(3))).toEqual([true, true, true]);
    const glass = new Uint8Array(300_000).fill(245);
    glass.set(paint(LABORATORIES[0]!, 1, 300));
    expect(reason(glass)).toEqual([true, true, true]);
    const [stains] = LABORATORIES as [StainMatrix];
    const single = paint([...stains.slice(0, 3), ...stains.slice(0, 3)] as unknown as StainMatrix, 3);
    expect(reason(single).slice(0, 2)).toEqual([true, true]);
  });
});

describe('a change of stains', () => {
  it('undoes the stains of another laboratory', () => {
    const [ours, theirs] = LABORATORIES as [StainMatrix, StainMatrix];
    const [source, target] = [paint(ours, 1, 40_000, 0.7), paint(theirs, 1)];
    for (const method of ['macenko', 'vahadane'] as const) {
      const changed = recolour(source, {
        transform: stainTransform(statistics(method, source), statistics(method, target)),
      });
      // The same tissue, painted by the other laboratory.
      const error = changed.reduce((sum, value, i) => sum + Math.abs(value - target[i]!), 0) / changed.length;
      expect(error).toBeLessThan(9);
      expect(distance(changed, target)).toBeLessThan(distance(source, target) / 4);
    }
  });

  it('hardly moves a slide that is its own target, and keeps glass white', () => {
    const rgb = paint(LABORATORIES[1]!, 4);
    for (const method of stainMethods) {
      const own = statistics(method, rgb);
      const changed = recolour(rgb, { transform: stainTransform(own, own) });
      const moved = changed.reduce((sum, value, i) => sum + Math.abs(value - rgb[i]!), 0) / rgb.length;
      expect(moved).toBeLessThan(3);
    }
    const own = statistics('macenko', rgb);
    const white = recolour(new Uint8Array(300).fill(255), { transform: stainTransform(own, own) });
    expect(Math.min(...white)).toBeGreaterThan(252);
  });

  it('unmixes what was mixed', () => {
    for (const stains of LABORATORIES) {
      const unmix = unmixOf(stains);
      const [h, e] = [0.8, 0.3];
      const density = [0, 1, 2].map((k) => h * stains[k]! + e * stains[3 + k]!);
      const back = [0, 1].map((row) => density.reduce((sum, value, k) => sum + value * unmix[3 * row + k]!, 0));
      expect(back[0]).toBeCloseTo(h, 10);
      expect(back[1]).toBeCloseTo(e, 10);
    }
  });
});

describe('augmentation', () => {
  const rgb = paint(LABORATORIES[0]!, 2, 4000);
  const augmentation = { seed: 5, strength: 0.2 };

  it('is the same for the same seed and patch, whatever batch the patch is in, and differs otherwise', () => {
    const once = recolour(rgb, { augmentation, first: 10 }, 3);
    expect(recolour(rgb, { augmentation, first: 12 }, 1)).toEqual(once);
    expect(recolour(rgb, { augmentation, first: 10 }, 4)).not.toEqual(once);
    expect(recolour(rgb, { augmentation: { ...augmentation, seed: 6 }, first: 10 }, 3)).not.toEqual(once);
    expect(once).not.toEqual(rgb);
  });

  it('of no strength leaves the colours as they are', () => {
    const same = recolour(rgb, { augmentation: { seed: 1, strength: 0 } });
    same.forEach((value, i) => void expect(Math.abs(value - rgb[i]!)).toBeLessThan(2));
  });
});

const PICTURES = join(dataFolder, 'stain');
const pictures = existsSync(PICTURES) ? readdirSync(PICTURES).filter((name) => /\.(png|jpe?g|tiff?)$/.test(name)) : [];
/** Of one laboratory and of another. */
const [SOURCE, TARGET] = [/source/, /target/].map((what, i) => pictures.find((name) => what.test(name)) ?? pictures[i]);

describe.skipIf(!SOURCE || !TARGET)(`stains of real pictures (skipped if ${PICTURES} has no two)`, () => {
  const read = async (name: string) =>
    new Uint8Array(await sharp(join(PICTURES, name)).flatten({ background: '#fff' }).removeAlpha().raw().toBuffer());
  const measured = isMeasured('stain/torchstain-source.png', 'stain/torchstain-target.png');

  it.each(stainMethods)('come closer to those of the target by %s', async (method) => {
    const [source, target] = await Promise.all([read(SOURCE!), read(TARGET!)]);
    const wanted = statistics(method, target);
    const changed = recolour(source, { transform: stainTransform(statistics(method, source), wanted) });
    const [colours, stains] = [distance(source, target), apart(statistics(method, source), wanted)];
    const after = apart(statistics(method, changed), wanted);
    if (measured) {
      expect(distance(changed, target)).toBeLessThan(0.7 * colours);
      expect(after).toBeLessThan(0.5 * stains);
    }
    // Two pictures that are alike already have no way to go; what is in them differs all the same.
    expect(after).toBeLessThan(Math.max(0.7 * stains, 0.1));
    expect(distance(changed, target)).toBeLessThan(Math.max(colours, 10));
  });
});
