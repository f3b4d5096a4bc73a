/**
 * Whether a score of patches says what the model looks at: deletion and insertion curves (Petsiuk et al. 2018), on bags, where a
 * patch that is taken away is really gone.
 */
import type { Bag } from '../features/bag.ts';
import { createRandom, shuffle } from '../random.ts';
import type { OpenModel } from './model-folder.ts';
import { predictBag } from './predict.ts';

/** Mean over slides of one score column. */
export interface ColumnFaithfulness {
  readonly name: string;
  /** Areas under the mean curves, 0 to 1: deletion low and insertion high is good. */
  readonly deletion: number;
  readonly insertion: number;
  /** Insertion minus deletion. */
  readonly score: number;
  /** Probability of the full bag's prediction at evenly spaced shares of patches taken away, or put in. */
  readonly deletionCurve: readonly number[];
  readonly insertionCurve: readonly number[];
}

/** `faithfulness.json` of a run. */
export interface Faithfulness {
  readonly slides: number;
  /** Points of a curve. */
  readonly steps: number;
  readonly columns: readonly ColumnFaithfulness[];
  /** Of patches in random order: what a score that knows nothing has. */
  readonly baseline: { readonly deletion: number; readonly insertion: number };
}

/** Points of a curve: no patch, every tenth, all. */
export const STEPS = 11;

/** What one score says of one bag. */
export interface Perturbation {
  /** Probability that the whole bag's prediction has, at each share of patches taken away, those of the highest score first. */
  readonly deletionCurve: readonly number[];
  /** The same of those patches alone. */
  readonly insertionCurve: readonly number[];
}

/** A bag of nothing cannot be predicted: at the ends one patch is left, the last or the first. Errors as `predictBag`. */
export async function perturb(open: OpenModel, bag: Bag, score: Float32Array): Promise<Perturbation> {
  const { probabilities } = await predictBag(open, bag);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const ranked = Int32Array.from(score.keys()).sort((a, b) => score[b]! - score[a]! || a - b);
  const of = async (rows: Int32Array) => {
    if (rows.length === bag.count) return probabilities[best]!;
    return (await predictBag(open, partOf(bag, rows.sort()))).probabilities[best]!;
  };
  const [deletionCurve, insertionCurve]: [number[], number[]] = [[], []];
  for (let step = 0; step < STEPS; step++) {
    const patches = Math.round((step / (STEPS - 1)) * bag.count);
    deletionCurve.push(await of(ranked.slice(Math.min(patches, bag.count - 1))));
    insertionCurve.push(await of(ranked.slice(0, Math.max(patches, 1))));
  }
  return { deletionCurve, insertionCurve };
}

/** As `perturb`, of patches in random order. */
export function perturbAtRandom(open: OpenModel, bag: Bag, seed: number): Promise<Perturbation> {
  const order = shuffle(createRandom(seed), [...Array(bag.count).keys()]);
  return perturb(open, bag, Float32Array.from(order));
}

/** Means over slides; areas by the trapezoidal rule. @param named for each score its curves, one a slide. */
export function summariseFaithfulness(
  named: ReadonlyMap<string, readonly Perturbation[]>,
  random: readonly Perturbation[],
): Faithfulness {
  const columns = [...named].map(([name, curves]) => {
    const [deletionCurve, insertionCurve] = meanCurves(curves);
    const [deletion, insertion] = [areaUnder(deletionCurve), areaUnder(insertionCurve)];
    return { name, deletion, insertion, score: insertion - deletion, deletionCurve, insertionCurve };
  });
  const [deletion, insertion] = meanCurves(random).map(areaUnder) as [number, number];
  return { slides: random.length, steps: STEPS, columns, baseline: { deletion, insertion } };
}

function meanCurves(curves: readonly Perturbation[]): [number[], number[]] {
  const mean = (kind: keyof Perturbation) =>
    Array.from({ length: STEPS }, (_, i) => curves.reduce((sum, curve) => sum + curve[kind][i]!, 0) / curves.length);
  return [mean('deletionCurve'), mean('insertionCurve')];
}

export function areaUnder(curve: readonly number[]): number {
  const inner = curve.slice(1, -1).reduce((sum, value) => sum + value, 0);
  return (inner + (curve[0]! + curve.at(-1)!) / 2) / (curve.length - 1);
}

function partOf(bag: Bag, rows: Int32Array): Bag {
  const { dimension, features, coords } = bag;
  const picked = new Float32Array(rows.length * dimension);
  rows.forEach((row, i) => {
    picked.set(features.subarray(row * dimension, (row + 1) * dimension), i * dimension);
  });
  const places = coords && Int32Array.from({ length: 2 * rows.length }, (_, i) => coords[2 * rows[i >> 1]! + (i & 1)]!);
  return { ...bag, count: rows.length, features: picked, coords: places };
}
