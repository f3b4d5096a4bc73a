/** Fewer cases, where there is no time or no room for all: the small ones, and of each kind at least one. */
import type { GoldenCase } from './source.ts';

/** Cases of at most `most` by `size`, and the smallest of each kind, in the manifest's order. */
export function chooseCases(
  cases: readonly GoldenCase[],
  size: (goldenCase: GoldenCase) => number,
  most: number,
): GoldenCase[] {
  const smallest = new Map<string, GoldenCase>();
  for (const one of cases) {
    const found = smallest.get(one.kind);
    if (!found || size(one) < size(found)) smallest.set(one.kind, one);
  }
  return cases.filter((one) => size(one) <= most || smallest.get(one.kind) === one);
}
