/**
 * Pictures to another size as Pillow does it, whose results the encoders were trained on: separable, the filter widened by
 * the reduction (antialiasing), bytes between the two passes. Bicubic is Keys' with a = -0.5.
 */
import type { Interpolation } from './recipe.ts';

const FILTERS: Readonly<Record<Interpolation, { readonly reach: number; weight(x: number): number }>> = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    reach: 2,
    weight: (x) => {
      const d = Math.abs(x);
      if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
      return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
    },
  },
};

/** Pixels and weights of each of the new pixels along one side. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `widest` weights for each of them. */
  readonly weights: Float32Array;
  readonly widest: number;
}

/** @returns resizes a square RGB picture of `from` px into one of `to` px. */
export function createResize(
  from: number,
  to: number,
  interpolation: Interpolation,
): (source: Uint8Array, target: Uint8Array) => void {
  const taps = tapsOf(from, to, interpolation);
  const wide = new Uint8ClampedArray(from * to * 3);
  const result = new Uint8ClampedArray(to * to * 3);
  return (source, target) => {
    pass(source, 3, from * 3, from, wide, 3, to * 3, to, taps);
    pass(wide, to * 3, 3, to, result, to * 3, 3, to, taps);
    target.set(result);
  };
}

function tapsOf(from: number, to: number, interpolation: Interpolation): Taps {
  const { reach, weight } = FILTERS[interpolation];
  const scale = from / to;
  const widening = Math.max(1, scale);
  const support = reach * widening;
  const widest = 2 * Math.ceil(support) + 1;
  const taps = {
    first: new Int32Array(to),
    count: new Int32Array(to),
    weights: new Float32Array(to * widest),
    widest,
  };
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => weight((first + k + 0.5 - centre) / widening));
    const total = weights.reduce((sum, one) => sum + one, 0);
    taps.first[i] = first;
    taps.count[i] = end - first;
    taps.weights.set(
      weights.map((one) => one / total),
      i * widest,
    );
  }
  return taps;
}

/** Resizes along one side: `step` bytes from pixel to pixel along it, `stride` from one line to the next. */
function pass(
  source: Uint8Array | Uint8ClampedArray,
  step: number,
  stride: number,
  lines: number,
  target: Uint8ClampedArray,
  targetStep: number,
  targetStride: number,
  length: number,
  { first, count, weights, widest }: Taps,
): void {
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < length; i++) {
      let from = line * stride + first[i]! * step;
      let [r, g, b] = [0, 0, 0];
      for (let k = i * widest, end = k + count[i]!; k < end; k++) {
        const w = weights[k]!;
        r += w * source[from]!;
        g += w * source[from + 1]!;
        b += w * source[from + 2]!;
        from += step;
      }
      const to = line * targetStride + i * targetStep;
      target[to] = r;
      target[to + 1] = g;
      target[to + 2] = b;
    }
  }
}
