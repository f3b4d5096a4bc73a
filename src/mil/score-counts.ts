/**
 * A score and two sides: how many positives and negatives have each of its values. All that ROC and precision-recall curves say
 * is in these counts, and drawing cases anew, as a bootstrap does, only counts again without sorting.
 */

/** Scores by rank: `values` rising and distinct, `rank` of each case among them. */
export interface RankedScores {
  readonly values: Float64Array;
  readonly rank: Int32Array;
}

export interface ScoreCounts {
  /** Rising and distinct. */
  readonly values: Float64Array;
  readonly positives: Float64Array;
  readonly negatives: Float64Array;
}

export function rankScores(scores: ArrayLike<number>): RankedScores {
  const values = Float64Array.from(new Set(Array.from(scores))).sort();
  const places = new Map<number, number>();
  values.forEach((value, place) => void places.set(value, place));
  return { values, rank: Int32Array.from(scores, (score) => places.get(score)!) };
}

/** @param side true for a positive, false for a negative, null for a case that is neither. */
export function countScores(
  { values, rank }: RankedScores,
  side: (row: number) => boolean | null,
  weights: ArrayLike<number> | null = null,
): ScoreCounts {
  const [positives, negatives] = [new Float64Array(values.length), new Float64Array(values.length)];
  for (let row = 0; row < rank.length; row++) {
    const positive = side(row);
    if (positive === null) continue;
    (positive ? positives : negatives)[rank[row]!]! += weights ? weights[row]! : 1;
  }
  return { values, positives, negatives };
}

/** How often a positive scores above a negative, ties counting half. Null unless both are there. */
export function areaUnderRoc({ positives, negatives }: ScoreCounts): number | null {
  let [below, pairs, found] = [0, 0, 0];
  for (let i = 0; i < positives.length; i++) {
    pairs += positives[i]! * (below + negatives[i]! / 2);
    below += negatives[i]!;
    found += positives[i]!;
  }
  return found > 0 && below > 0 ? pairs / (found * below) : null;
}

/** Average precision: the area under the precision-recall curve as a sum of steps, ties being one step. Null without positives. */
export function stepwisePrecision({ positives, negatives }: ScoreCounts): number | null {
  let [found, seen, area] = [0, 0, 0];
  for (let i = positives.length - 1; i >= 0; i--) {
    found += positives[i]!;
    seen += positives[i]! + negatives[i]!;
    if (positives[i]! > 0) area += positives[i]! * (found / seen);
  }
  return found > 0 ? area / found : null;
}

/** A threshold and what calling every score from it on positive does. */
export interface OperatingPoint {
  /** Null calls nothing positive. */
  readonly threshold: number | null;
  /** Share of positives found, and share of negatives called positive. */
  readonly sensitivity: number;
  readonly falsePositiveRate: number;
  /** Share of what is called positive that is; null where nothing is. */
  readonly precision: number | null;
}

/** From the strictest threshold to the mildest: the ROC curve, and with `precision` the precision-recall curve. Empty unless both sides are there. */
export function operatingPoints({ values, positives, negatives }: ScoreCounts): OperatingPoint[] {
  const total = (counts: Float64Array) => counts.reduce((sum, count) => sum + count, 0);
  const [allPositives, allNegatives] = [total(positives), total(negatives)];
  if (allPositives === 0 || allNegatives === 0) return [];
  const points: OperatingPoint[] = [{ threshold: null, sensitivity: 0, falsePositiveRate: 0, precision: null }];
  let [hits, alarms] = [0, 0];
  for (let i = values.length - 1; i >= 0; i--) {
    if (positives[i] === 0 && negatives[i] === 0) continue;
    hits += positives[i]!;
    alarms += negatives[i]!;
    points.push({
      threshold: values[i]!,
      sensitivity: hits / allPositives,
      falsePositiveRate: alarms / allNegatives,
      precision: hits / (hits + alarms),
    });
  }
  return points;
}

/** The point of the highest sensitivity whose specificity is at least as asked; the strictest of several. Null unless both sides are there. */
export function atSpecificity(counts: ScoreCounts, specificity: number): OperatingPoint | null {
  let best: OperatingPoint | null = null;
  // Room for rounding: 1 - 1/20 is to be a specificity of 0.95.
  for (const point of operatingPoints(counts)) {
    if (1 - point.falsePositiveRate < specificity - 1e-12) continue;
    if (!best || point.sensitivity > best.sensitivity) best = point;
  }
  return best;
}
