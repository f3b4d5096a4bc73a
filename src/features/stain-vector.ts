/**
 * The 128 numbers by which `stain-texture` describes a patch. Scales are named by their pixel: at 0.5 um/px, plane 1 is
 * 1 um/px (half the patch's resolution), plane 3 is 4 um/px.
 *
 * | group | number | what |
 * |---|---|---|
 * | amounts | 21 | mean, sd, five quantiles of haematoxylin, eosin and residual |
 * | bands | 36 | Haar energies of the three stains, 6 octaves, edges and corners, log10 |
 * | haematoxylin's shapes | 27 | area, perimeter, Euler number above 5 thresholds at 1 um, 4 at 4 um: size and number of nuclei, of glands |
 * | density's shapes | 9 | the same of the total density at 3 thresholds: holes, fat, glass |
 * | patterns | 20 | local binary patterns of haematoxylin and eosin at 1 um |
 * | correlations | 6 | of the stains with each other at 1 and 4 um |
 * | direction | 4 | coherence of the gradient of haematoxylin and eosin at 2 um, whole and local |
 * | nuclei | 5 | amounts inside the nuclear mask, evenness of chromatin, mean size of a piece |
 */
import type { PatchBatch } from './encoder.ts';
import { createRecolour } from './recolour.ts';
import type { Recolouring } from './stain.ts';
import { DENSITY, TOTAL_DENSITY, UNMIX } from './stain-planes.ts';
import { DEVIATIONS, MEANS } from './stain-scale.ts';
import {
  createTexture,
  type Excursions,
  LEVELS,
  type Members,
  type Moments,
  quantile,
  type Texture,
} from './texture.ts';
import { openPixelLoops } from './wasm/open.ts';

export const DIMENSION = 128;
export const SMALLEST_PATCH = 64;

/** One value for each of haematoxylin, eosin and residual. */
type Triple<T> = [T, T, T];
type Range = [low: number, high: number];

export const OCTAVES = 6;
/** Ranges within which amounts are cut into levels. */
const RANGES: Triple<Range> = [
  [0, 1.6],
  [0, 1.28],
  [-0.32, 0.64],
];
const DENSITY_RANGE: Range = [0, 3.2];
const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];
const NUCLEAR_FINE = [0.15, 0.25, 0.4, 0.55, 0.75];
const NUCLEAR_COARSE = [0.15, 0.25, 0.4, 0.55];
const HOLES = [0.1, 0.25, 0.5];
/** Haematoxylin from which a pixel counts as nucleus. */
const NUCLEUS = 0.4;

/** Features beyond this many deviations say no more than that something is odd. */
const LIMIT = 8;

/** What the numbers are made by, as tables; kinds of shapes: 0 fine, 1 coarse, 2 of the density. */
export const stainRules = {
  ranges: [...RANGES, DENSITY_RANGE],
  quantiles: QUANTILES,
  shapes: [
    ...NUCLEAR_FINE.map((threshold) => ({ kind: 0, level: levelOf(threshold, RANGES[0]) })),
    ...NUCLEAR_COARSE.map((threshold) => ({ kind: 1, level: levelOf(threshold, RANGES[0]) })),
    ...HOLES.map((threshold) => ({ kind: 2, level: levelOf(threshold, DENSITY_RANGE) })),
  ],
  nucleus: { amount: NUCLEUS, level: levelOf(NUCLEUS, RANGES[0]) },
  limit: LIMIT,
} as const;

function levelOf(amount: number, [low, high]: Range): number {
  return Math.round(((amount - low) / (high - low)) * LEVELS);
}

export interface Describer {
  /** Describes the patch that begins at byte `offset`: DIMENSION raw numbers, of different scales, into `target`. */
  describe(
    rgb: Uint8Array,
    offset: number,
    target: Float32Array,
    recolouring?: Recolouring | null,
    patch?: number,
  ): void;
}

let describer: { size: number; describe: Describer['describe'] } | null = null;

/** The features of a batch, count x DIMENSION, brought to about mean 0 and deviation 1 over H&E tissue. */
export function encodeStains({ pixels, count, size, recolouring }: PatchBatch): Float32Array<ArrayBuffer> {
  if (describer?.size !== size) describer = { size, ...createDescriber(size) };
  const features = new Float32Array(count * DIMENSION);
  for (let i = 0; i < count; i++) {
    const row = features.subarray(i * DIMENSION, (i + 1) * DIMENSION);
    describer.describe(pixels, i * size * size * 3, row, recolouring, i);
    for (let j = 0; j < DIMENSION; j++) {
      const value = (row[j]! - MEANS[j]!) / DEVIATIONS[j]!;
      row[j] = Math.max(-LIMIT, Math.min(LIMIT, value));
    }
  }
  return features;
}

/** Everything is allocated once, for patches of `size` x `size` pixels. */
export function createDescriber(size: number): Describer {
  const sides = Array.from({ length: OCTAVES + 1 }, (_, octave) => size >> octave);
  const [fine, coarse] = [sides[1]!, sides[3]!];
  // The picture, three planes of each octave (a third more than the first), levels and densities at the second.
  const memory = openPixelLoops(3 * size ** 2 + 16 * size ** 2 + 8 * fine ** 2 + 65536);
  const { loops } = memory;
  const texture = createTexture(memory, fine);
  const picture = memory.u8(3 * size * size);
  const recolour = createRecolour(memory);
  const densityOf = memory.f32(256);
  densityOf.set(DENSITY);
  const unmixing = memory.f32(9);
  unmixing.set(UNMIX.flat());
  const pyramid = sides.map((side) => triple(() => memory.f32(side * side)));
  const [planes1, planes2, planes3] = [pyramid[1]!, pyramid[2]!, pyramid[3]!];
  const levels = triple(() => memory.u8(fine * fine));
  const density = memory.f32(fine * fine);
  const densityLevels = memory.u8(fine * fine);
  const coarseLevels = memory.u8(coarse * coarse);

  return {
    describe(rgb, offset, target, recolouring, patch = 0) {
      let count = 0;
      const put = (...values: number[]) => {
        for (const value of values) target[count++] = value;
      };
      picture.set(rgb.subarray(offset, offset + picture.length));
      if (recolouring) recolour(picture, recolouring, patch);
      const [h, e, r] = pyramid[0]!.map((plane) => plane.byteOffset) as Triple<number>;
      loops.unmix(picture.byteOffset, densityOf.byteOffset, unmixing.byteOffset, size * size, h, e, r);
      const bands = pyramid
        .slice(1)
        .flatMap((halves, octave) =>
          halves.map((half, stain) => texture.halve(pyramid[octave]![stain]!, sides[octave]!, sides[octave]!, half)),
        );

      const spread1 = triple((stain) => texture.moments(planes1[stain]!));
      for (const stain of STAINS) {
        texture.quantise(planes1[stain], ...RANGES[stain], levels[stain]);
        const area = texture.areas(levels[stain]);
        put(spread1[stain].mean, spread1[stain].sd);
        for (const share of QUANTILES) put(quantile(area, share, ...RANGES[stain]));
      }
      for (const { edge, corner } of bands) put(Math.log10(edge + 1e-6), Math.log10(corner + 1e-6));

      const nuclei = texture.excursions(levels[0], fine, fine);
      for (const threshold of NUCLEAR_FINE) put(...shape(nuclei, threshold, RANGES[0]));
      texture.quantise(planes3[0], ...RANGES[0], coarseLevels);
      const groups = texture.excursions(coarseLevels, coarse, coarse);
      for (const threshold of NUCLEAR_COARSE) put(...shape(groups, threshold, RANGES[0]));
      texture.weigh(planes1, TOTAL_DENSITY, density);
      texture.quantise(density, ...DENSITY_RANGE, densityLevels);
      const solid = texture.excursions(densityLevels, fine, fine);
      for (const threshold of HOLES) put(...shape(solid, threshold, DENSITY_RANGE));

      for (const stain of [0, 1] as const) put(...texture.localPatterns(levels[stain], fine, fine).map(Math.sqrt));
      put(...correlations(texture, planes1, spread1));
      put(
        ...correlations(
          texture,
          planes3,
          triple((stain) => texture.moments(planes3[stain])),
        ),
      );
      for (const stain of [0, 1] as const) {
        const { whole, local } = texture.coherence(planes2[stain], sides[2]!, sides[2]!);
        put(whole, local);
      }
      put(...nuclearAmounts(texture.members(planes1, NUCLEUS), nuclei));
    },
  };
}

const STAINS = [0, 1, 2] as const;

function triple<T>(make: (stain: 0 | 1 | 2) => T): Triple<T> {
  return [make(0), make(1), make(2)];
}

/** Area, perimeter and Euler number above a threshold; roots, because most patches have little and some have much. */
function shape({ area, perimeter, euler }: Excursions, threshold: number, range: Range): number[] {
  const t = levelOf(threshold, range);
  return [Math.sqrt(area[t]!), Math.sqrt(perimeter[t]!), Math.cbrt(euler[t]!)];
}

function correlations(texture: Texture, [h, e, r]: Triple<Float32Array>, [ofH, ofE, ofR]: Triple<Moments>): number[] {
  return [
    texture.correlation(h, e, ofH, ofE),
    texture.correlation(h, r, ofH, ofR),
    texture.correlation(e, r, ofE, ofR),
  ];
}

/** Mean and sd of haematoxylin, means of eosin and residual inside the nuclear mask; log10 of the pixels a piece. */
function nuclearAmounts(
  { count, sums: [sum, squares, eosin, residual] }: Members,
  { area, euler }: Excursions,
): number[] {
  // A few pseudo-pixels at the threshold, so that patches without nuclei have numbers too.
  const n = count + 16;
  const mean = (sum + 16 * NUCLEUS) / n;
  const variance = (squares + 16 * NUCLEUS * NUCLEUS) / n - mean * mean;
  const t = stainRules.nucleus.level;
  const piece = Math.log10((area[t]! + 1e-3) / (Math.max(0, euler[t]!) + 1e-4));
  return [mean, Math.sqrt(Math.max(0, variance)), eosin / n, residual / n, piece];
}
