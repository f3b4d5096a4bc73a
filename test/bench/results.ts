import { expect } from 'vitest';
import type { Result } from '../../src/bench/result.ts';

/** Every result has its numbers, and a name of its own; gives the names. */
export function expectResults(results: readonly Result[]): string[] {
  for (const { name, value, unit, baseline, ratio } of results) {
    expect(value, name).toBeGreaterThan(0);
    expect(unit, name).toMatch(/^(ms|s|us|kB|MB|GB\/s|GFLOP\/s|steps\/s|tiles\/s|patches\/s|x)$/);
    expect(baseline === null, name).toBe(ratio === null);
    if (baseline !== null) expect(ratio, name).toBeGreaterThan(0);
  }
  const names = results.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  return names;
}
