/**
 * Selective scan, forward-only or LB (lbmamba-scan.md §2-4), channel-major.
 *
 * A vector holds four channels. The tokens come in blocks of `chunk` segments; for a block, a thread lays B and C out in
 * scan order once and then serves all its channels, so that B and C are read from memory once per thread. For four channels
 * and four states at a time, each segment is passed over twice while it lies in the first cache:
 *
 *   right to left   a_t = exp2(Delta_t A log2 e), b_t = Delta_t u_t B_t;  LB: q_t = b_t + a_t q_{t+1}, so r_t = a_t q_{t+1}
 *   left to right   f_t = a_t f_{t-1} + b_t;   h_t = a_t f_{t-1} + q_t = f_t + r_t;   p_t += C_t h_t
 *
 * Forward-only is the same with q = b: LB costs one multiplication and two additions per state, and no memory pass.
 */
import { madd } from './fma';
import { clear, exp2Negative, LOG2E, shareStart, sigmoid, softplus, splat } from './math';

export const REVERSED: i32 = 4;
export const LAST_OF_BAG: i32 = 2;
export const FIRST_OF_BAG: i32 = 1;

/** Decays below 2^-80 are taken as 2^-80: nothing of the state is left, and products do not become denormal, which is slow. */
export const LEAST_EXPONENT: f32 = -80.0;

/** Bytes of scratch that one thread needs; f64, for long segments need more than an i32 can say. */
export function selectiveScanScratch(D: i32, L: i32, N: i32, chunk: i32, longest: i32): f64 {
  const T = <f64>blockCapacity(L, chunk, longest);
  const states = <f64>((N + 3) & ~3);
  const groups = <f64>((D + 3) >> 2);
  return 16 * (4 * T + 12 * <f64>longest + states + states * groups) + 4 * (T + 2 * states * T) + 64;
}

/** Tokens of the longest block. */
// @ts-ignore: decorator
@inline
export function blockCapacity(L: i32, chunk: i32, longest: i32): i32 {
  return <i32>min<i64>(L, <i64>chunk * longest);
}

/** Four channels of one token. */
// @ts-ignore: decorator
@inline
export function gather4(r0: usize, r1: usize, r2: usize, r3: usize, at: usize): v128 {
  let v = v128.load32_zero(r0 + at);
  v = v128.load_lane<f32>(r1 + at, v, 1);
  v = v128.load_lane<f32>(r2 + at, v, 2);
  return v128.load_lane<f32>(r3 + at, v, 3);
}

/** Writes the first `count` lanes of a token to their channels. */
// @ts-ignore: decorator
@inline
export function scatter4(r0: usize, r1: usize, r2: usize, r3: usize, at: usize, v: v128, count: i32): void {
  v128.store_lane<f32>(r0 + at, v, 0);
  if (count > 1) v128.store_lane<f32>(r1 + at, v, 1);
  if (count > 2) v128.store_lane<f32>(r2 + at, v, 2);
  if (count > 3) v128.store_lane<f32>(r3 + at, v, 3);
}

/** Token indices of segments s0..s1 in scan order, as byte offsets into a channel's row; returns how many. */
// @ts-ignore: decorator
@inline
export function listTokens(segments: usize, s0: i32, s1: i32, out: usize): i32 {
  let T = 0;
  for (let s = s0; s < s1; s++) {
    const entry = segments + (<usize>s << 4);
    const first = load<i32>(entry);
    const count = load<i32>(entry, 4);
    const step = (load<i32>(entry, 8) & REVERSED) != 0 ? -1 : 1;
    for (let i = 0; i < count; i++, T++) store<i32>(out + (<usize>T << 2), (first + i * step) << 2);
  }
  return T;
}

/** Rows of B or C (N, L) at the listed tokens, to (states, stride); rows past N are zero. */
export function layOut(source: usize, N: i32, states: i32, L: i32, tokens: usize, T: i32, out: usize, stride: i32): void {
  for (let n = 0; n < states; n++) {
    const to = out + (<usize>(n * stride) << 2);
    if (n >= N) {
      clear(to, <usize>T << 2);
      continue;
    }
    const row = source + (<usize>n * <usize>L << 2);
    for (let i = 0; i < T; i++) store<f32>(to + (<usize>i << 2), load<f32>(row + <usize>load<u32>(tokens + (<usize>i << 2))));
  }
}

/** A log2 e of four channels, (states) vectors; states past N are zero. */
export function layOutA(A: usize, c: i32, D: i32, N: i32, states: i32, out: usize): void {
  const last = D - 1;
  const r0 = A + (<usize>(c * N) << 2);
  const r1 = A + (<usize>(min(c + 1, last) * N) << 2);
  const r2 = A + (<usize>(min(c + 2, last) * N) << 2);
  const r3 = A + (<usize>(min(c + 3, last) * N) << 2);
  for (let n = 0; n < states; n++) {
    const at = <usize>n << 2;
    v128.store(out + (<usize>n << 4), n < N ? f32x4.mul(gather4(r0, r1, r2, r3, at), splat(LOG2E)) : splat(0.0));
  }
}

/** A row (D) at four channels. */
// @ts-ignore: decorator
@inline
export function four(row: usize, c: i32, D: i32): v128 {
  const last = D - 1;
  return gather4(
    row + (<usize>c << 2), row + (<usize>min(c + 1, last) << 2), row + (<usize>min(c + 2, last) << 2),
    row + (<usize>min(c + 3, last) << 2), 0,
  );
}

/** Puts states (bags or chunks, D, N) of one of them into (states) vectors of four channels, or zeros. */
export function loadState(from: usize, bag: i32, c: i32, D: i32, N: i32, states: i32, out: usize): void {
  if (from == 0) {
    clear(out, <usize>states << 4);
    return;
  }
  const last = D - 1;
  for (let n = 0; n < states; n++) {
    for (let j = 0; j < 4; j++) {
      const row = from + (<usize>((bag * D + min(c + j, last)) * N) << 2);
      store<f32>(out + (<usize>(n * 4 + j) << 2), n < N ? load<f32>(row + (<usize>n << 2)) : <f32>0.0);
    }
  }
}

function saveState(state: usize, bag: i32, c: i32, D: i32, N: i32, to: usize): void {
  for (let j = 0; j < min(4, D - c); j++) {
    const row = to + (<usize>((bag * D + c + j) * N) << 2);
    for (let n = 0; n < N; n++) store<f32>(row + (<usize>n << 2), load<f32>(state + (<usize>(n * 4 + j) << 2)));
  }
}

export function selectiveScan(
  u: usize, delta: usize, A: usize, B: usize, C: usize, skip: usize, z: usize, deltaBias: usize, segments: usize,
  stateIn: usize, y: usize, carries: usize, stateOut: usize,
  D: i32, L: i32, N: i32, segmentCount: i32, longest: i32, local: i32, useSoftplus: i32,
  chunk: i32, scratch: usize, scratchBytes: i32, part: i32, parts: i32,
): void {
  const groups = (D + 3) >> 2;
  const g0 = shareStart(groups, part, parts);
  const g1 = shareStart(groups, part + 1, parts);
  if (g0 == g1) return;
  const states = (N + 3) & ~3;
  const capacity = blockCapacity(L, chunk, longest);

  // Scratch of this thread: Delta, Delta u, p, gate; a, b, q of four states; A; f; B and C in scan order; token offsets.
  const Delta = (scratch + <usize>part * <usize>scratchBytes + 15) & ~15;
  const du = Delta + (<usize>capacity << 4);
  const p = du + (<usize>capacity << 4);
  const gate = p + (<usize>capacity << 4);
  const abq = gate + (<usize>capacity << 4);
  const A2 = abq + (<usize>(12 * longest) << 4);
  const f = A2 + (<usize>states << 4);
  const Bs = f + (<usize>(states * (g1 - g0)) << 4);
  const Cs = Bs + (<usize>(states * capacity) << 2);
  const tokens = Cs + (<usize>(states * capacity) << 2);

  const row = <usize>L << 2;
  let block = 0;
  for (let s0 = 0; s0 < segmentCount; s0 += chunk, block++) {
    const s1 = min(s0 + chunk, segmentCount);
    const T = listTokens(segments, s0, s1, tokens);
    const stride = T;
    layOut(B, N, states, L, tokens, T, Bs, stride);
    layOut(C, N, states, L, tokens, T, Cs, stride);

    for (let g = g0; g < g1; g++) {
      const c = g << 2;
      const lanes = min(4, D - c);
      const o0 = <usize>c * row;
      const o1 = <usize>min(c + 1, D - 1) * row;
      const o2 = <usize>min(c + 2, D - 1) * row;
      const o3 = <usize>min(c + 3, D - 1) * row;
      const state = f + (<usize>((g - g0) * states) << 4);
      layOutA(A, c, D, N, states, A2);
      const bias = deltaBias != 0 ? four(deltaBias, c, D) : splat(0.0);
      const skip4 = skip != 0 ? four(skip, c, D) : splat(0.0);
      for (let i = 0; i < T; i++) {
        const t = <usize>load<u32>(tokens + (<usize>i << 2));
        const at = <usize>i << 4;
        const u4 = gather4(u + o0, u + o1, u + o2, u + o3, t);
        let d4 = f32x4.add(gather4(delta + o0, delta + o1, delta + o2, delta + o3, t), bias);
        if (useSoftplus) d4 = softplus(d4);
        v128.store(Delta + at, d4);
        v128.store(du + at, f32x4.mul(d4, u4));
        v128.store(p + at, f32x4.mul(skip4, u4));
        if (z != 0) {
          const z4 = gather4(z + o0, z + o1, z + o2, z + o3, t);
          v128.store(gate + at, f32x4.mul(z4, sigmoid(z4)));
        }
      }

      let i0 = 0;
      for (let s = s0; s < s1; s++) {
        const entry = segments + (<usize>s << 4);
        const count = load<i32>(entry, 4);
        const flags = load<i32>(entry, 8);
        const bag = load<i32>(entry, 12);
        if (flags & FIRST_OF_BAG) loadState(stateIn, bag, c, D, N, states, state);
        if (s == s0 && carries != 0) saveState(state, block, c, D, N, carries);
        for (let n = 0; n < states; n += 4) {
          scanSegment(
            Delta + (<usize>i0 << 4), du + (<usize>i0 << 4), p + (<usize>i0 << 4),
            Bs + (<usize>(n * stride + i0) << 2), Cs + (<usize>(n * stride + i0) << 2), <usize>stride << 2,
            A2 + (<usize>n << 4), state + (<usize>n << 4), abq, count, local,
          );
        }
        if (stateOut != 0 && flags & LAST_OF_BAG) saveState(state, bag, c, D, N, stateOut);
        i0 += count;
      }

      for (let i = 0; i < T; i++) {
        const at = <usize>i << 4;
        let v = v128.load(p + at);
        if (z != 0) v = f32x4.mul(v, v128.load(gate + at));
        scatter4(y + o0, y + o1, y + o2, y + o3, <usize>load<u32>(tokens + (<usize>i << 2)), v, lanes);
      }
    }
  }
}

/** One segment of four channels and four states; see the head of this file. */
// @ts-ignore: decorator
@inline
function scanSegment(
  Delta: usize, du: usize, p: usize, B: usize, C: usize, stride: usize, A2: usize, state: usize, abq: usize, count: i32, local: i32,
): void {
  const A0 = v128.load(A2, 0);
  const A1 = v128.load(A2, 16);
  const A2_ = v128.load(A2, 32);
  const A3 = v128.load(A2, 48);
  let q0 = splat(0.0);
  let q1 = splat(0.0);
  let q2 = splat(0.0);
  let q3 = splat(0.0);
  const least = splat(LEAST_EXPONENT);
  for (let i = count - 1; i >= 0; i--) {
    const D4 = v128.load(Delta + (<usize>i << 4));
    const x4 = v128.load(du + (<usize>i << 4));
    const to = abq + <usize>i * 192;
    const b = B + (<usize>i << 2);
    const a0 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A0), least));
    const b0 = f32x4.mul(x4, v128.load32_splat(b));
    v128.store(to, a0, 0);
    v128.store(to, b0, 16);
    const a1 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A1), least));
    const b1 = f32x4.mul(x4, v128.load32_splat(b + stride));
    v128.store(to, a1, 48);
    v128.store(to, b1, 64);
    const a2 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A2_), least));
    const b2 = f32x4.mul(x4, v128.load32_splat(b + 2 * stride));
    v128.store(to, a2, 96);
    v128.store(to, b2, 112);
    const a3 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A3), least));
    const b3 = f32x4.mul(x4, v128.load32_splat(b + 3 * stride));
    v128.store(to, a3, 144);
    v128.store(to, b3, 160);
    if (local) {
      q0 = madd(a0, q0, b0);
      q1 = madd(a1, q1, b1);
      q2 = madd(a2, q2, b2);
      q3 = madd(a3, q3, b3);
      v128.store(to, q0, 32);
      v128.store(to, q1, 80);
      v128.store(to, q2, 128);
      v128.store(to, q3, 176);
    }
  }
  let f0 = v128.load(state, 0);
  let f1 = v128.load(state, 16);
  let f2 = v128.load(state, 32);
  let f3 = v128.load(state, 48);
  for (let i = 0; i < count; i++) {
    const from = abq + <usize>i * 192;
    const cc = C + (<usize>i << 2);
    const at = p + (<usize>i << 4);
    const a0 = v128.load(from, 0);
    const a1 = v128.load(from, 48);
    const a2 = v128.load(from, 96);
    const a3 = v128.load(from, 144);
    const b0 = v128.load(from, 16);
    const b1 = v128.load(from, 64);
    const b2 = v128.load(from, 112);
    const b3 = v128.load(from, 160);
    const next0 = madd(a0, f0, b0);
    const next1 = madd(a1, f1, b1);
    const next2 = madd(a2, f2, b2);
    const next3 = madd(a3, f3, b3);
    let h0 = next0;
    let h1 = next1;
    let h2 = next2;
    let h3 = next3;
    if (local) {
      h0 = madd(a0, f0, v128.load(from, 32));
      h1 = madd(a1, f1, v128.load(from, 80));
      h2 = madd(a2, f2, v128.load(from, 128));
      h3 = madd(a3, f3, v128.load(from, 176));
    }
    f0 = next0;
    f1 = next1;
    f2 = next2;
    f3 = next3;
    const s01 = madd(h0, v128.load32_splat(cc), f32x4.mul(h1, v128.load32_splat(cc + stride)));
    const s23 = madd(h2, v128.load32_splat(cc + 2 * stride), f32x4.mul(h3, v128.load32_splat(cc + 3 * stride)));
    v128.store(at, f32x4.add(v128.load(at), f32x4.add(s01, s23)));
  }
  v128.store(state, f0, 0);
  v128.store(state, f1, 16);
  v128.store(state, f2, 32);
  v128.store(state, f3, 48);
}
