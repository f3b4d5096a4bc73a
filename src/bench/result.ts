/** What a benchmark says: a number, what it is compared with, and the mark it has to reach. */

export type Unit = 'ms' | 's' | 'us' | 'kB' | 'MB' | 'GB/s' | 'GFLOP/s' | 'steps/s' | 'tiles/s' | 'patches/s' | 'x';

export interface Result {
  readonly name: string;
  readonly value: number;
  readonly unit: Unit;
  /** The same quantity of what it is compared with, in the same unit; null: compared with nothing. */
  readonly baseline: number | null;
  /** How many times as good as the baseline: above 1 is faster, or smaller. */
  readonly ratio: number | null;
  /** How far the middle one of the timed rounds lies above the best, as a share of the best; null for one round, or no time. */
  readonly spread: number | null;
  /** The least that the value could be on this device: bytes at its copy bandwidth, or operations at the rate of its products. */
  readonly floor: Floor | null;
  readonly mark: Mark | null;
}

export interface Floor {
  readonly value: number;
  readonly by: 'bytes' | 'flops';
  readonly bytes: number;
  /** Multiplications and additions; exponentials are not counted. */
  readonly flops: number;
}

/** A limit on the ratio, or on the value where nothing is compared. */
export type Limit = { readonly least: number } | { readonly most: number };
export type Mark = Limit & { readonly met: boolean };

export interface Report {
  readonly results: readonly Result[];
  readonly device: string;
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

interface Details {
  readonly baseline?: number | null;
  readonly spread?: number | null;
  readonly floor?: Floor | null;
  readonly mark?: Limit | null;
}

const RATES: readonly Unit[] = ['GB/s', 'GFLOP/s', 'steps/s', 'tiles/s', 'patches/s'];

export function resultOf(name: string, value: number, unit: Unit, details: Details = {}): Result {
  const { baseline = null, spread = null, floor = null, mark = null } = details;
  const ratio = baseline === null ? null : RATES.includes(unit) ? value / baseline : baseline / value;
  return { name, value, unit, baseline, ratio, spread, floor, mark: mark && judged(mark, ratio ?? value) };
}

function judged(limit: Limit, value: number): Mark {
  return { ...limit, met: 'least' in limit ? value >= limit.least : value <= limit.most };
}

/** For sizes at which a mark says nothing. */
export function withoutMarks(results: readonly Result[]): Result[] {
  return results.map((result) => ({ ...result, mark: null }));
}
