/** The loops of `src/features/texture.ts` written plainly: what they are measured by. */
import { type Excursions, LEVELS, type Moments, PATTERNS } from '../../../src/features/texture.ts';

/**
 * One step of the Haar transform: `half` (w/2 x h/2, rounded down) receives the means of 2 x 2 pixels.
 * @returns mean square of the detail lost: along rows or columns (edges), and across (corners).
 */
export function halve(
  plane: Float32Array,
  width: number,
  height: number,
  half: Float32Array,
): { edge: number; corner: number } {
  const columns = width >> 1;
  const rows = height >> 1;
  let edge = 0;
  let corner = 0;
  for (let row = 0, target = 0; row < rows; row++) {
    for (let i = 2 * row * width, end = i + 2 * columns; i < end; i += 2) {
      const a = plane[i]!;
      const b = plane[i + 1]!;
      const c = plane[i + width]!;
      const d = plane[i + width + 1]!;
      const rising = a - d;
      const falling = b - c;
      half[target++] = 0.25 * (a + b + c + d);
      // (a-b+c-d)^2 + (a+b-c-d)^2 = 2 ((a-d)^2 + (b-c)^2)
      edge += rising * rising + falling * falling;
      const cross = a - b - c + d;
      corner += cross * cross;
    }
  }
  const count = rows * columns;
  return { edge: edge / (8 * count), corner: corner / (16 * count) };
}

/** Cuts a plane into LEVELS equal steps between `low` and `high`. */
export function quantise(plane: Float32Array, low: number, high: number, target: Uint8Array): void {
  const scale = LEVELS / (high - low);
  for (let i = 0; i < target.length; i++) {
    const level = (plane[i]! - low) * scale;
    target[i] = level <= 0 ? 0 : level >= LEVELS ? LEVELS - 1 : level;
  }
}

/**
 * Minkowski functionals of the sets {level >= t}, for all LEVELS values of t at once: a pixel, a pair of neighbours or a square
 * of four is in the set from the level of its lowest member down.
 */
export function excursions(levels: Uint8Array, width: number, height: number): Excursions {
  const pixels = new Uint32Array(LEVELS);
  const pairs = new Uint32Array(LEVELS);
  const squares = new Uint32Array(LEVELS);
  // A side is border when only the higher of its two pixels reaches t.
  const sides = new Uint32Array(LEVELS);
  for (let y = 0; y + 1 < height; y++) {
    let a = levels[y * width]!;
    let ac = lower(a, levels[(y + 1) * width]!);
    for (let i = y * width + 1, end = i + width - 1; i < end; i++) {
      const b = levels[i]!;
      const bd = lower(b, levels[i + width]!);
      const ab = lower(a, b);
      pixels[a]!++;
      pairs[ab]!++;
      pairs[ac]!++;
      squares[lower(ac, bd)]!++;
      sides[a + b - ab]!++;
      sides[a + levels[i + width - 1]! - ac]!++;
      a = b;
      ac = bd;
    }
  }
  const count = (width - 1) * (height - 1);
  const area = fromAbove(pixels, count);
  const inPairs = fromAbove(pairs, count);
  const inSquares = fromAbove(squares, count);
  const touching = fromAbove(sides, count);
  return {
    area,
    perimeter: touching.map((value, t) => value - inPairs[t]!),
    euler: area.map((value, t) => value - inPairs[t]! + inSquares[t]!),
  };
}

/** The lesser of two small whole numbers without a branch: levels of neighbours are hard to predict. */
function lower(a: number, b: number): number {
  const difference = a - b;
  return b + (difference & (difference >> 31));
}

/** Share of the pixels at or above each level: the `area` of `excursions` alone, to the last row and column. */
export function areas(levels: Uint8Array): Float64Array {
  const pixels = new Uint32Array(LEVELS);
  for (let i = 0; i < levels.length; i++) pixels[levels[i]!]!++;
  return fromAbove(pixels, levels.length);
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

/** Class of each of the 256 patterns of eight neighbours, alike under rotation. */
const PATTERN_CLASS = Uint8Array.from({ length: 256 }, (_, pattern) => {
  const bits = Array.from({ length: 8 }, (_, i) => (pattern >> i) & 1);
  const changes = bits.filter((bit, i) => bit !== bits[(i + 1) % 8]).length;
  return changes <= 2 ? bits.filter((bit) => bit === 1).length : 9;
});

/**
 * Shares of the rotation-invariant uniform local binary patterns (Ojala et al., PAMI 24, 2002), radius 1.
 * A neighbour counts when it is at least one level higher than the pixel, so that flat glass does not look like noise.
 */
export function localPatterns(levels: Uint8Array, width: number, height: number): Float64Array {
  const counts = new Uint32Array(PATTERNS);
  for (let y = 1; y + 1 < height; y++) {
    for (let i = y * width + 1, end = i + width - 2; i < end; i++) {
      const centre = levels[i]!;
      // The sign bit of centre - neighbour is set when the neighbour is higher.
      const pattern =
        ((centre - levels[i - width - 1]!) >>> 31) |
        (((centre - levels[i - width]!) >>> 31) << 1) |
        (((centre - levels[i - width + 1]!) >>> 31) << 2) |
        (((centre - levels[i + 1]!) >>> 31) << 3) |
        (((centre - levels[i + width + 1]!) >>> 31) << 4) |
        (((centre - levels[i + width]!) >>> 31) << 5) |
        (((centre - levels[i + width - 1]!) >>> 31) << 6) |
        (((centre - levels[i - 1]!) >>> 31) << 7);
      counts[PATTERN_CLASS[pattern]!]!++;
    }
  }
  const count = (width - 2) * (height - 2);
  return Float64Array.from(counts, (value) => value / count);
}

/** Side of the blocks in which `coherence` looks for a common direction. */
const BLOCK = 8;

/**
 * How much of the gradient runs in one direction, 0 (none) to 1 (all), from the structure tensor: over the whole plane, and
 * as the mean over blocks weighted by their gradient.
 */
export function coherence(plane: Float32Array, width: number, height: number): { whole: number; local: number } {
  let [allXX, allYY, allXY, aligned] = [0, 0, 0, 0];
  for (let top = 1; top + BLOCK < height; top += BLOCK) {
    for (let left = 1; left + BLOCK < width; left += BLOCK) {
      let [xx, yy, xy] = [0, 0, 0];
      for (let y = top; y < top + BLOCK; y++) {
        for (let i = y * width + left, end = i + BLOCK; i < end; i++) {
          const dx = plane[i + 1]! - plane[i - 1]!;
          const dy = plane[i + width]! - plane[i - width]!;
          xx += dx * dx;
          yy += dy * dy;
          xy += dx * dy;
        }
      }
      allXX += xx;
      allYY += yy;
      allXY += xy;
      aligned += Math.hypot(xx - yy, 2 * xy);
    }
  }
  const energy = allXX + allYY + 1e-9;
  return { whole: Math.hypot(allXX - allYY, 2 * allXY) / energy, local: aligned / energy };
}

export function moments(plane: Float32Array): Moments {
  const { length } = plane;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < length; i++) {
    sum += plane[i]!;
    squares += plane[i]! * plane[i]!;
  }
  const mean = sum / length;
  return { mean, sd: Math.sqrt(Math.max(0, squares / length - mean * mean)) };
}

/** Correlation of two planes, 0 when one is flat. */
export function correlation(a: Float32Array, b: Float32Array, ofA: Moments, ofB: Moments): number {
  const { length } = a;
  let products = 0;
  for (let i = 0; i < length; i++) products += a[i]! * b[i]!;
  const spread = ofA.sd * ofB.sd;
  return spread > 1e-6 ? (products / length - ofA.mean * ofB.mean) / spread : 0;
}
