/**
 * Intervals and tests by drawing anew. What is drawn is the patient, with all slides: slides of one patient are not
 * independent, and an interval that takes them for so is too narrow. The same seed gives the same draws.
 */
import { createRandom, integer } from '../random.ts';

/** Which rows belong together: a number per row, counted from 0. */
export function groupRows(names: readonly string[]): { of: Int32Array; count: number } {
  const numbers = new Map<string, number>();
  const of = Int32Array.from(names, (name) => {
    if (!numbers.has(name)) numbers.set(name, numbers.size);
    return numbers.get(name)!;
  });
  return { of, count: numbers.size };
}

export interface Interval {
  /** 2.5th and 97.5th percentile; null when fewer than half of the draws define the figure, or there is one group only. */
  readonly low: number | null;
  readonly high: number | null;
  /** Draws in which the figure was defined. */
  readonly defined: number;
}

export interface Draws {
  readonly resamples: number;
  readonly seed: number;
}

/**
 * 95 % percentile bootstrap intervals of several figures at once.
 * @param groups a group (patient) for each row; as many as there are are drawn with replacement.
 * @param figures of rows that count as often as their weights say.
 */
export function bootstrap(
  groups: { readonly of: Int32Array; readonly count: number },
  figures: (weights: Uint16Array) => ReadonlyMap<string, number | null>,
  { resamples, seed }: Draws,
): Map<string, Interval> {
  const random = createRandom(seed);
  const drawn = new Map<string, number[]>();
  const [times, weights] = [new Uint16Array(groups.count), new Uint16Array(groups.of.length)];
  for (let draw = 0; draw < resamples; draw++) {
    times.fill(0);
    for (let i = 0; i < groups.count; i++) times[integer(random, groups.count)]!++;
    for (let row = 0; row < weights.length; row++) weights[row] = times[groups.of[row]!]!;
    for (const [name, value] of figures(weights)) {
      const values = drawn.get(name) ?? [];
      drawn.set(name, values);
      if (value !== null) values.push(value);
    }
  }
  return new Map([...drawn].map(([name, values]) => [name, interval(values, resamples, groups.count)]));
}

function interval(values: number[], resamples: number, groups: number): Interval {
  const defined = values.length;
  if (groups < 2 || defined === 0 || defined < resamples / 2) return { low: null, high: null, defined };
  const sorted = Float64Array.from(values).sort();
  return { low: quantile(sorted, 0.025), high: quantile(sorted, 0.975), defined };
}

/** Of rising values, linear between two neighbours. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!);
}

/**
 * p of a permutation test: the share of draws that are at least as extreme as what was found, the finding itself counted as one
 * of them (Phipson and Smyth 2010), so never 0. Null when the figure is not defined.
 */
export function permutationP(
  found: number | null,
  draw: (random: () => number) => number | null,
  draws: Draws,
): number | null {
  if (found === null) return null;
  const random = createRandom(draws.seed);
  let [extreme, defined] = [1, 1];
  for (let i = 0; i < draws.resamples; i++) {
    const value = draw(random);
    if (value === null) continue;
    defined++;
    // Room for rounding between sums of the same numbers in another order.
    if (value >= found - 1e-12) extreme++;
  }
  return extreme / defined;
}
