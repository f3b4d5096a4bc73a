/** Figures of merit (mambamil.md): pure functions of labels and scores. What is undefined is null, never 0 or 0.5. */

/** counts[label][prediction] */
export function confusionMatrix(
  labels: readonly number[],
  predictions: readonly number[],
  classes: number,
): number[][] {
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (const [i, label] of labels.entries()) counts[label]![predictions[i]!]!++;
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

/** F1 of each class; 0 for one that is neither among the labels nor predicted. */
export function f1PerClass(confusion: readonly (readonly number[])[]): number[] {
  return confusion.map((row, k) => {
    const predicted = sum(confusion.map((other) => other[k]!));
    return ratio(2 * row[k]!, sum(row) + predicted) ?? 0;
  });
}

/** Unweighted mean of F1 over the classes that are among the labels or the predictions. */
export function f1Macro(confusion: readonly (readonly number[])[]): number | null {
  const f1 = f1PerClass(confusion);
  return mean(f1.filter((_, k) => sum(confusion[k]!) + sum(confusion.map((row) => row[k]!)) > 0));
}

/** Area under the ROC curve: how often a positive scores above a negative, ties counting half. Null unless both are there. */
export function auc(positive: readonly boolean[], scores: readonly number[]): number | null {
  const ranks = averageRanks(scores);
  const positives = positive.filter(Boolean).length;
  const rankSum = sum(ranks.filter((_, i) => positive[i]));
  return ratio(rankSum - (positives * (positives + 1)) / 2, positives * (positive.length - positives));
}

/** AUC of each class against all others. */
export function aucPerClass(
  labels: readonly number[],
  probabilities: readonly (readonly number[])[],
): (number | null)[] {
  return (probabilities[0] ?? []).map((_, k) =>
    auc(
      labels.map((label) => label === k),
      probabilities.map((row) => row[k]!),
    ),
  );
}

/** Mean one-against-rest AUC of the classes that have both positives and negatives. */
export function aucOneVsRest(labels: readonly number[], probabilities: readonly (readonly number[])[]): number | null {
  return mean(aucPerClass(labels, probabilities).filter((value) => value !== null));
}

/** Mean over ordered pairs of classes (i, j) of the AUC of p_i among the samples of i and j; null if a class is missing. */
export function aucOneVsOne(labels: readonly number[], probabilities: readonly (readonly number[])[]): number | null {
  const classes = (probabilities[0] ?? []).map((_, k) => k);
  const pairs = classes.flatMap((i) =>
    classes
      .filter((j) => j !== i)
      .map((j) => {
        const own = labels.flatMap((label, row) => (label === i || label === j ? [row] : []));
        return auc(
          own.map((row) => labels[row] === i),
          own.map((row) => probabilities[row]![i]!),
        );
      }),
  );
  return pairs.includes(null) ? null : mean(pairs as number[]);
}

/** Area under the precision-recall curve as a sum of steps; ties are one step. */
export function averagePrecision(positive: readonly boolean[], scores: readonly number[]): number | null {
  const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!);
  const positives = positive.filter(Boolean).length;
  if (positives === 0) return null;
  let [found, area, recall] = [0, 0, 0];
  for (const [seen, row] of order.entries()) {
    if (positive[row]) found++;
    if (seen + 1 < order.length && scores[order[seen + 1]!] === scores[row]) continue;
    area += (found / positives - recall) * (found / (seen + 1));
    recall = found / positives;
  }
  return area;
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

/** Harrell's C: over pairs of which the first had the event before the second's time, how often it had the higher risk. */
export function concordance(
  times: readonly number[],
  events: readonly boolean[],
  risks: readonly number[],
): Concordance {
  let [concordant, discordant, tiedRisk] = [0, 0, 0];
  for (const [i, time] of times.entries()) {
    if (!events[i]) continue;
    for (const [j, other] of times.entries()) {
      if (i === j || !(time < other || (time === other && !events[j]))) continue;
      const difference = risks[i]! - risks[j]!;
      if (Math.abs(difference) <= TIED_RISK) tiedRisk++;
      else if (difference > 0) concordant++;
      else discordant++;
    }
  }
  const comparable = concordant + discordant + tiedRisk;
  return { cIndex: ratio(concordant + tiedRisk / 2, comparable), comparable, concordant, discordant, tiedRisk };
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number | null {
  return ratio(sum(values), values.length);
}

function ratio(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}
