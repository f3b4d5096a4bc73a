/**
 * C (m, n) (+)= op(A) op(B) + bias, then an activation.
 *
 * Large products: blocks of A and B are packed into panels of MR rows and NR columns, and a tile of MR x NR of C is
 * gathered in registers along k (KC at a time, the next KC are added to it). Small products (one slide's few
 * instances) skip the packing of the large operand.
 */
import { activate } from './activation';
import { madd } from './fma';
import { shareStart, splat, sum4 } from './math';

/**
 * V8 has fifteen registers to give: twelve sums, two vectors of B and one number of A, or ten where a product needs a
 * register of its own before it is added. Narrower tiles wait for their sums, wider ones spill.
 */
const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
const NR: i32 = 8;
const KC: i32 = 256;
const MC: i32 = 120;
const NC: i32 = 512;

/** Bytes of scratch that one thread needs for a large product. */
export function matmulScratch(): i32 {
  return 4 * (MC * KC + NC * KC + MR * NR) + 64;
}

export function matmul(
  A: usize, B: usize, bias: usize, C: usize,
  m: i32, n: i32, k: i32, transA: i32, transB: i32, accumulate: i32, activation: i32,
  scratch: usize, scratchBytes: i32, part: i32, parts: i32,
): void {
  // Threads share out the longer side of C, in whole tiles.
  let i0 = 0;
  let i1 = m;
  let j0 = 0;
  let j1 = n;
  if (m >= n) {
    const tiles = (m + MR - 1) / MR;
    i0 = min(m, shareStart(tiles, part, parts) * MR);
    i1 = min(m, shareStart(tiles, part + 1, parts) * MR);
  } else {
    const tiles = (n + NR - 1) / NR;
    j0 = min(n, shareStart(tiles, part, parts) * NR);
    j1 = min(n, shareStart(tiles, part + 1, parts) * NR);
  }
  if (i0 >= i1 || j0 >= j1) return;
  const packA = (scratch + <usize>part * <usize>scratchBytes + 15) & ~15;
  const packB = packA + (<usize>(MC * KC) << 2);
  const tile = packB + (<usize>(NC * KC) << 2);

  for (let jc = j0; jc < j1; jc += NC) {
    const nc = min(NC, j1 - jc);
    for (let kc = 0; kc == 0 || kc < k; kc += KC) {
      const kk = min(KC, k - kc);
      pack(B, transB ? 1 : n, transB ? k : 1, kc, kk, jc, nc, NR, packB);
      for (let ic = i0; ic < i1; ic += MC) {
        const mc = min(MC, i1 - ic);
        pack(A, transA ? m : 1, transA ? 1 : k, kc, kk, ic, mc, MR, packA);
        for (let j = 0; j < nc; j += NR) {
          for (let i = 0; i < mc; i += MR) {
            const rows = min(MR, mc - i);
            const columns = min(NR, nc - j);
            const out = C + (<usize>(ic + i) * <usize>n + <usize>(jc + j) << 2);
            const add = accumulate | i32(kc > 0);
            const a = packA + (<usize>(i * kk) << 2);
            const b = packB + (<usize>(j * kk) << 2);
            if (rows == MR && columns == NR && !add) {
              tileProduct(a, b, kk, out, <usize>n << 2);
            } else {
              tileProduct(a, b, kk, tile, NR << 2);
              putTile(tile, out, <usize>n << 2, rows, columns, add);
            }
          }
        }
      }
    }
  }
  if (bias != 0 || activation >= 0) finish(C, bias, n, i0, i1, j0, j1, activation);
}

/**
 * Panels of `width` along one side and kk along k: element (q, p) of the source, q along k, lies at
 * source + (q kStep + p pStep). Panel p / width holds its rows q one after another; missing elements are zero.
 */
function pack(source: usize, kStep: i32, pStep: i32, k0: i32, kk: i32, p0: i32, count: i32, width: i32, out: usize): void {
  for (let p = 0; p < count; p += width) {
    const w = min(width, count - p);
    const base = source + (<usize>k0 * <usize>kStep + <usize>(p0 + p) * <usize>pStep << 2);
    const panel = out + (<usize>p * <usize>kk << 2);
    if (pStep == 1 && width == NR && count - p >= 2 * NR) {
      // Two panels at once: a cache line holds a row of both.
      const next = panel + (<usize>(NR * kk) << 2);
      for (let q = 0; q < kk; q++) {
        const from = base + (<usize>q * <usize>kStep << 2);
        const at = <usize>(q * NR) << 2;
        v128.store(panel + at, v128.load(from));
        v128.store(panel + at, v128.load(from, 16), 16);
        v128.store(next + at, v128.load(from, 32));
        v128.store(next + at, v128.load(from, 48), 16);
      }
      p += NR;
      continue;
    }
    if (pStep == 1 && width == MR && w == MR) {
      for (let q = 0; q < kk; q++) {
        const from = base + (<usize>q * <usize>kStep << 2);
        const to = panel + (<usize>(q * MR) << 2);
        v128.store(to, v128.load(from));
        for (let r = 4; r < MR; r++) store<f32>(to + (<usize>r << 2), load<f32>(from + (<usize>r << 2)));
      }
      continue;
    }
    for (let r = 0; r < w; r++) {
      const from = base + (<usize>r * <usize>pStep << 2);
      const to = panel + (<usize>r << 2);
      for (let q = 0; q < kk; q++) {
        store<f32>(to + (<usize>(q * width) << 2), load<f32>(from + (<usize>q * <usize>kStep << 2)));
      }
    }
    for (let r = w; r < width; r++) {
      for (let q = 0; q < kk; q++) store<f32>(panel + (<usize>(q * width + r) << 2), 0.0);
    }
  }
}

/**
 * MR x NR of C from one panel of A and one of B. Sums are stored and no more: if C were read or branched upon here, V8 would
 * keep them in memory all along (half the speed).
 */
function tileProduct(a: usize, b: usize, k: i32, C: usize, stride: usize): void {
  let c00 = splat(0.0); let c01 = splat(0.0);
  let c10 = splat(0.0); let c11 = splat(0.0);
  let c20 = splat(0.0); let c21 = splat(0.0);
  let c30 = splat(0.0); let c31 = splat(0.0);
  let c40 = splat(0.0); let c41 = splat(0.0);
  let c50 = splat(0.0); let c51 = splat(0.0);
  for (let q = 0; q < k; q++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let s = v128.load32_splat(a);
    c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
    s = v128.load32_splat(a, 4);
    c10 = madd(s, b0, c10); c11 = madd(s, b1, c11);
    s = v128.load32_splat(a, 8);
    c20 = madd(s, b0, c20); c21 = madd(s, b1, c21);
    s = v128.load32_splat(a, 12);
    c30 = madd(s, b0, c30); c31 = madd(s, b1, c31);
    s = v128.load32_splat(a, 16);
    c40 = madd(s, b0, c40); c41 = madd(s, b1, c41);
    if (MR == 6) {
      s = v128.load32_splat(a, 20);
      c50 = madd(s, b0, c50); c51 = madd(s, b1, c51);
    }
    a += MR << 2;
    b += NR << 2;
  }
  v128.store(C, c00); v128.store(C, c01, 16);
  C += stride;
  v128.store(C, c10); v128.store(C, c11, 16);
  C += stride;
  v128.store(C, c20); v128.store(C, c21, 16);
  C += stride;
  v128.store(C, c30); v128.store(C, c31, 16);
  C += stride;
  v128.store(C, c40); v128.store(C, c41, 16);
  if (MR == 6) {
    C += stride;
    v128.store(C, c50); v128.store(C, c51, 16);
  }
}

/** The part of a tile that C has, written or added. */
function putTile(tile: usize, C: usize, stride: usize, rows: i32, columns: i32, add: i32): void {
  for (let r = 0; r < rows; r++, tile += NR << 2, C += stride) {
    if (columns == NR) put(C, v128.load(tile), v128.load(tile, 16), add);
    else for (let c = 0; c < columns; c++) put1(C + (<usize>c << 2), load<f32>(tile + (<usize>c << 2)), add);
  }
}

// @ts-ignore: decorator
@inline
function put(C: usize, v0: v128, v1: v128, add: i32): void {
  if (add) {
    v0 = f32x4.add(v128.load(C), v0);
    v1 = f32x4.add(v128.load(C, 16), v1);
  }
  v128.store(C, v0);
  v128.store(C, v1, 16);
}

/** Bias and activation over a window of C. */
function finish(C: usize, bias: usize, n: i32, i0: i32, i1: i32, j0: i32, j1: i32, activation: i32): void {
  for (let i = i0; i < i1; i++) {
    const row = C + (<usize>i * <usize>n << 2);
    let j = j0;
    for (; j + 4 <= j1; j += 4) {
      const at = <usize>j << 2;
      let v = v128.load(row + at);
      if (bias != 0) v = f32x4.add(v, v128.load(bias + at));
      v128.store(row + at, activation >= 0 ? activate(activation, v) : v);
    }
    for (; j < j1; j++) {
      const at = <usize>j << 2;
      let v = load<f32>(row + at);
      if (bias != 0) v += load<f32>(bias + at);
      store<f32>(row + at, activation >= 0 ? f32x4.extract_lane(activate(activation, splat(v)), 0) : v);
    }
  }
}

/** Floats of scratch that `matmulSmall` needs: a transposed copy of one operand. */
export function matmulSmallScratch(m: i32, n: i32, k: i32, transA: i32, transB: i32): i32 {
  return dots(n, k, transB) ? (transA ? m * k : 0) + (transB ? 0 : n * k) : transB ? k * n : 0;
}

/** Whether rows of A and rows of B' are multiplied along k (else: rows of B are added up). */
// @ts-ignore: decorator
@inline
function dots(n: i32, k: i32, transB: i32): bool {
  return k >= 16 && (transB != 0 || n < 8);
}

/** The same for small sizes, on one thread. */
export function matmulSmall(
  A: usize, B: usize, bias: usize, C: usize,
  m: i32, n: i32, k: i32, transA: i32, transB: i32, accumulate: i32, activation: i32, scratch: usize,
): void {
  if (dots(n, k, transB)) {
    if (transA) {
      transposeTo(A, k, m, scratch);
      A = scratch;
      scratch += <usize>(m * k) << 2;
    }
    if (!transB) {
      transposeTo(B, k, n, scratch);
      B = scratch;
    }
    productOfRows(A, B, C, m, n, k, accumulate);
  } else {
    if (transB) {
      transposeTo(B, n, k, scratch);
      B = scratch;
    }
    sumsOfRows(A, transA ? m : 1, transA ? 1 : k, B, C, m, n, k, accumulate);
  }
  if (bias != 0 || activation >= 0) finish(C, bias, n, 0, m, 0, n, activation);
}

/** out (c, r) = x (r, c). */
export function transposeTo(x: usize, r: i32, c: i32, out: usize): void {
  for (let i = 0; i < r; i++) {
    const from = x + (<usize>i * <usize>c << 2);
    for (let j = 0; j < c; j++) store<f32>(out + (<usize>j * <usize>r + <usize>i << 2), load<f32>(from + (<usize>j << 2)));
  }
}

/** C_ij (+)= sum_q A_iq B_jq, rows of k each: two rows of A by two of B at a time. */
function productOfRows(A: usize, B: usize, C: usize, m: i32, n: i32, k: i32, accumulate: i32): void {
  const row = <usize>k << 2;
  const whole = k & ~3;
  for (let i = 0; i < m; i += 2) {
    const a0 = A + <usize>i * row;
    const a1 = i + 1 < m ? a0 + row : a0;
    for (let j = 0; j < n; j += 2) {
      const b0 = B + <usize>j * row;
      const b1 = j + 1 < n ? b0 + row : b0;
      let s00 = splat(0.0);
      let s01 = splat(0.0);
      let s10 = splat(0.0);
      let s11 = splat(0.0);
      for (let q = 0; q < whole; q += 4) {
        const at = <usize>q << 2;
        const x0 = v128.load(a0 + at);
        const x1 = v128.load(a1 + at);
        const y0 = v128.load(b0 + at);
        const y1 = v128.load(b1 + at);
        s00 = madd(x0, y0, s00);
        s01 = madd(x0, y1, s01);
        s10 = madd(x1, y0, s10);
        s11 = madd(x1, y1, s11);
      }
      let t00 = sum4(s00);
      let t01 = sum4(s01);
      let t10 = sum4(s10);
      let t11 = sum4(s11);
      for (let q = whole; q < k; q++) {
        const at = <usize>q << 2;
        t00 += load<f32>(a0 + at) * load<f32>(b0 + at);
        t01 += load<f32>(a0 + at) * load<f32>(b1 + at);
        t10 += load<f32>(a1 + at) * load<f32>(b0 + at);
        t11 += load<f32>(a1 + at) * load<f32>(b1 + at);
      }
      const out = C + (<usize>i * <usize>n + <usize>j << 2);
      put1(out, t00, accumulate);
      if (j + 1 < n) put1(out + 4, t01, accumulate);
      if (i + 1 < m) {
        const below = out + (<usize>n << 2);
        put1(below, t10, accumulate);
        if (j + 1 < n) put1(below + 4, t11, accumulate);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function put1(at: usize, v: f32, add: i32): void {
  store<f32>(at, add ? load<f32>(at) + v : v);
}

/** C_i (+)= sum_q A_iq B_q with rows B_q of n; A_iq lies at i iStep + q qStep. Four rows of C by eight columns at a time. */
function sumsOfRows(A: usize, qStep: i32, iStep: i32, B: usize, C: usize, m: i32, n: i32, k: i32, accumulate: i32): void {
  const row = <usize>n << 2;
  const aq = <usize>qStep << 2;
  const ai = <usize>iStep << 2;
  for (let i = 0; i < m; i += 4) {
    const rows = min(4, m - i);
    const a0 = A + <usize>i * ai;
    const a1 = rows > 1 ? a0 + ai : a0;
    const a2 = rows > 2 ? a1 + ai : a0;
    const a3 = rows > 3 ? a2 + ai : a0;
    const c = C + <usize>i * row;
    let j = 0;
    for (; j + 8 <= n; j += 8) {
      const at = <usize>j << 2;
      let s00 = splat(0.0); let s01 = splat(0.0);
      let s10 = splat(0.0); let s11 = splat(0.0);
      let s20 = splat(0.0); let s21 = splat(0.0);
      let s30 = splat(0.0); let s31 = splat(0.0);
      let b = B + at;
      for (let q = 0; q < k; q++) {
        const b0 = v128.load(b);
        const b1 = v128.load(b, 16);
        b += row;
        const o = <usize>q * aq;
        let x = v128.load32_splat(a0 + o);
        s00 = madd(x, b0, s00); s01 = madd(x, b1, s01);
        x = v128.load32_splat(a1 + o);
        s10 = madd(x, b0, s10); s11 = madd(x, b1, s11);
        x = v128.load32_splat(a2 + o);
        s20 = madd(x, b0, s20); s21 = madd(x, b1, s21);
        x = v128.load32_splat(a3 + o);
        s30 = madd(x, b0, s30); s31 = madd(x, b1, s31);
      }
      put(c + at, s00, s01, accumulate);
      if (rows > 1) put(c + row + at, s10, s11, accumulate);
      if (rows > 2) put(c + 2 * row + at, s20, s21, accumulate);
      if (rows > 3) put(c + 3 * row + at, s30, s31, accumulate);
    }
    for (; j < n; j++) {
      const at = <usize>j << 2;
      for (let r = 0; r < rows; r++) {
        let s: f32 = 0.0;
        for (let q = 0; q < k; q++) s += load<f32>(a0 + <usize>r * ai + <usize>q * aq) * load<f32>(B + <usize>q * row + at);
        put1(c + <usize>r * row + at, s, accumulate);
      }
    }
  }
}
