/**
 * Gradients of the selective scan (lbmamba-scan.md §5), channel-major, with the same blocks, channels and lanes as the
 * forward kernel. Blocks go right to left; states are computed again from the carry that the forward pass saved.
 * For four channels and four states, a block is passed over three times while it lies in the first cache:
 *
 *   1. right to left in each segment   a, b;  q_t = b_t + r_t,  r_t = a_t q_{t+1}                                  (LB)
 *   2. left to right                   a f_{t-1}, f, h;  G = g C;  rho_t = a_{t-1} mu_{t-1},  mu = G + rho (LB);  p, dC
 *   3. right to left                   lam_t = G + a_{t+1} lam_{t+1};  db = lam + rho;  alpha = lam (a f_{t-1}) + mu r;  the rest
 *
 * dB and dC are sums over channels: each thread adds up its own, `addParts` adds the threads' in a fixed order.
 */
import { madd } from './fma';
import { clear, exp2Negative, shareStart, sigmoid, softplus, splat } from './math';
import { blockCapacity, FIRST_OF_BAG, four, gather4, LAST_OF_BAG, layOut, layOutA, LEAST_EXPONENT, listTokens, loadState, scatter4 } from './selective-scan';

/** Vectors kept for each token and state between the passes: a, b then a f, r then mu r, rho. */
const KEPT: i32 = 4;

/** Bytes of scratch that one thread needs, as `selectiveScanScratch`. */
export function selectiveScanBackwardScratch(D: i32, L: i32, N: i32, chunk: i32, longest: i32): f64 {
  const T = <f64>blockCapacity(L, chunk, longest);
  const states = <f64>((N + 3) & ~3);
  const groups = <f64>((D + 3) >> 2);
  return 16 * (6 * T + <f64>(4 * KEPT) * T + 3 * states + states * groups) + 4 * (T + 4 * states * T) + 64;
}

export function selectiveScanBackward(
  u: usize, delta: usize, A: usize, B: usize, C: usize, skip: usize, z: usize, deltaBias: usize, segments: usize, carries: usize,
  dy: usize, du: usize, ddelta: usize, dA: usize, dB: usize, dC: usize, dskip: usize, dz: usize, ddeltaBias: usize,
  D: i32, L: i32, N: i32, segmentCount: i32, longest: i32, local: i32, useSoftplus: i32,
  chunk: i32, otherParts: usize, scratch: usize, scratchBytes: i32, part: i32, parts: i32,
): void {
  const groups = (D + 3) >> 2;
  const g0 = shareStart(groups, part, parts);
  const g1 = shareStart(groups, part + 1, parts);
  const states = (N + 3) & ~3;
  const capacity = blockCapacity(L, chunk, longest);
  if (part > 0) {
    dB = otherParts + (<usize>(2 * (part - 1) * N) * <usize>L << 2);
    dC = dB + (<usize>N * <usize>L << 2);
  }

  const Delta = (scratch + <usize>part * <usize>scratchBytes + 15) & ~15;
  const x = Delta + (<usize>capacity << 4);
  const g = x + (<usize>capacity << 4);
  const p = g + (<usize>capacity << 4);
  const sumA = p + (<usize>capacity << 4);
  const sumB = sumA + (<usize>capacity << 4);
  const kept = sumB + (<usize>capacity << 4);
  const A2 = kept + (<usize>(4 * KEPT * capacity) << 4);
  const f = A2 + (<usize>states << 4);
  const dA4 = f + (<usize>states << 4);
  const lam = dA4 + (<usize>states << 4);
  const Bs = lam + (<usize>(states * (g1 - g0)) << 4);
  const Cs = Bs + (<usize>(states * capacity) << 2);
  const dBs = Cs + (<usize>(states * capacity) << 2);
  const dCs = dBs + (<usize>(states * capacity) << 2);
  const tokens = dCs + (<usize>(states * capacity) << 2);

  const row = <usize>L << 2;
  clear(lam, <usize>(states * (g1 - g0)) << 4);
  const blocks = (segmentCount + chunk - 1) / chunk;
  for (let block = blocks - 1; block >= 0; block--) {
    const s0 = block * chunk;
    const s1 = min(s0 + chunk, segmentCount);
    const T = listTokens(segments, s0, s1, tokens);
    const stride = T;
    layOut(B, N, states, L, tokens, T, Bs, stride);
    layOut(C, N, states, L, tokens, T, Cs, stride);
    clear(dBs, <usize>(states * stride) << 2);
    clear(dCs, <usize>(states * stride) << 2);

    for (let group = g0; group < g1; group++) {
      const c = group << 2;
      const lanes = min(4, D - c);
      const o0 = <usize>c * row;
      const o1 = <usize>min(c + 1, D - 1) * row;
      const o2 = <usize>min(c + 2, D - 1) * row;
      const o3 = <usize>min(c + 3, D - 1) * row;
      // Lanes past D repeat the last channel: their upstream gradient is made zero, so that they add nothing to dB and dC.
      const real = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(lanes));
      const lam4 = lam + (<usize>((group - g0) * states) << 4);
      layOutA(A, c, D, N, states, A2);
      clear(dA4, <usize>states << 4);
      loadState(carries, block, c, D, N, states, f);
      const bias = deltaBias != 0 ? four(deltaBias, c, D) : splat(0.0);
      const skip4 = skip != 0 ? four(skip, c, D) : splat(0.0);

      for (let i = 0; i < T; i++) {
        const t = <usize>load<u32>(tokens + (<usize>i << 2));
        const at = <usize>i << 4;
        const u4 = gather4(u + o0, u + o1, u + o2, u + o3, t);
        let d4 = f32x4.add(gather4(delta + o0, delta + o1, delta + o2, delta + o3, t), bias);
        if (useSoftplus) d4 = softplus(d4);
        v128.store(Delta + at, d4);
        v128.store(x + at, f32x4.mul(d4, u4));
        v128.store(p + at, f32x4.mul(skip4, u4));
        let g4 = v128.and(gather4(dy + o0, dy + o1, dy + o2, dy + o3, t), real);
        if (z != 0) {
          const z4 = gather4(z + o0, z + o1, z + o2, z + o3, t);
          g4 = f32x4.mul(g4, f32x4.mul(z4, sigmoid(z4)));
        }
        v128.store(g + at, g4);
        v128.store(sumA + at, splat(0.0));
        v128.store(sumB + at, splat(0.0));
      }

      for (let n = 0; n < states; n += 4) {
        const nS = <usize>(n * stride) << 2;
        const nV = <usize>n << 4;
        let i0 = 0;
        for (let s = s0; s < s1; s++) {
          const entry = segments + (<usize>s << 4);
          const count = load<i32>(entry, 4);
          if (s > s0 && load<i32>(entry, 8) & FIRST_OF_BAG) clear(f + nV, 64);
          const at = <usize>i0 << 4;
          const at4 = <usize>i0 << 2;
          decays(Delta + at, x + at, Bs + nS + at4, <usize>stride << 2, A2 + nV, kept + <usize>i0 * KEPT * 64, count, local);
          statesForward(
            x + at, g + at, p + at, Bs + nS + at4, Cs + nS + at4, dCs + (<usize>(n * stride + 4 * i0) << 2), <usize>stride << 2,
            f + nV, kept + <usize>i0 * KEPT * 64, count, local,
          );
          i0 += count;
        }
        for (let s = s1 - 1; s >= s0; s--) {
          const entry = segments + (<usize>s << 4);
          const count = load<i32>(entry, 4);
          i0 -= count;
          if (load<i32>(entry, 8) & LAST_OF_BAG) clear(lam4 + nV, 64);
          const at = <usize>i0 << 4;
          const at4 = <usize>i0 << 2;
          adjointsBackward(
            Delta + at, x + at, g + at, sumA + at, sumB + at, Bs + nS + at4, Cs + nS + at4,
            dBs + (<usize>(n * stride + 4 * i0) << 2), <usize>stride << 2, A2 + nV, dA4 + nV, lam4 + nV,
            kept + <usize>i0 * KEPT * 64, count, local,
          );
        }
      }

      let dskip4 = splat(0.0);
      let dbias4 = splat(0.0);
      for (let i = 0; i < T; i++) {
        const t = <usize>load<u32>(tokens + (<usize>i << 2));
        const at = <usize>i << 4;
        const u4 = gather4(u + o0, u + o1, u + o2, u + o3, t);
        const g4 = v128.load(g + at);
        const sB = v128.load(sumB + at);
        dskip4 = madd(g4, u4, dskip4);
        const du4 = madd(skip4, g4, f32x4.mul(v128.load(Delta + at), sB));
        scatter4(du + o0, du + o1, du + o2, du + o3, t, du4, lanes);
        // sumA holds alpha A log2 e.
        let dd4 = madd(v128.load(sumA + at), splat(0.6931471805599453), f32x4.mul(sB, u4));
        if (useSoftplus) dd4 = f32x4.mul(dd4, sigmoid(f32x4.add(gather4(delta + o0, delta + o1, delta + o2, delta + o3, t), bias)));
        dbias4 = f32x4.add(dbias4, dd4);
        scatter4(ddelta + o0, ddelta + o1, ddelta + o2, ddelta + o3, t, dd4, lanes);
        if (z != 0) {
          const z4 = gather4(z + o0, z + o1, z + o2, z + o3, t);
          const s4 = sigmoid(z4);
          const slope = f32x4.mul(s4, madd(z4, f32x4.sub(splat(1.0), s4), splat(1.0)));
          const dy4 = gather4(dy + o0, dy + o1, dy + o2, dy + o3, t);
          scatter4(dz + o0, dz + o1, dz + o2, dz + o3, t, f32x4.mul(f32x4.mul(dy4, v128.load(p + at)), slope), lanes);
        }
      }
      if (dskip != 0) addLanes(dskip, c, dskip4, lanes);
      if (ddeltaBias != 0) addLanes(ddeltaBias, c, dbias4, lanes);
      for (let j = 0; j < lanes; j++) {
        const out = dA + (<usize>((c + j) * N) << 2);
        for (let n = 0; n < N; n++) {
          const to = out + (<usize>n << 2);
          store<f32>(to, load<f32>(to) + load<f32>(dA4 + (<usize>(4 * n + j) << 2)));
        }
      }
    }

    for (let i = 0; i < T; i++) {
      const t = <usize>load<u32>(tokens + (<usize>i << 2));
      for (let n = 0; n < N; n++) {
        const from = <usize>((n & ~3) * stride + 4 * i + (n & 3)) << 2;
        store<f32>(dB + <usize>n * row + t, load<f32>(dBs + from));
        store<f32>(dC + <usize>n * row + t, load<f32>(dCs + from));
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function addLanes(to: usize, c: i32, v: v128, lanes: i32): void {
  const at = to + (<usize>c << 2);
  store<f32>(at, load<f32>(at) + f32x4.extract_lane(v, 0));
  if (lanes > 1) store<f32>(at, load<f32>(at, 4) + f32x4.extract_lane(v, 1), 4);
  if (lanes > 2) store<f32>(at, load<f32>(at, 8) + f32x4.extract_lane(v, 2), 8);
  if (lanes > 3) store<f32>(at, load<f32>(at, 12) + f32x4.extract_lane(v, 3), 12);
}

/** Sums of the lanes of four vectors, as one vector. */
// @ts-ignore: decorator
@inline
function laneSums(v0: v128, v1: v128, v2: v128, v3: v128): v128 {
  const s01 = f32x4.add(v128.shuffle<f32>(v0, v1, 0, 4, 1, 5), v128.shuffle<f32>(v0, v1, 2, 6, 3, 7));
  const s23 = f32x4.add(v128.shuffle<f32>(v2, v3, 0, 4, 1, 5), v128.shuffle<f32>(v2, v3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(s01, s23, 0, 2), v128.shuffle<f64>(s01, s23, 1, 3));
}

// @ts-ignore: decorator
@inline
function addTo(at: usize, v: v128): void {
  v128.store(at, f32x4.add(v128.load(at), v));
}

/** Pass 1: a, b and r of one segment. */
// @ts-ignore: decorator
@inline
function decays(Delta: usize, x: usize, B: usize, stride: usize, A: usize, kept: usize, count: i32, local: i32): void {
  const A0 = v128.load(A, 0);
  const A1 = v128.load(A, 16);
  const A2 = v128.load(A, 32);
  const A3 = v128.load(A, 48);
  let q0 = splat(0.0);
  let q1 = splat(0.0);
  let q2 = splat(0.0);
  let q3 = splat(0.0);
  const least = splat(LEAST_EXPONENT);
  for (let i = count - 1; i >= 0; i--) {
    const D4 = v128.load(Delta + (<usize>i << 4));
    const to = kept + <usize>i * KEPT * 64;
    const a0 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A0), least));
    const a1 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A1), least));
    const a2 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A2), least));
    const a3 = exp2Negative(f32x4.pmax(f32x4.mul(D4, A3), least));
    v128.store(to, a0, 0);
    v128.store(to, a1, 16);
    v128.store(to, a2, 32);
    v128.store(to, a3, 48);
    if (local) {
      const x4 = v128.load(x + (<usize>i << 4));
      const b = B + (<usize>i << 2);
      const r0 = f32x4.mul(a0, q0);
      const r1 = f32x4.mul(a1, q1);
      const r2 = f32x4.mul(a2, q2);
      const r3 = f32x4.mul(a3, q3);
      v128.store(to, r0, 128);
      v128.store(to, r1, 144);
      v128.store(to, r2, 160);
      v128.store(to, r3, 176);
      q0 = madd(x4, v128.load32_splat(b), r0);
      q1 = madd(x4, v128.load32_splat(b + stride), r1);
      q2 = madd(x4, v128.load32_splat(b + 2 * stride), r2);
      q3 = madd(x4, v128.load32_splat(b + 3 * stride), r3);
    }
  }
}

/** Pass 2: a f, f, h, p, dC; rho and mu r. */
// @ts-ignore: decorator
@inline
function statesForward(
  x: usize, g: usize, p: usize, B: usize, C: usize, dC: usize, stride: usize, state: usize, kept: usize, count: i32, local: i32,
): void {
  let f0 = v128.load(state, 0);
  let f1 = v128.load(state, 16);
  let f2 = v128.load(state, 32);
  let f3 = v128.load(state, 48);
  let rho0 = splat(0.0);
  let rho1 = splat(0.0);
  let rho2 = splat(0.0);
  let rho3 = splat(0.0);
  for (let i = 0; i < count; i++) {
    const at = <usize>i << 4;
    const k = kept + <usize>i * KEPT * 64;
    const x4 = v128.load(x + at);
    const g4 = v128.load(g + at);
    const b = B + (<usize>i << 2);
    const cc = C + (<usize>i << 2);
    const a0 = v128.load(k, 0);
    const a1 = v128.load(k, 16);
    const a2 = v128.load(k, 32);
    const a3 = v128.load(k, 48);
    const e0 = f32x4.mul(a0, f0);
    const e1 = f32x4.mul(a1, f1);
    const e2 = f32x4.mul(a2, f2);
    const e3 = f32x4.mul(a3, f3);
    v128.store(k, e0, 64);
    v128.store(k, e1, 80);
    v128.store(k, e2, 96);
    v128.store(k, e3, 112);
    f0 = madd(x4, v128.load32_splat(b), e0);
    f1 = madd(x4, v128.load32_splat(b + stride), e1);
    f2 = madd(x4, v128.load32_splat(b + 2 * stride), e2);
    f3 = madd(x4, v128.load32_splat(b + 3 * stride), e3);
    let h0 = f0;
    let h1 = f1;
    let h2 = f2;
    let h3 = f3;
    const c0 = v128.load32_splat(cc);
    const c1 = v128.load32_splat(cc + stride);
    const c2 = v128.load32_splat(cc + 2 * stride);
    const c3 = v128.load32_splat(cc + 3 * stride);
    if (local) {
      const r0 = v128.load(k, 128);
      const r1 = v128.load(k, 144);
      const r2 = v128.load(k, 160);
      const r3 = v128.load(k, 176);
      h0 = f32x4.add(f0, r0);
      h1 = f32x4.add(f1, r1);
      h2 = f32x4.add(f2, r2);
      h3 = f32x4.add(f3, r3);
      const mu0 = madd(g4, c0, rho0);
      const mu1 = madd(g4, c1, rho1);
      const mu2 = madd(g4, c2, rho2);
      const mu3 = madd(g4, c3, rho3);
      v128.store(k, f32x4.mul(mu0, r0), 128);
      v128.store(k, f32x4.mul(mu1, r1), 144);
      v128.store(k, f32x4.mul(mu2, r2), 160);
      v128.store(k, f32x4.mul(mu3, r3), 176);
      v128.store(k, rho0, 192);
      v128.store(k, rho1, 208);
      v128.store(k, rho2, 224);
      v128.store(k, rho3, 240);
      rho0 = f32x4.mul(a0, mu0);
      rho1 = f32x4.mul(a1, mu1);
      rho2 = f32x4.mul(a2, mu2);
      rho3 = f32x4.mul(a3, mu3);
    }
    const p01 = madd(h0, c0, f32x4.mul(h1, c1));
    const p23 = madd(h2, c2, f32x4.mul(h3, c3));
    addTo(p + at, f32x4.add(p01, p23));
    addTo(dC + at, laneSums(f32x4.mul(g4, h0), f32x4.mul(g4, h1), f32x4.mul(g4, h2), f32x4.mul(g4, h3)));
  }
  v128.store(state, f0, 0);
  v128.store(state, f1, 16);
  v128.store(state, f2, 32);
  v128.store(state, f3, 48);
}

/** Pass 3: lam and everything that needs it. `carry` holds a_{t+1} lam_{t+1} of the token to the right. */
// @ts-ignore: decorator
@inline
function adjointsBackward(
  Delta: usize, x: usize, g: usize, sumA: usize, sumB: usize, B: usize, C: usize, dB: usize, stride: usize, A: usize, dA: usize,
  carry: usize, kept: usize, count: i32, local: i32,
): void {
  const A0 = v128.load(A, 0);
  const A1 = v128.load(A, 16);
  const A2 = v128.load(A, 32);
  const A3 = v128.load(A, 48);
  let dA0 = v128.load(dA, 0);
  let dA1 = v128.load(dA, 16);
  let dA2 = v128.load(dA, 32);
  let dA3 = v128.load(dA, 48);
  let l0 = v128.load(carry, 0);
  let l1 = v128.load(carry, 16);
  let l2 = v128.load(carry, 32);
  let l3 = v128.load(carry, 48);
  for (let i = count - 1; i >= 0; i--) {
    const at = <usize>i << 4;
    const k = kept + <usize>i * KEPT * 64;
    const D4 = v128.load(Delta + at);
    const x4 = v128.load(x + at);
    const g4 = v128.load(g + at);
    const b = B + (<usize>i << 2);
    const cc = C + (<usize>i << 2);
    let db0 = madd(g4, v128.load32_splat(cc), l0);
    let db1 = madd(g4, v128.load32_splat(cc + stride), l1);
    let db2 = madd(g4, v128.load32_splat(cc + 2 * stride), l2);
    let db3 = madd(g4, v128.load32_splat(cc + 3 * stride), l3);
    l0 = f32x4.mul(db0, v128.load(k, 0));
    l1 = f32x4.mul(db1, v128.load(k, 16));
    l2 = f32x4.mul(db2, v128.load(k, 32));
    l3 = f32x4.mul(db3, v128.load(k, 48));
    let alpha0 = f32x4.mul(db0, v128.load(k, 64));
    let alpha1 = f32x4.mul(db1, v128.load(k, 80));
    let alpha2 = f32x4.mul(db2, v128.load(k, 96));
    let alpha3 = f32x4.mul(db3, v128.load(k, 112));
    if (local) {
      alpha0 = f32x4.add(alpha0, v128.load(k, 128));
      alpha1 = f32x4.add(alpha1, v128.load(k, 144));
      alpha2 = f32x4.add(alpha2, v128.load(k, 160));
      alpha3 = f32x4.add(alpha3, v128.load(k, 176));
      db0 = f32x4.add(db0, v128.load(k, 192));
      db1 = f32x4.add(db1, v128.load(k, 208));
      db2 = f32x4.add(db2, v128.load(k, 224));
      db3 = f32x4.add(db3, v128.load(k, 240));
    }
    dA0 = madd(alpha0, D4, dA0);
    dA1 = madd(alpha1, D4, dA1);
    dA2 = madd(alpha2, D4, dA2);
    dA3 = madd(alpha3, D4, dA3);
    const a01 = madd(alpha0, A0, f32x4.mul(alpha1, A1));
    const a23 = madd(alpha2, A2, f32x4.mul(alpha3, A3));
    addTo(sumA + at, f32x4.add(a01, a23));
    const b01 = madd(db0, v128.load32_splat(b), f32x4.mul(db1, v128.load32_splat(b + stride)));
    const b23 = madd(db2, v128.load32_splat(b + 2 * stride), f32x4.mul(db3, v128.load32_splat(b + 3 * stride)));
    addTo(sumB + at, f32x4.add(b01, b23));
    addTo(dB + at, laneSums(f32x4.mul(db0, x4), f32x4.mul(db1, x4), f32x4.mul(db2, x4), f32x4.mul(db3, x4)));
  }
  v128.store(dA, dA0, 0);
  v128.store(dA, dA1, 16);
  v128.store(dA, dA2, 32);
  v128.store(dA, dA3, 48);
  v128.store(carry, l0, 0);
  v128.store(carry, l1, 16);
  v128.store(carry, l2, 32);
  v128.store(carry, l3, 48);
}

/** total (n) += the other threads' parts (count, stride), in their order. */
export function addParts(total: usize, others: usize, n: i32, stride: i32, count: i32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  for (let k = 0; k < count; k++) {
    const other = others + (<usize>k * <usize>stride << 2);
    for (let i = from; i < to; i++) {
      const at = <usize>i << 2;
      store<f32>(total + at, load<f32>(total + at) + load<f32>(other + at));
    }
  }
}
