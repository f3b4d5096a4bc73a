/** Two scores of the same patches, compared by the rank that each gives a patch. */
import type { Scores } from '../api.ts';
import { percentiles } from './score-raster.ts';

export interface ScoreDifference {
  /** Places of the first score's patches; how much higher its rank is than that of the second, -1..1; NaN where the second has no patch. */
  readonly scores: Scores;
  /** Patches that both have. */
  readonly shared: number;
}

/** Ranks are those among all patches of a score, as the percentile scale shows them: two scores need not share a unit. */
export function rankDifference(a: Scores, b: Scores): ScoreDifference {
  const [ranksA, ranksB] = [percentiles(a.values), percentiles(b.values)];
  const rowOf = new Map<string, number>();
  const placeOf = ({ coords }: Scores, row: number) => `${coords[2 * row]} ${coords[2 * row + 1]}`;
  for (let row = 0; row < b.values.length; row++) rowOf.set(placeOf(b, row), row);
  let shared = 0;
  const values = ranksA.map((rank, row) => {
    const other = rowOf.get(placeOf(a, row));
    if (other === undefined) return Number.NaN;
    shared++;
    return rank - ranksB[other]!;
  });
  return { scores: { coords: a.coords, values }, shared };
}
