/** Plain loops in double precision for the element-wise kernels and the matrix product. */
import type { Activation } from '../../../src/kernels/kernels.ts';

type Numbers = ArrayLike<number>;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
export const softplus = (x: number) => (x > 20 ? x : Math.log1p(Math.exp(x)));

/** By the series for small |x|, by a continued fraction for the rest: independent of the kernels' fits. */
export function erf(x: number): number {
  const t = Math.abs(x);
  if (t < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (t + fraction);
  return Math.sign(x) * (1 - Math.exp(-t * t) / (Math.sqrt(Math.PI) * (t + fraction)));
}

export const functions: Record<Activation, { f(x: number): number; slope(x: number): number }> = {
  gelu: {
    f: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
    slope: (x) => 0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  relu: { f: (x) => Math.max(0, x), slope: (x) => (x > 0 ? 1 : 0) },
  tanh: { f: Math.tanh, slope: (x) => 1 - Math.tanh(x) ** 2 },
  sigmoid: { f: sigmoid, slope: (x) => sigmoid(x) * (1 - sigmoid(x)) },
  silu: { f: (x) => x * sigmoid(x), slope: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))) },
  softplus: { f: softplus, slope: (x) => (x > 20 ? 1 : sigmoid(x)) },
  negExp: { f: (x) => -Math.exp(x), slope: (x) => -Math.exp(x) },
};

/** op(A) (m, k) op(B) (k, n). */
export function matmul(
  A: Numbers,
  B: Numbers,
  m: number,
  n: number,
  k: number,
  transA: boolean,
  transB: boolean,
): Float64Array {
  const C = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let p = 0; p < k; p++) {
        C[i * n + j]! += A[transA ? p * m + i : i * k + p]! * B[transB ? j * k + p : p * n + j]!;
      }
    }
  }
  return C;
}

/** The hash that decides which elements dropout drops. */
export function dropoutHash(seed: number, i: number): number {
  let h = (Math.imul(i, 0x9e3779b9) + seed) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}
