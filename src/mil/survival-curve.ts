/** Survival of groups of patients: Kaplan-Meier curves with Greenwood's intervals, and the log-rank test between two. */
import { chiSquaredTail } from './distribution.ts';

export interface SurvivalStep {
  readonly time: number;
  /** Before this time. */
  readonly atRisk: number;
  readonly events: number;
  readonly censored: number;
  /** From this time on, with its 95 % interval (log-log scale); null where it is not defined. */
  readonly survival: number;
  readonly low: number | null;
  readonly high: number | null;
}

/** One step for each distinct time, rising. */
export function kaplanMeier(times: readonly number[], events: readonly boolean[]): SurvivalStep[] {
  const order = [...times.keys()].sort((i, j) => times[i]! - times[j]!);
  const steps: SurvivalStep[] = [];
  let [survival, greenwood] = [1, 0];
  for (let first = 0; first < order.length; ) {
    const time = times[order[first]!]!;
    let [end, died] = [first, 0];
    for (; end < order.length && times[order[end]!] === time; end++) died += Number(events[order[end]!]);
    const atRisk = order.length - first;
    survival *= 1 - died / atRisk;
    greenwood += died / (atRisk * (atRisk - died));
    const interval = logLogInterval(survival, greenwood);
    steps.push({ time, atRisk, events: died, censored: end - first - died, survival, ...interval });
    first = end;
  }
  return steps;
}

/** Stays between 0 and 1 (Kalbfleisch and Prentice). */
function logLogInterval(survival: number, greenwood: number): { low: number | null; high: number | null } {
  if (survival <= 0 || survival >= 1) return { low: null, high: null };
  const spread = Math.exp((1.959963984540054 * Math.sqrt(greenwood)) / Math.log(survival));
  return { low: survival ** (1 / spread), high: survival ** spread };
}

/** The first time at which the curve is at or below one half; null if it never is. */
export function medianSurvival(steps: readonly SurvivalStep[]): number | null {
  return steps.find(({ survival }) => survival <= 0.5 + 1e-12)?.time ?? null;
}

export interface LogRank {
  readonly chiSquared: number;
  readonly p: number;
}

/** Log-rank test of two groups (hypergeometric variance). Null when nothing can be compared: an empty group, or no event. */
export function logRank(
  times: readonly number[],
  events: readonly boolean[],
  inFirst: readonly boolean[],
): LogRank | null {
  const order = [...times.keys()].sort((i, j) => times[i]! - times[j]!);
  let atRiskFirst = inFirst.filter(Boolean).length;
  let [excess, variance] = [0, 0];
  for (let first = 0; first < order.length; ) {
    const time = times[order[first]!]!;
    const atRisk = order.length - first;
    let [end, died, diedFirst, leftFirst] = [first, 0, 0, 0];
    for (; end < order.length && times[order[end]!] === time; end++) {
      const i = order[end]!;
      died += Number(events[i]);
      diedFirst += Number(events[i] && inFirst[i]);
      leftFirst += Number(inFirst[i]);
    }
    const share = atRiskFirst / atRisk;
    excess += diedFirst - died * share;
    if (atRisk > 1) variance += (died * share * (1 - share) * (atRisk - died)) / (atRisk - 1);
    atRiskFirst -= leftFirst;
    first = end;
  }
  if (variance <= 0) return null;
  const chiSquared = excess ** 2 / variance;
  return { chiSquared, p: chiSquaredTail(chiSquared, 1) };
}
