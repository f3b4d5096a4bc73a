/** AUCs with their covariance (DeLong, DeLong and Clarke-Pearson 1988), by midranks (Sun and Xu 2014). Cases must be independent. */
import { normalTwoSided } from './distribution.ts';
import { averageRanks } from './metrics.ts';

export interface CorrelatedAucs {
  /** One for each score. */
  readonly aucs: readonly number[];
  readonly covariance: readonly (readonly number[])[];
}

/** Several scores of the same cases. Null unless there are two positives and two negatives. */
export function delong(positive: readonly boolean[], scores: readonly (readonly number[])[]): CorrelatedAucs | null {
  const rows = [...positive.keys()];
  const [ofPositives, ofNegatives] = [rows.filter((i) => positive[i]), rows.filter((i) => !positive[i])];
  const [m, n] = [ofPositives.length, ofNegatives.length];
  if (m < 2 || n < 2) return null;
  // How often each positive is above the negatives, and each negative below the positives: rank among all minus rank among its own.
  const components = scores.map((score) => {
    const all = averageRanks(score);
    const above = (own: readonly number[]) => {
      const ranks = averageRanks(own.map((i) => score[i]!));
      return own.map((i, at) => all[i]! - ranks[at]!);
    };
    return { positives: above(ofPositives).map((v) => v / n), negatives: above(ofNegatives).map((v) => 1 - v / m) };
  });
  const aucs = components.map(({ positives }) => positives.reduce((a, b) => a + b, 0) / m);
  const covariance = components.map((a, i) =>
    components.map((b, j) => {
      const part = (kind: 'positives' | 'negatives', size: number) =>
        a[kind].reduce((sum, v, at) => sum + (v - aucs[i]!) * (b[kind][at]! - aucs[j]!), 0) / (size - 1) / size;
      return part('positives', m) + part('negatives', n);
    }),
  );
  return { aucs, covariance };
}

export interface AucDifference {
  readonly difference: number;
  readonly standardError: number;
  readonly z: number;
  readonly p: number;
}

/** DeLong's test of two AUCs of the same cases, two-sided. Null when the variance of their difference is zero. */
export function delongTest({ aucs, covariance: c }: CorrelatedAucs): AucDifference | null {
  const difference = aucs[0]! - aucs[1]!;
  const variance = c[0]![0]! + c[1]![1]! - 2 * c[0]![1]!;
  if (variance <= 1e-15) return null;
  const z = difference / Math.sqrt(variance);
  return { difference, standardError: Math.sqrt(variance), z, p: normalTwoSided(z) };
}
