/** MambaMIL as mambamil.md and mamba-block.md write it: plain loops in double precision, one bag, no dropout. */
import type { MambaMilConfig } from '../mil/model-card.ts';

export type PlainWeights = ReadonlyMap<string, Float64Array>;

/** Rows of numbers. */
type Matrix = readonly Float64Array[];

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const silu = (x: number) => x * sigmoid(x);
const softplus = (x: number) => (x > 20 ? x : Math.log1p(Math.exp(x)));

/** logits of one bag, features (L, input). */
export function plainMambaMil(config: MambaMilConfig, weights: PlainWeights, features: Matrix): Float64Array {
  const get = (name: string) => {
    const found = weights.get(name);
    if (!found) throw new Error(`no weight ${name}`);
    return found;
  };
  const dense = (rows: Matrix, name: string, f = (x: number) => x) =>
    linear(rows, get(`${name}.weight`), get(`${name}.bias`)).map((row) => row.map(f));
  const norm = (rows: Matrix, name: string) => layerNorm(rows, get(`${name}.weight`), get(`${name}.bias`));

  let h: Matrix = dense(features, '_fc1.0', config.activation === 'gelu' ? gelu : (x) => Math.max(0, x));
  for (let i = 0; i < config.layers; i++) {
    const turned = config.flip === 'alternate' && i % 2 === 1;
    const x = norm(h, `layers.${i}.0`);
    const out = block(turned ? x.toReversed() : x, config, (name) => get(`layers.${i}.1.${name}`));
    const ordered = turned ? out.toReversed() : out;
    h = h.map((row, t) => row.map((value, j) => value + ordered[t]![j]!));
  }
  h = norm(h, 'norm');
  const scores = dense(dense(h, 'attention.0', Math.tanh), 'attention.2').map(([score]) => score!);
  const most = Math.max(...scores);
  const parts = scores.map((score) => Math.exp(score - most));
  const total = parts.reduce((sum, part) => sum + part, 0);
  const pooled = new Float64Array(config.width);
  h.forEach((row, t) => {
    for (let j = 0; j < pooled.length; j++) pooled[j]! += (parts[t]! / total) * row[j]!;
  });
  return dense([pooled], 'classifier')[0]!;
}

function block(x: Matrix, config: MambaMilConfig, get: (name: string) => Float64Array): Matrix {
  const { type, rate } = config;
  const xz = linear(x, get('in_proj.weight'));
  const first = branch(xz, type === 'lbmamba' ? config.K : 0, config, get);
  const ofSecond = (name: string) => get(name === 'A_log' ? 'A_b_log' : name.replace(/^(\w+)/, '$1_b'));
  let second: Matrix | null = null;
  if (type === 'bimamba') second = branch(xz.toReversed(), 0, config, ofSecond).toReversed();
  if (type === 'srmamba') {
    const groups = Math.ceil(xz.length / rate);
    const place = (t: number) => (t % rate) * groups + Math.floor(t / rate);
    const mixed: Float64Array[] = Array.from({ length: groups * rate }, () => new Float64Array(xz[0]!.length));
    xz.forEach((row, t) => {
      mixed[place(t)] = row;
    });
    const y = branch(mixed, 0, config, ofSecond);
    second = xz.map((_, t) => y[place(t)]!);
  }
  const sum = second ? first.map((row, t) => row.map((value, j) => value + second[t]![j]!)) : first;
  return linear(sum, get('out_proj.weight'));
}

/** Convolution, step sizes, scan and gate over xz (L, 2E). */
function branch(
  xz: Matrix,
  K: MambaMilConfig['K'],
  config: MambaMilConfig,
  get: (name: string) => Float64Array,
): Matrix {
  const { state: N, conv: W, width, expand } = config;
  const [L, E, R] = [xz.length, width * expand, Math.ceil(width / 16)];
  if (K === 'auto') throw new Error('the plain model needs K as a number');
  const [kernel, bias] = [get('conv1d.weight'), get('conv1d.bias')];
  const u = xz.map((_, t) =>
    Float64Array.from({ length: E }, (_, e) => {
      let sum = bias[e]!;
      for (let k = Math.max(0, W - 1 - t); k < W; k++) sum += kernel[e * W + k]! * xz[t - (W - 1) + k]![e]!;
      return silu(sum);
    }),
  );
  const rows = linear(u, get('x_proj.weight'));
  const step = linear(
    rows.map((row) => row.subarray(0, R)),
    get('dt_proj.weight'),
    get('dt_proj.bias'),
  ).map((row) => row.map(softplus));
  const [ALog, D] = [get('A_log'), get('D')];
  const segment = Math.max(1, K);
  const y = u.map((row) => row.map((value, e) => D[e]! * value));
  for (let e = 0; e < E; e++) {
    for (let n = 0; n < N; n++) {
      const A = -Math.exp(ALog[e * N + n]!);
      const a = (t: number) => Math.exp(step[t]![e]! * A);
      const b = (t: number) => step[t]![e]! * rows[t]![R + n]! * u[t]![e]!;
      let f = 0;
      for (let t = 0; t < L; t++) {
        f = a(t) * f + b(t);
        y[t]![e]! += rows[t]![R + N + n]! * f;
      }
      let r = 0;
      for (let t = L - 2; t >= 0 && segment > 1; t--) {
        r = (t + 1) % segment === 0 ? 0 : a(t) * (r + b(t + 1));
        y[t]![e]! += rows[t]![R + N + n]! * r;
      }
    }
  }
  return y.map((row, t) => row.map((value, e) => value * silu(xz[t]![E + e]!)));
}

/** x W^T + b, with W (out, in) as PyTorch keeps it. */
function linear(x: Matrix, W: Float64Array, b: Float64Array | null = null): Float64Array[] {
  const inputs = x[0]!.length;
  return x.map((row) =>
    Float64Array.from({ length: W.length / inputs }, (_, o) => {
      let sum = b?.[o] ?? 0;
      for (let i = 0; i < inputs; i++) sum += row[i]! * W[o * inputs + i]!;
      return sum;
    }),
  );
}

function layerNorm(x: Matrix, weight: Float64Array, bias: Float64Array): Matrix {
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[i]! + bias[i]!);
  });
}

function gelu(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** By its power series where that is short, else by the continued fraction of its complement (Lentz). */
function erf(x: number): number {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}
