/** Layer and root-mean-square normalisation of rows (r, d), and column sums. */
import { madd } from './fma';
import { clear, shareStart, splat, sum4 } from './math';

/** Sum of a row. */
// @ts-ignore: decorator
@inline
function rowSum(x: usize, d: i32): f32 {
  let s = splat(0.0);
  let i = 0;
  for (; i + 4 <= d; i += 4) s = f32x4.add(s, v128.load(x + (<usize>i << 2)));
  let total = sum4(s);
  for (; i < d; i++) total += load<f32>(x + (<usize>i << 2));
  return total;
}

/** Sum of (x - shift)^2 over a row. */
// @ts-ignore: decorator
@inline
function rowSquares(x: usize, d: i32, shift: f32): f32 {
  const m = splat(shift);
  let s = splat(0.0);
  let i = 0;
  for (; i + 4 <= d; i += 4) {
    const v = f32x4.sub(v128.load(x + (<usize>i << 2)), m);
    s = madd(v, v, s);
  }
  let total = sum4(s);
  for (; i < d; i++) {
    const v = load<f32>(x + (<usize>i << 2)) - shift;
    total += v * v;
  }
  return total;
}

export function layerNorm(
  x: usize, weight: usize, bias: usize, y: usize, stats: usize, r: i32, d: i32, eps: f32, part: i32, parts: i32,
): void {
  const to = shareStart(r, part + 1, parts);
  for (let row = shareStart(r, part, parts); row < to; row++) {
    const from = x + (<usize>row * <usize>d << 2);
    const out = y + (<usize>row * <usize>d << 2);
    const mean: f32 = rowSum(from, d) / <f32>d;
    const rstd: f32 = <f32>1.0 / sqrt<f32>(rowSquares(from, d, mean) / <f32>d + eps);
    const m4 = splat(mean);
    const s4 = splat(rstd);
    let i = 0;
    for (; i + 4 <= d; i += 4) {
      const at = <usize>i << 2;
      const v = f32x4.mul(f32x4.sub(v128.load(from + at), m4), s4);
      v128.store(out + at, madd(v, v128.load(weight + at), v128.load(bias + at)));
    }
    for (; i < d; i++) {
      const at = <usize>i << 2;
      store<f32>(out + at, (load<f32>(from + at) - mean) * rstd * load<f32>(weight + at) + load<f32>(bias + at));
    }
    if (stats != 0) {
      store<f32>(stats + (<usize>row << 3), mean);
      store<f32>(stats + (<usize>row << 3), rstd, 4);
    }
  }
}

/** dx of the rows of this thread; dweight and dbias of this thread go to `sums` (parts, 2, d). */
export function layerNormBackward(
  x: usize, weight: usize, dy: usize, stats: usize, dx: usize, r: i32, d: i32, accumulate: i32, sums: usize, part: i32, parts: i32,
): void {
  const dweight = sums + (<usize>(2 * part * d) << 2);
  const dbias = dweight + (<usize>d << 2);
  clear(dweight, <usize>(2 * d) << 2);
  const to = shareStart(r, part + 1, parts);
  for (let row = shareStart(r, part, parts); row < to; row++) {
    const o = <usize>row * <usize>d << 2;
    const mean = load<f32>(stats + (<usize>row << 3));
    const rstd = load<f32>(stats + (<usize>row << 3), 4);
    const m4 = splat(mean);
    const s4 = splat(rstd);
    // With n = (x - mean) rstd and q = dy weight: dx = rstd (q - mean(q) - n mean(q n)).
    let q1 = splat(0.0);
    let q2 = splat(0.0);
    let i = 0;
    for (; i + 4 <= d; i += 4) {
      const at = <usize>i << 2;
      const dy4 = v128.load(dy + o + at);
      const n4 = f32x4.mul(f32x4.sub(v128.load(x + o + at), m4), s4);
      const q4 = f32x4.mul(dy4, v128.load(weight + at));
      q1 = f32x4.add(q1, q4);
      q2 = madd(q4, n4, q2);
      v128.store(dweight + at, madd(dy4, n4, v128.load(dweight + at)));
      v128.store(dbias + at, f32x4.add(v128.load(dbias + at), dy4));
    }
    let a = sum4(q1);
    let b = sum4(q2);
    for (; i < d; i++) {
      const at = <usize>i << 2;
      const g = load<f32>(dy + o + at);
      const n = (load<f32>(x + o + at) - mean) * rstd;
      const q = g * load<f32>(weight + at);
      a += q;
      b += q * n;
      store<f32>(dweight + at, load<f32>(dweight + at) + g * n);
      store<f32>(dbias + at, load<f32>(dbias + at) + g);
    }
    a /= <f32>d;
    b /= <f32>d;
    for (i = 0; i < d; i++) {
      const at = <usize>i << 2;
      const n = (load<f32>(x + o + at) - mean) * rstd;
      const v = rstd * (load<f32>(dy + o + at) * load<f32>(weight + at) - a - n * b);
      store<f32>(dx + o + at, accumulate ? load<f32>(dx + o + at) + v : v);
    }
  }
}

export function rmsNorm(
  x: usize, residual: usize, weight: usize, y: usize, sum: usize, rstds: usize, r: i32, d: i32, eps: f32, part: i32, parts: i32,
): void {
  const to = shareStart(r, part + 1, parts);
  for (let row = shareStart(r, part, parts); row < to; row++) {
    const o = <usize>row * <usize>d << 2;
    let source = x + o;
    if (residual != 0) {
      for (let i = 0; i < d; i++) {
        const at = <usize>i << 2;
        store<f32>(sum + o + at, load<f32>(x + o + at) + load<f32>(residual + o + at));
      }
      source = sum + o;
    }
    const rstd: f32 = <f32>1.0 / sqrt<f32>(rowSquares(source, d, 0.0) / <f32>d + eps);
    for (let i = 0; i < d; i++) {
      const at = <usize>i << 2;
      store<f32>(y + o + at, load<f32>(source + at) * rstd * load<f32>(weight + at));
    }
    if (rstds != 0) store<f32>(rstds + (<usize>row << 2), rstd);
  }
}

/** As `layerNormBackward`; sums (parts, d). */
export function rmsNormBackward(
  x: usize, weight: usize, dy: usize, dres: usize, rstds: usize, dx: usize, r: i32, d: i32, accumulate: i32, sums: usize,
  part: i32, parts: i32,
): void {
  const dweight = sums + (<usize>(part * d) << 2);
  clear(dweight, <usize>d << 2);
  const to = shareStart(r, part + 1, parts);
  for (let row = shareStart(r, part, parts); row < to; row++) {
    const o = <usize>row * <usize>d << 2;
    const rstd = load<f32>(rstds + (<usize>row << 2));
    let b: f32 = 0.0;
    for (let i = 0; i < d; i++) {
      const at = <usize>i << 2;
      const n = load<f32>(x + o + at) * rstd;
      const g = load<f32>(dy + o + at);
      b += g * load<f32>(weight + at) * n;
      store<f32>(dweight + at, load<f32>(dweight + at) + g * n);
    }
    b /= <f32>d;
    for (let i = 0; i < d; i++) {
      const at = <usize>i << 2;
      const n = load<f32>(x + o + at) * rstd;
      let v = rstd * (load<f32>(dy + o + at) * load<f32>(weight + at) - n * b);
      if (dres != 0) v += load<f32>(dres + o + at);
      store<f32>(dx + o + at, accumulate ? load<f32>(dx + o + at) + v : v);
    }
  }
}

/** out (c) += sum over rows of x (r, c); threads share the columns. */
export function sumRows(x: usize, out: usize, r: i32, c: i32, part: i32, parts: i32): void {
  const from = shareStart(c, part, parts);
  const to = shareStart(c, part + 1, parts);
  for (let i = 0; i < r; i++) {
    const row = x + (<usize>i * <usize>c << 2);
    let j = from;
    for (; j + 4 <= to; j += 4) {
      const at = <usize>j << 2;
      v128.store(out + at, f32x4.add(v128.load(out + at), v128.load(row + at)));
    }
    for (; j < to; j++) {
      const at = <usize>j << 2;
      store<f32>(out + at, load<f32>(out + at) + load<f32>(row + at));
    }
  }
}
