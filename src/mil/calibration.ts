/** Whether probabilities mean what they say: Brier score, reliability curve, expected calibration error, temperature scaling. */
import { ratio } from './metrics.ts';

/** Cases as a calibration sees them: rows x classes probabilities, and the class that was true. */
export interface Probabilities {
  readonly labels: readonly number[];
  readonly probabilities: readonly (readonly number[])[];
}

type Weights = ArrayLike<number> | null;

/**
 * Mean squared distance between probabilities and truth: of two classes (p - y)^2 of one of them, of more the sum over all
 * (Brier 1950).
 */
export function brierScore({ labels, probabilities }: Probabilities, weights: Weights = null): number | null {
  let [total, count] = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    const weight = weights ? weights[i]! : 1;
    const row = probabilities[i]!;
    let squares = 0;
    for (let k = 0; k < row.length; k++) squares += (row[k]! - (labels[i] === k ? 1 : 0)) ** 2;
    total += weight * (row.length === 2 ? squares / 2 : squares);
    count += weight;
  }
  return ratio(total, count);
}

/** Cases whose highest probability lies in (low, high]. */
export interface ReliabilityBin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean of the highest probabilities, and share of them that were right; null for an empty bin. */
  readonly confidence: number | null;
  readonly accuracy: number | null;
}

export const BINS = 10;

/** Bins of equal width of the probability of the predicted class (Guo et al. 2017). */
export function reliability({ labels, probabilities }: Probabilities, weights: Weights = null): ReliabilityBin[] {
  const [counts, confidences, right] = [0, 0, 0].map(() => new Float64Array(BINS)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let i = 0; i < labels.length; i++) {
    const weight = weights ? weights[i]! : 1;
    const row = probabilities[i]!;
    let best = 0;
    for (let k = 1; k < row.length; k++) if (row[k]! > row[best]!) best = k;
    const bin = Math.min(BINS - 1, Math.max(0, Math.ceil(row[best]! * BINS) - 1));
    counts[bin]! += weight;
    confidences[bin]! += weight * row[best]!;
    if (labels[i] === best) right[bin]! += weight;
  }
  return Array.from(counts, (count, i) => ({
    low: i / BINS,
    high: (i + 1) / BINS,
    count,
    confidence: ratio(confidences[i]!, count),
    accuracy: ratio(right[i]!, count),
  }));
}

/** Mean distance of confidence and accuracy over the bins, weighted by their cases. */
export function expectedCalibrationError(bins: readonly ReliabilityBin[]): number | null {
  let [gaps, count] = [0, 0];
  for (const bin of bins) {
    gaps += bin.count * Math.abs((bin.confidence ?? 0) - (bin.accuracy ?? 0));
    count += bin.count;
  }
  return ratio(gaps, count);
}

/** Mean negative log likelihood of the truth. Infinite where the truth was given no chance. */
export function logLoss({ labels, probabilities }: Probabilities): number | null {
  return ratio(
    labels.reduce((total, label, i) => total - Math.log(probabilities[i]![label]!), 0),
    labels.length,
  );
}

/** The probabilities softmax(log p / T): above 1 milder, below 1 surer; the predicted class stays. */
export function withTemperature(
  probabilities: readonly (readonly number[])[],
  temperature: number,
): readonly (readonly number[])[] {
  return probabilities.map((row) => {
    const logits = row.map((p) => logOf(p) / temperature);
    const most = Math.max(...logits);
    const shares = logits.map((logit) => Math.exp(logit - most));
    const total = shares.reduce((a, b) => a + b, 0);
    return shares.map((share) => share / total);
  });
}

/** Beyond these a temperature says no more than that the cases are separable, or that the scores mean nothing. */
const [COLDEST, HOTTEST] = [0.05, 20];

/**
 * The temperature of the lowest log loss (Guo et al. 2017), between 0.05 and 20. The loss is convex in 1 / T, so its slope is
 * followed to zero by halving. Null without cases.
 */
export function fitTemperature({ labels, probabilities }: Probabilities): number | null {
  if (labels.length === 0) return null;
  const logs = probabilities.map((row) => row.map(logOf));
  const slope = (coldness: number) => {
    let total = 0;
    for (const [i, row] of logs.entries()) {
      const most = Math.max(...row) * coldness;
      let [shares, expected] = [0, 0];
      for (const log of row) {
        const share = Math.exp(coldness * log - most);
        shares += share;
        expected += share * log;
      }
      total += expected / shares - row[labels[i]!]!;
    }
    return total;
  };
  let [low, high] = [1 / HOTTEST, 1 / COLDEST];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) high = middle;
    else low = middle;
  }
  return 2 / (low + high);
}

/** A probability of zero, which a softmax in f32 can give, has a logarithm all the same. */
function logOf(probability: number): number {
  return Math.log(Math.max(probability, 1e-38));
}
