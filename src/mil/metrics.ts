/**
 * Figures of merit (mambamil.md): pure functions of labels and scores. What is undefined is null, never 0 or 0.5.
 * Those of a score alone are read off the counts of positives and negatives at each of its values (`score-counts.ts`).
 * `weights` say how often each case counts, as a bootstrap draws them; without, once.
 */
import { areaUnderRoc, countScores, type RankedScores, rankScores, stepwisePrecision } from './score-counts.ts';

/** counts[label][prediction] */
export function confusionMatrix(
  labels: readonly number[],
  predictions: readonly number[],
  classes: number,
  weights: ArrayLike<number> | null = null,
): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < labels.length; i++) counts[labels[i]!]![predictions[i]!]! += weights ? weights[i]! : 1;
  return counts;
}

/** The class with the highest probability of each row; the first of several. */
export function predictedClasses(probabilities: readonly (readonly number[])[]): number[] {
  return probabilities.map((row) => row.indexOf(Math.max(...row)));
}

export function accuracy(confusion: readonly (readonly number[])[]): number | null {
  const right = sum(confusion.map((row, k) => row[k]!));
  return ratio(right, sum(confusion.flat()));
}

/** Mean recall of the classes that are among the labels. */
export function balancedAccuracy(confusion: readonly (readonly number[])[]): number | null {
  return mean(confusion.flatMap((row, k) => (sum(row) > 0 ? [row[k]! / sum(row)] : [])));
}

/** F1 of each class; null for one that is neither among the labels nor predicted. */
export function f1OfClasses(confusion: readonly (readonly number[])[]): (number | null)[] {
  return confusion.map((row, k) => ratio(2 * row[k]!, sum(row) + sum(confusion.map((other) => other[k]!))));
}

/** As scikit-learn writes it: 0 where it is not defined. */
export function f1PerClass(confusion: readonly (readonly number[])[]): number[] {
  return f1OfClasses(confusion).map((f1) => f1 ?? 0);
}

/** Unweighted mean of F1 over the classes that are among the labels or the predictions. */
export function f1Macro(confusion: readonly (readonly number[])[]): number | null {
  return meanOfDefined(f1OfClasses(confusion));
}

/** Mean of F1 over the classes, weighted by how often each is among the labels. */
export function f1Weighted(confusion: readonly (readonly number[])[]): number | null {
  return ratio(sum(f1PerClass(confusion).map((f1, k) => f1 * sum(confusion[k]!))), sum(confusion.flat()));
}

/** Share of each class that was found (sensitivity); null for one without cases. */
export function recallPerClass(confusion: readonly (readonly number[])[]): (number | null)[] {
  return confusion.map((row, k) => ratio(row[k]!, sum(row)));
}

/** Share of the predictions of each class that are right; null for one that was never predicted. */
export function precisionPerClass(confusion: readonly (readonly number[])[]): (number | null)[] {
  return confusion.map((row, k) => ratio(row[k]!, sum(confusion.map((other) => other[k]!))));
}

/** Cohen's kappa of ordered classes, errors weighted by the square of their distance. Null when chance leaves nothing to disagree on. */
export function quadraticKappa(confusion: readonly (readonly number[])[]): number | null {
  const rows = confusion.map(sum);
  const columns = confusion.map((_, k) => sum(confusion.map((row) => row[k]!)));
  let [found, expected] = [0, 0];
  for (const [i, row] of confusion.entries()) {
    for (const [j, count] of row.entries()) {
      found += (i - j) ** 2 * count;
      expected += ((i - j) ** 2 * rows[i]! * columns[j]!) / sum(rows);
    }
  }
  const disagreement = ratio(found, expected);
  return disagreement === null ? null : 1 - disagreement;
}

/** Area under the ROC curve: how often a positive scores above a negative, ties counting half. Null unless both are there. */
export function auc(positive: readonly boolean[], scores: readonly number[]): number | null {
  return areaUnderRoc(countScores(rankScores(scores), (row) => positive[row]!));
}

/** AUC of each class against all others. */
export function aucPerClass(
  labels: readonly number[],
  probabilities: readonly (readonly number[])[],
): (number | null)[] {
  return rankColumns(probabilities).map((ranked, k) => areaUnderRoc(countScores(ranked, (row) => labels[row] === k)));
}

/** Mean one-against-rest AUC of the classes that have both positives and negatives. */
export function aucOneVsRest(labels: readonly number[], probabilities: readonly (readonly number[])[]): number | null {
  return meanOfDefined(aucPerClass(labels, probabilities));
}

/** Mean over ordered pairs of classes (i, j) of the AUC of p_i among the samples of i and j; null if a class is missing. */
export function aucOneVsOne(labels: readonly number[], probabilities: readonly (readonly number[])[]): number | null {
  return aucOfPairs(labels, rankColumns(probabilities));
}

/** As `aucOneVsOne`, of columns ranked beforehand. */
export function aucOfPairs(
  labels: readonly number[],
  columns: readonly RankedScores[],
  weights: ArrayLike<number> | null = null,
): number | null {
  const pairs = columns.flatMap((ranked, i) =>
    columns.flatMap((_, j) => {
      const side = (row: number) => (labels[row] === i ? true : labels[row] === j ? false : null);
      return i === j ? [] : [areaUnderRoc(countScores(ranked, side, weights))];
    }),
  );
  return pairs.includes(null) ? null : mean(pairs as number[]);
}

/** Each column of (rows x classes) ranked. */
export function rankColumns(probabilities: readonly (readonly number[])[]): RankedScores[] {
  return (probabilities[0] ?? []).map((_, k) => rankScores(probabilities.map((row) => row[k]!)));
}

/** Area under the precision-recall curve as a sum of steps; ties are one step. */
export function averagePrecision(positive: readonly boolean[], scores: readonly number[]): number | null {
  return stepwisePrecision(countScores(rankScores(scores), (row) => positive[row]!));
}

export interface Concordance {
  /** Null when no two patients can be compared. */
  readonly cIndex: number | null;
  readonly comparable: number;
  readonly concordant: number;
  readonly discordant: number;
  readonly tiedRisk: number;
}

const TIED_RISK = 1e-8;

/**
 * Harrell's C: over pairs of which the first had the event before the second's time (or at it, the second being censored), how
 * often it had the higher risk; risks within 1e-8 count half. Pairs of cases that a bootstrap drew more than once count as often.
 */
export function concordance(
  times: readonly number[],
  events: readonly boolean[],
  risks: readonly number[],
  weights: ArrayLike<number> | null = null,
): Concordance {
  const weightOf = (i: number) => (weights ? weights[i]! : 1);
  const byRisk = Float64Array.from(risks).sort();
  /** Number of sorted risks for which the (rising) test does not hold yet. */
  const below = (holds: (risk: number) => boolean) => {
    let [low, high] = [0, byRisk.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(byRisk[middle]!)) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const later = new RunningCounts(byRisk.length);
  let [concordant, discordant, tiedRisk] = [0, 0, 0];
  // From the last time to the first; at one time the censored are there before the events are compared, and those come after.
  const order = [...times.keys()].sort((i, j) => times[j]! - times[i]! || Number(events[i]) - Number(events[j]));
  for (let first = 0; first < order.length; ) {
    let end = first + 1;
    while (end < order.length && times[order[end]!] === times[order[first]!]) end++;
    const [censored, died] = [false, true].map((event) => order.slice(first, end).filter((i) => events[i] === event));
    const enter = (i: number) =>
      later.add(
        below((risk) => risk >= risks[i]!),
        weightOf(i),
      );
    censored!.forEach(enter);
    for (const i of died!) {
      const smaller = later.before(below((risk) => risks[i]! - risk <= TIED_RISK));
      const notLarger = later.before(below((risk) => risk - risks[i]! > TIED_RISK));
      concordant += weightOf(i) * smaller;
      tiedRisk += weightOf(i) * (notLarger - smaller);
      discordant += weightOf(i) * (later.total - notLarger);
    }
    died!.forEach(enter);
    first = end;
  }
  const comparable = concordant + discordant + tiedRisk;
  return { cIndex: ratio(concordant + tiedRisk / 2, comparable), comparable, concordant, discordant, tiedRisk };
}

/** Pairs that one case is in, as either of the two. */
export interface PairCounts {
  readonly comparable: number;
  readonly discordant: number;
}

/** Which cases a C-index is lost on: its pairs, case by case. Takes all pairs, so time grows with the square of the cases. */
export function pairsPerCase(
  times: readonly number[],
  events: readonly boolean[],
  risks: readonly number[],
): PairCounts[] {
  const [comparable, discordant] = [new Int32Array(times.length), new Int32Array(times.length)];
  for (let i = 0; i < times.length; i++) {
    if (!events[i]) continue;
    for (let j = 0; j < times.length; j++) {
      if (!(times[i]! < times[j]! || (times[i] === times[j] && !events[j]))) continue;
      comparable[i]!++;
      comparable[j]!++;
      if (risks[j]! - risks[i]! <= TIED_RISK) continue;
      discordant[i]!++;
      discordant[j]!++;
    }
  }
  return times.map((_, i) => ({ comparable: comparable[i]!, discordant: discordant[i]! }));
}

/** Counts by place with sums over the places before one, both in logarithmic time (a Fenwick tree). */
class RunningCounts {
  readonly #tree: Float64Array;
  total = 0;

  constructor(places: number) {
    this.#tree = new Float64Array(places + 1);
  }

  add(place: number, count: number): void {
    this.total += count;
    for (let i = place + 1; i < this.#tree.length; i += i & -i) this.#tree[i]! += count;
  }

  before(place: number): number {
    let found = 0;
    for (let i = place; i > 0; i -= i & -i) found += this.#tree[i]!;
    return found;
  }
}

/** Rank of each value from 1, equal values sharing the mean of their ranks. */
export function averageRanks(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  const ranks = new Array<number>(values.length);
  for (let first = 0; first < order.length; ) {
    let end = first + 1;
    while (end < order.length && values[order[end]!] === values[order[first]!]) end++;
    for (let at = first; at < end; at++) ranks[order[at]!] = (first + 1 + end) / 2;
    first = end;
  }
  return ranks;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function mean(values: readonly number[]): number | null {
  return ratio(sum(values), values.length);
}

export function meanOfDefined(values: readonly (number | null)[]): number | null {
  return mean(values.filter((value) => value !== null));
}

/** With n - 1 below; null for fewer than two. */
export function standardDeviation(values: readonly number[]): number | null {
  const centre = mean(values);
  if (centre === null || values.length < 2) return null;
  return Math.sqrt(sum(values.map((value) => (value - centre) ** 2)) / (values.length - 1));
}

export function ratio(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}
