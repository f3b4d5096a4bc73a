/** Plain loops in double precision for the kernels other than scan and matmul, and gradients by central differences. */
type Numbers = ArrayLike<number>;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Gradient of sum(f(x) dy) with respect to x. */
export function gradient(f: (x: Float64Array) => Numbers, x: Numbers, dy: Numbers): Float64Array {
  const at = Float64Array.from(x);
  const loss = () => Array.from(f(at)).reduce((sum, y, i) => sum + y * dy[i]!, 0);
  return at.map((value, i) => {
    const step = 1e-5 * Math.max(1, Math.abs(value));
    at[i] = value + step;
    const above = loss();
    at[i] = value - step;
    const below = loss();
    at[i] = value;
    return (above - below) / (2 * step);
  });
}

export interface Conv1d {
  readonly D: number;
  readonly L: number;
  readonly W: number;
  readonly offsets: readonly number[];
  readonly silu: boolean;
  readonly reversed: boolean;
}

/** x (D, L), weight (D, W), tail (D, W - 1): what comes before the first token of the only bag, in scan order. */
export function conv1d(
  s: Conv1d,
  x: Numbers,
  weight: Numbers,
  bias: Numbers | null,
  tail: Numbers | null,
): Float64Array {
  const { D, L, W } = s;
  const y = new Float64Array(D * L);
  for (let bag = 0; bag + 1 < s.offsets.length; bag++) {
    const tokens = Array.from({ length: s.offsets[bag + 1]! - s.offsets[bag]! }, (_, i) => s.offsets[bag]! + i);
    if (s.reversed) tokens.reverse();
    for (let d = 0; d < D; d++) {
      const before = Array.from({ length: W - 1 }, (_, i) => tail?.[d * (W - 1) + i] ?? 0);
      const values = [...before, ...tokens.map((t) => x[d * L + t]!)];
      for (const [i, t] of tokens.entries()) {
        let sum = bias?.[d] ?? 0;
        for (let k = 0; k < W; k++) sum += weight[d * W + k]! * values[i + k]!;
        y[d * L + t] = s.silu ? sum * sigmoid(sum) : sum;
      }
    }
  }
  return y;
}

export function layerNorm(x: Numbers, weight: Numbers, bias: Numbers, d: number, eps: number): Float64Array {
  return rows(x, d, (row) => {
    const mean = row.reduce((a, b) => a + b) / d;
    const rstd = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / d + eps);
    return row.map((v, i) => (v - mean) * rstd * weight[i]! + bias[i]!);
  });
}

export function rmsNorm(x: Numbers, weight: Numbers, d: number, eps: number): Float64Array {
  return rows(x, d, (row) => {
    const rstd = 1 / Math.sqrt(row.reduce((a, b) => a + b * b, 0) / d + eps);
    return row.map((v, i) => v * rstd * weight[i]!);
  });
}

export function softmaxRows(x: Numbers, c: number): Float64Array {
  return rows(x, c, softmax);
}

/** attention (L) and pooled (bags, d). */
export function attentionPool(h: Numbers, scores: Numbers, offsets: readonly number[], d: number) {
  const attention = new Float64Array(scores.length);
  const pooled = new Float64Array((offsets.length - 1) * d);
  for (let bag = 0; bag + 1 < offsets.length; bag++) {
    const [from, to] = [offsets[bag]!, offsets[bag + 1]!];
    attention.set(softmax(Array.from(scores).slice(from, to)), from);
    for (let t = from; t < to; t++) {
      for (let i = 0; i < d; i++) pooled[bag * d + i]! += attention[t]! * h[t * d + i]!;
    }
  }
  return { attention, pooled };
}

/** Mean or maximum over the rows of each bag, and the row of the first maximum. */
export function poolRows(x: Numbers, offsets: readonly number[], c: number, maximum: boolean) {
  const y = new Float64Array((offsets.length - 1) * c);
  const where = new Int32Array(y.length).fill(-1);
  for (let bag = 0; bag + 1 < offsets.length; bag++) {
    const [from, to] = [offsets[bag]!, offsets[bag + 1]!];
    for (let j = 0; j < c; j++) {
      const at = bag * c + j;
      for (let t = from; t < to; t++) {
        if (!maximum) y[at]! += x[t * c + j]! / (to - from);
        else if (where[at] === -1 || x[t * c + j]! > y[at]!) {
          y[at] = x[t * c + j]!;
          where[at] = t;
        }
      }
    }
  }
  return { y, where };
}

export interface Conv2d {
  readonly C: number;
  readonly H: number;
  readonly W: number;
  readonly kh: number;
  readonly kw: number;
}

/** Depthwise, zero padding kh/2, kw/2 rounded down. */
export function conv2d({ C, H, W, kh, kw }: Conv2d, x: Numbers, weight: Numbers, bias: Numbers | null): Float64Array {
  const y = new Float64Array(C * H * W);
  for (let c = 0; c < C; c++) {
    for (let i = 0; i < H; i++) {
      for (let j = 0; j < W; j++) {
        let sum = bias?.[c] ?? 0;
        for (let p = 0; p < kh; p++) {
          for (let q = 0; q < kw; q++) {
            const [row, column] = [i + p - (kh >> 1), j + q - (kw >> 1)];
            if (row < 0 || row >= H || column < 0 || column >= W) continue;
            sum += weight[(c * kh + p) * kw + q]! * x[(c * H + row) * W + column]!;
          }
        }
        y[(c * H + i) * W + j] = sum;
      }
    }
  }
  return y;
}

/** Weighted mean cross-entropy of logits (b, c). */
export function crossEntropy(logits: Numbers, labels: readonly number[], weights: Numbers | null, c: number): number {
  const weight = labels.map((label) => weights?.[label] ?? 1);
  const total = weight.reduce((a, b) => a + b);
  return labels.reduce((loss, label, i) => {
    const row = Array.from(logits).slice(i * c, (i + 1) * c);
    return loss - (weight[i]! / total) * Math.log(softmax(row)[label]!);
  }, 0);
}

export interface Survival {
  readonly c: number;
  readonly alpha: number;
  readonly bins: readonly number[];
  readonly censored: readonly number[];
}

/** mambamil.md: hazards and survival (b, c), risk (b), mean loss. */
export function survival(logits: Numbers, { c, alpha, bins, censored }: Survival) {
  const hazards = Float64Array.from(logits, sigmoid);
  const curve = new Float64Array(logits.length);
  const risk = new Float64Array(bins.length);
  const log = (x: number) => Math.log(Math.max(x, 1e-7));
  let loss = 0;
  for (const [i, bin] of bins.entries()) {
    for (let j = 0; j < c; j++) {
      curve[i * c + j] = (j ? curve[i * c + j - 1]! : 1) * (1 - hazards[i * c + j]!);
      risk[i]! -= curve[i * c + j]!;
    }
    const before = bin ? curve[i * c + bin - 1]! : 1;
    const unc = -(1 - censored[i]!) * (log(before) + log(hazards[i * c + bin]!));
    const cen = -censored[i]! * log(curve[i * c + bin]!);
    loss += ((1 - alpha) * (cen + unc) + alpha * unc) / bins.length;
  }
  return { hazards, curve, risk, loss };
}

function softmax(row: number[]): number[] {
  const highest = Math.max(...row);
  const e = row.map((v) => Math.exp(v - highest));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

function rows(x: Numbers, width: number, f: (row: number[]) => number[]): Float64Array {
  const out = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += width) out.set(f(Array.from(x).slice(at, at + width)), at);
  return out;
}
