/** The selective scan and its gradients as lbmamba-scan.md §2-5 writes them: one token after another, in double precision. */
import { softplus } from './basic.ts';

type Numbers = ArrayLike<number>;

export interface ScanArguments {
  readonly D: number;
  readonly L: number;
  readonly N: number;
  readonly u: Numbers;
  readonly delta: Numbers;
  readonly A: Numbers;
  readonly B: Numbers;
  readonly C: Numbers;
  readonly skip: Numbers | null;
  readonly z: Numbers | null;
  readonly deltaBias: Numbers | null;
  /** (count, 4): first token, count, flags (1 first of bag, 2 last, 4 reversed), bag. */
  readonly segments: Numbers;
  readonly stateIn: Numbers | null;
  readonly local: boolean;
  readonly softplus: boolean;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Bags in scan order: tokens, and for each the number of its segment. */
function* bags({ segments }: ScanArguments): Iterable<{ bag: number; tokens: number[]; segment: number[] }> {
  let tokens: number[] = [];
  let segment: number[] = [];
  for (let s = 0; s * 4 < segments.length; s++) {
    const [first, count, flags, bag] = [0, 1, 2, 3].map((i) => segments[s * 4 + i]!) as [
      number,
      number,
      number,
      number,
    ];
    if (flags & 1) [tokens, segment] = [[], []];
    for (let k = 0; k < count; k++) {
      tokens.push(flags & 4 ? first - k : first + k);
      segment.push(s);
    }
    if (flags & 2) yield { bag, tokens, segment };
  }
}

interface Walk {
  Delta: number[];
  a: number[];
  /** a_t f_{t-1} */
  af: number[];
  f: number[];
  r: number[];
}

function walk(s: ScanArguments, d: number, n: number, bag: number, tokens: number[], segment: number[]): Walk {
  const at = (t: number) => d * s.L + t;
  const Delta = tokens.map((t) => {
    const x = s.delta[at(t)]! + (s.deltaBias?.[d] ?? 0);
    return s.softplus ? softplus(x) : x;
  });
  const a = Delta.map((step) => Math.exp(step * s.A[d * s.N + n]!));
  const b = tokens.map((t, i) => Delta[i]! * s.B[n * s.L + t]! * s.u[at(t)]!);
  const af: number[] = [];
  const f: number[] = [];
  let state = s.stateIn?.[(bag * s.D + d) * s.N + n] ?? 0;
  for (let i = 0; i < tokens.length; i++) {
    af.push(a[i]! * state);
    f.push((state = af[i]! + b[i]!));
  }
  const r = tokens.map(() => 0);
  for (let i = tokens.length - 2; s.local && i >= 0; i--) {
    if (segment[i] === segment[i + 1]) r[i] = a[i]! * (r[i + 1]! + b[i + 1]!);
  }
  return { Delta, a, af, f, r };
}

/** y (D, L), stateOut (bags, D, N). */
export function scan(s: ScanArguments, bagCount: number): { y: Float64Array; stateOut: Float64Array } {
  const y = new Float64Array(s.D * s.L);
  const stateOut = new Float64Array(bagCount * s.D * s.N);
  for (const { bag, tokens, segment } of bags(s)) {
    for (let d = 0; d < s.D; d++) {
      for (let n = 0; n < s.N; n++) {
        const { f, r } = walk(s, d, n, bag, tokens, segment);
        for (const [i, t] of tokens.entries()) y[d * s.L + t]! += s.C[n * s.L + t]! * (f[i]! + r[i]!);
        stateOut[(bag * s.D + d) * s.N + n] = f.at(-1)!;
      }
      for (const t of tokens) {
        const at = d * s.L + t;
        y[at]! += (s.skip?.[d] ?? 0) * s.u[at]!;
        if (s.z) y[at]! *= s.z[at]! * sigmoid(s.z[at]!);
      }
    }
  }
  return { y, stateOut };
}

export interface ScanGradients {
  du: Float64Array;
  ddelta: Float64Array;
  dA: Float64Array;
  dB: Float64Array;
  dC: Float64Array;
  dskip: Float64Array;
  dz: Float64Array;
  ddeltaBias: Float64Array;
}

export function scanBackward(s: ScanArguments, dy: Numbers): ScanGradients {
  const { D, L, N } = s;
  const per = (n: number) => new Float64Array(n);
  const out = {
    du: per(D * L),
    ddelta: per(D * L),
    dA: per(D * N),
    dB: per(N * L),
    dC: per(N * L),
    dskip: per(D),
    dz: per(D * L),
    ddeltaBias: per(D),
  };
  for (const { bag, tokens, segment } of bags(s)) {
    const count = tokens.length;
    const joined = (i: number) => s.local && i > 0 && i < count && segment[i] === segment[i - 1];
    for (let d = 0; d < D; d++) {
      const g = tokens.map((t) => dy[d * L + t]! * (s.z ? s.z[d * L + t]! * sigmoid(s.z[d * L + t]!) : 1));
      const p = tokens.map((t) => (s.skip?.[d] ?? 0) * s.u[d * L + t]!);
      const dDelta = tokens.map(() => 0);
      let steps: number[] = [];
      for (let n = 0; n < N; n++) {
        const A = s.A[d * N + n]!;
        const { Delta, a, af, f, r } = walk(s, d, n, bag, tokens, segment);
        steps = Delta;
        const G = tokens.map((t, i) => g[i]! * s.C[n * L + t]!);
        const lam = [...G];
        for (let i = count - 2; i >= 0; i--) lam[i]! += a[i + 1]! * lam[i + 1]!;
        let mu = 0;
        for (const [i, t] of tokens.entries()) {
          const at = d * L + t;
          const rho = joined(i) ? a[i - 1]! * mu : 0;
          mu = G[i]! + rho;
          const db = lam[i]! + rho;
          const alpha = lam[i]! * af[i]! + (s.local ? mu * r[i]! : 0);
          const B = s.B[n * L + t]!;
          out.du[at]! += Delta[i]! * db * B;
          dDelta[i]! += alpha * A + db * B * s.u[at]!;
          out.dA[d * N + n]! += alpha * Delta[i]!;
          out.dB[n * L + t]! += db * Delta[i]! * s.u[at]!;
          out.dC[n * L + t]! += g[i]! * (f[i]! + r[i]!);
          p[i]! += s.C[n * L + t]! * (f[i]! + r[i]!);
        }
      }
      for (const [i, t] of tokens.entries()) {
        const at = d * L + t;
        const x = s.delta[at]! + (s.deltaBias?.[d] ?? 0);
        out.dskip[d]! += g[i]! * s.u[at]!;
        out.du[at]! += (s.skip?.[d] ?? 0) * g[i]!;
        out.ddelta[at] = dDelta[i]! * (s.softplus ? (x > 20 ? 1 : sigmoid(x)) : 1);
        out.ddeltaBias[d]! += out.ddelta[at]!;
        const gate = s.z ? sigmoid(s.z[at]!) : 0;
        out.dz[at] = s.z ? dy[at]! * p[i]! * gate * (1 + s.z[at]! * (1 - gate)) : 0;
      }
      if (steps.length !== count) throw new Error('no states');
    }
  }
  return out;
}
