/**
 * The selective scan as lbmamba-scan.md §2, §3 and §5 write it: plain loops over typed arrays, arithmetic in double precision.
 * What the kernels are checked against, and what a JavaScript programmer would have without them.
 */

export interface ScanArrays {
  readonly D: number;
  readonly L: number;
  readonly N: number;
  /** (D, L) each; z is the gate. */
  readonly u: Float32Array;
  readonly delta: Float32Array;
  readonly z: Float32Array;
  /** (D, N), all entries negative. */
  readonly A: Float32Array;
  /** (N, L) each. */
  readonly B: Float32Array;
  readonly C: Float32Array;
  /** (D) each. */
  readonly skip: Float32Array;
  readonly deltaBias: Float32Array;
}

const softplus = (x: number) => (x > 20 ? x : Math.log1p(Math.exp(x)));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** y (D, L); K up to 1: forward only. */
export function plainScan(s: ScanArrays, K: number): Float32Array {
  return K > 1 ? plainLocalScan(s, K) : plainForwardScan(s);
}

function plainForwardScan(s: ScanArrays): Float32Array {
  const { D, L, N, u, delta, z, A, B, C, skip, deltaBias } = s;
  const y = new Float32Array(D * L);
  const f = new Float64Array(N);
  for (let d = 0; d < D; d++) {
    f.fill(0);
    for (let t = 0; t < L; t++) {
      const at = d * L + t;
      const step = softplus(delta[at]! + deltaBias[d]!);
      const input = step * u[at]!;
      let p = skip[d]! * u[at]!;
      for (let n = 0; n < N; n++) {
        f[n] = Math.exp(step * A[d * N + n]!) * f[n]! + input * B[n * L + t]!;
        p += C[n * L + t]! * f[n]!;
      }
      y[at] = p * z[at]! * sigmoid(z[at]!);
    }
  }
  return y;
}

function plainLocalScan(s: ScanArrays, K: number): Float32Array {
  const { D, L, N, u, delta, z, A, B, C, skip, deltaBias } = s;
  const y = new Float32Array(D * L);
  const f = new Float64Array(N);
  const [a, b] = [new Float64Array(K * N), new Float64Array(K * N)];
  const p = new Float64Array(K);
  for (let d = 0; d < D; d++) {
    f.fill(0);
    for (let first = 0; first < L; first += K) {
      const count = Math.min(K, L - first);
      for (let i = 0; i < count; i++) {
        const at = d * L + first + i;
        const step = softplus(delta[at]! + deltaBias[d]!);
        const input = step * u[at]!;
        let sum = skip[d]! * u[at]!;
        for (let n = 0; n < N; n++) {
          const decay = Math.exp(step * A[d * N + n]!);
          const added = input * B[n * L + first + i]!;
          a[i * N + n] = decay;
          b[i * N + n] = added;
          f[n] = decay * f[n]! + added;
          sum += C[n * L + first + i]! * f[n]!;
        }
        p[i] = sum;
      }
      for (let n = 0; n < N; n++) {
        let r = 0;
        for (let i = count - 2; i >= 0; i--) {
          r = a[i * N + n]! * (r + b[(i + 1) * N + n]!);
          p[i]! += C[n * L + first + i]! * r;
        }
      }
      for (let i = 0; i < count; i++) {
        const at = d * L + first + i;
        y[at] = p[i]! * z[at]! * sigmoid(z[at]!);
      }
    }
  }
  return y;
}

export interface ScanGradientArrays {
  /** (D, L) */
  readonly u: Float64Array;
  readonly delta: Float64Array;
  readonly z: Float64Array;
  /** (D, N) */
  readonly A: Float64Array;
  /** (N, L) */
  readonly B: Float64Array;
  readonly C: Float64Array;
  /** (D) */
  readonly skip: Float64Array;
  readonly deltaBias: Float64Array;
}

/** §5, state by state: walks right for f, left for r and lam, right for rho. */
export function plainScanGradients(s: ScanArrays, K: number, dy: Float32Array): ScanGradientArrays {
  const { D, L, N, u, delta, z, A, B, C, skip, deltaBias } = s;
  const zeros = (n: number) => new Float64Array(n);
  const out: ScanGradientArrays = {
    u: zeros(D * L),
    delta: zeros(D * L),
    z: zeros(D * L),
    A: zeros(D * N),
    B: zeros(N * L),
    C: zeros(N * L),
    skip: zeros(D),
    deltaBias: zeros(D),
  };
  const segment = Math.max(1, K);
  const [step, g, p] = [zeros(L), zeros(L), zeros(L)];
  const [a, b, af, r] = [zeros(L), zeros(L), zeros(L), zeros(L)];
  const [lam, rho] = [zeros(L), zeros(L)];
  for (let d = 0; d < D; d++) {
    const row = d * L;
    for (let t = 0; t < L; t++) {
      const gate = z[row + t]!;
      step[t] = softplus(delta[row + t]! + deltaBias[d]!);
      g[t] = dy[row + t]! * gate * sigmoid(gate);
      p[t] = skip[d]! * u[row + t]!;
      out.u[row + t] = skip[d]! * g[t]!;
      out.skip[d]! += g[t]! * u[row + t]!;
    }
    for (let n = 0; n < N; n++) {
      const decay = A[d * N + n]!;
      const [Bn, Cn] = [B.subarray(n * L, (n + 1) * L), C.subarray(n * L, (n + 1) * L)];
      let f = 0;
      for (let t = 0; t < L; t++) {
        a[t] = Math.exp(step[t]! * decay);
        b[t] = step[t]! * Bn[t]! * u[row + t]!;
        af[t] = a[t]! * f;
        f = af[t]! + b[t]!;
      }
      for (let t = L - 1; t >= 0; t--) {
        const last = t === L - 1;
        lam[t] = g[t]! * Cn[t]! + (last ? 0 : a[t + 1]! * lam[t + 1]!);
        r[t] = last || (t + 1) % segment === 0 ? 0 : a[t]! * (r[t + 1]! + b[t + 1]!);
      }
      for (let t = 0; t < L; t++) {
        rho[t] = t % segment === 0 ? 0 : a[t - 1]! * (g[t - 1]! * Cn[t - 1]! + rho[t - 1]!);
        const mu = g[t]! * Cn[t]! + rho[t]!;
        const db = lam[t]! + rho[t]!;
        const alpha = lam[t]! * af[t]! + mu * r[t]!;
        const h = af[t]! + b[t]! + r[t]!;
        p[t]! += Cn[t]! * h;
        out.u[row + t]! += step[t]! * db * Bn[t]!;
        out.delta[row + t]! += alpha * decay + db * Bn[t]! * u[row + t]!;
        out.A[d * N + n]! += alpha * step[t]!;
        out.B[n * L + t]! += db * step[t]! * u[row + t]!;
        out.C[n * L + t]! += g[t]! * h;
      }
    }
    for (let t = 0; t < L; t++) {
      const sz = sigmoid(z[row + t]!);
      out.z[row + t] = dy[row + t]! * p[t]! * sz * (1 + z[row + t]! * (1 - sz));
      out.delta[row + t]! *= sigmoid(delta[row + t]! + deltaBias[d]!);
      out.deltaBias[d]! += out.delta[row + t]!;
    }
  }
  return out;
}

/** The same scan over some of the channels and a run of the tokens. */
export function partOf(s: ScanArrays, channels: readonly number[], from: number, to: number): ScanArrays {
  const tokens = to - from;
  const states = Array.from({ length: s.N }, (_, n) => n);
  const pick = (x: Float32Array, rows: readonly number[]) => pickRows(x, s.L, rows, from, to);
  return {
    D: channels.length,
    L: tokens,
    N: s.N,
    u: pick(s.u, channels),
    delta: pick(s.delta, channels),
    z: pick(s.z, channels),
    A: pickRows(s.A, s.N, channels, 0, s.N),
    B: pick(s.B, states),
    C: pick(s.C, states),
    skip: pickRows(s.skip, 1, channels, 0, 1),
    deltaBias: pickRows(s.deltaBias, 1, channels, 0, 1),
  };
}

/** Rows of x (?, width), of each the columns `from` to `to`. */
export function pickRows(x: Float32Array, width: number, rows: readonly number[], from: number, to: number) {
  const picked = new Float32Array(rows.length * (to - from));
  rows.forEach((row, i) => {
    picked.set(x.subarray(row * width + from, row * width + to), i * (to - from));
  });
  return picked;
}

/** The tokens in the other order. */
export function flipped(s: ScanArrays): ScanArrays {
  const flip = (x: Float32Array) => flipRows(x, s.L);
  return { ...s, u: flip(s.u), delta: flip(s.delta), z: flip(s.z), B: flip(s.B), C: flip(s.C) };
}

export function flipRows(x: Float32Array, width: number): Float32Array {
  const y = x.slice();
  for (let at = 0; at < y.length; at += width) y.subarray(at, at + width).reverse();
  return y;
}
