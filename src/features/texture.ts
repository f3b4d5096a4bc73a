/**
 * Texture of planes: what they are made of at each scale, in which direction they run, and the shapes that thresholds cut out.
 *
 * The loops are WebAssembly; every plane given must come from the memory of the instance that is given first.
 */
import type { PixelMemory } from './wasm/open.ts';

/** Number of levels that planes are cut into. */
export const LEVELS = 64;
/** Local binary patterns have this many classes: 0..8 neighbours at least as high in one run, and everything else. */
export const PATTERNS = 10;

/** A variance below this share of the mean square is rounding: the plane is flat, and correlates with nothing. */
const ROUNDING = 1e-6;

export interface Excursions {
  /** Share of pixels in the set. */
  readonly area: Float64Array;
  /** Sides between the set and the rest a pixel, not counting the border of the picture. */
  readonly perimeter: Float64Array;
  /** Pieces less holes a pixel. */
  readonly euler: Float64Array;
}

export interface Moments {
  readonly mean: number;
  readonly sd: number;
}

/** What lies where the first stain reaches a threshold. */
export interface Members {
  readonly count: number;
  /** Sums over the members: of the first stain, of its squares, of the second, of the third. */
  readonly sums: readonly [first: number, squares: number, second: number, third: number];
}

export interface Texture {
  /**
   * One step of the Haar transform: `half` (w/2 x h/2, rounded down) receives the means of 2 x 2 pixels.
   * @returns mean square of the detail lost: along rows or columns (edges), and across (corners).
   */
  halve(plane: Float32Array, width: number, height: number, half: Float32Array): { edge: number; corner: number };
  /** Cuts a plane into LEVELS equal steps between `low` and `high`. */
  quantise(plane: Float32Array, low: number, high: number, target: Uint8Array): void;
  /**
   * Minkowski functionals of the sets {level >= t}, for all LEVELS values of t at once: a pixel, a pair of neighbours or a
   * square of four is in the set from the level of its lowest member down.
   */
  excursions(levels: Uint8Array, width: number, height: number): Excursions;
  /** Share of the pixels at or above each level: the `area` of `excursions` alone, to the last row and column. */
  areas(levels: Uint8Array): Float64Array;
  /**
   * Shares of the rotation-invariant uniform local binary patterns (Ojala et al., PAMI 24, 2002), radius 1.
   * A neighbour counts when it is at least one level higher than the pixel, so that flat glass does not look like noise.
   */
  localPatterns(levels: Uint8Array, width: number, height: number): Float64Array;
  /**
   * How much of the gradient runs in one direction, 0 (none) to 1 (all), from the structure tensor: over the whole plane, and
   * as the mean over blocks of 8 x 8 weighted by their gradient.
   */
  coherence(plane: Float32Array, width: number, height: number): { whole: number; local: number };
  moments(plane: Float32Array): Moments;
  /** Correlation of two planes, 0 when one is flat. */
  correlation(a: Float32Array, b: Float32Array, ofA: Moments, ofB: Moments): number;
  /** target = a weights[0] + b weights[1] + c weights[2] */
  weigh(planes: readonly Float32Array[], weights: readonly number[], target: Float32Array): void;
  members(planes: readonly Float32Array[], threshold: number): Members;
}

/** @param widest the longest row of levels that will be looked at. */
export function createTexture({ loops, f64, u32, u8 }: PixelMemory, widest: number): Texture {
  const sums = f64(5);
  const counts = u32(4 * LEVELS);
  const scratch = u32(LEVELS);
  const patternCounts = u32(256);
  const line = u8(widest + 16);
  const at = ({ byteOffset }: { byteOffset: number }) => byteOffset;

  return {
    halve(plane, width, height, half) {
      loops.halve(at(plane), width, height, at(half), at(sums));
      const count = (width >> 1) * (height >> 1);
      // (a-b+c-d)^2 + (a+b-c-d)^2 = 2 ((a-d)^2 + (b-c)^2)
      return { edge: sums[0]! / (8 * count), corner: sums[1]! / (16 * count) };
    },
    quantise(plane, low, high, target) {
      loops.quantise(at(plane), target.length, low, LEVELS / (high - low), at(target));
    },
    excursions(levels, width, height) {
      loops.shapes(at(levels), width, height, at(counts));
      const [pixels, pairs, squares, sides] = [0, 1, 2, 3].map((kind) =>
        fromAbove(counts.subarray(kind * LEVELS, (kind + 1) * LEVELS), (width - 1) * (height - 1)),
      ) as [Float64Array, Float64Array, Float64Array, Float64Array];
      return {
        area: pixels,
        perimeter: sides.map((value, t) => value - pairs[t]!),
        euler: pixels.map((value, t) => value - pairs[t]! + squares[t]!),
      };
    },
    areas(levels) {
      loops.histogram(at(levels), levels.length, at(counts), at(scratch));
      return fromAbove(counts.subarray(0, LEVELS), levels.length);
    },
    localPatterns(levels, width, height) {
      loops.patterns(at(levels), width, height, at(patternCounts), at(line));
      const shares = new Float64Array(PATTERNS);
      for (const [pattern, times] of patternCounts.entries()) shares[PATTERN_CLASS[pattern]!]! += times;
      return shares.map((times) => times / ((width - 2) * (height - 2)));
    },
    coherence(plane, width, height) {
      loops.gradients(at(plane), width, height, at(sums));
      const [xx, yy, xy, aligned] = sums as unknown as [number, number, number, number];
      const energy = xx + yy + 1e-9;
      return { whole: Math.hypot(xx - yy, 2 * xy) / energy, local: aligned / energy };
    },
    moments(plane) {
      const mean = loops.total(at(plane), plane.length) / plane.length;
      const square = loops.products(at(plane), at(plane), plane.length) / plane.length;
      const variance = square - mean * mean;
      return { mean, sd: variance > ROUNDING * square ? Math.sqrt(variance) : 0 };
    },
    correlation(a, b, ofA, ofB) {
      const spread = ofA.sd * ofB.sd;
      if (spread <= 1e-6) return 0;
      return (loops.products(at(a), at(b), a.length) / a.length - ofA.mean * ofB.mean) / spread;
    },
    weigh([a, b, c], [wa, wb, wc], target) {
      loops.weigh(at(a!), at(b!), at(c!), wa!, wb!, wc!, target.length, at(target));
    },
    members([a, b, c], threshold) {
      loops.within(at(a!), at(b!), at(c!), a!.length, threshold, at(sums));
      return { count: sums[0]!, sums: [sums[1]!, sums[2]!, sums[3]!, sums[4]!] };
    },
  };
}

/** Sums from the highest level down, as shares of `count`. */
function fromAbove(histogram: Uint32Array, count: number): Float64Array {
  const sums = new Float64Array(histogram.length);
  for (let t = histogram.length - 1, sum = 0; t >= 0; t--) {
    sum += histogram[t]!;
    sums[t] = sum / count;
  }
  return sums;
}

/** Values of a plane at shares of its pixels, read from `area` of its excursions: `quantile(area, 0.05)` is low. */
export function quantile(area: Float64Array, share: number, low: number, high: number): number {
  let t = 1;
  while (t < LEVELS && area[t]! > 1 - share) t++;
  const above = t < LEVELS ? area[t]! : 0;
  const step = area[t - 1]! - above;
  const within = step > 0 ? (area[t - 1]! - (1 - share)) / step : 0;
  return low + ((high - low) * (t - 1 + within)) / LEVELS;
}

/** Class of each of the 256 patterns of eight neighbours, alike under rotation. */
const PATTERN_CLASS = Uint8Array.from({ length: 256 }, (_, pattern) => {
  const bits = Array.from({ length: 8 }, (_, i) => (pattern >> i) & 1);
  const changes = bits.filter((bit, i) => bit !== bits[(i + 1) % 8]).length;
  return changes <= 2 ? bits.filter((bit) => bit === 1).length : 9;
});
