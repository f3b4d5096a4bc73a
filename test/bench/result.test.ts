import { describe, expect, it } from 'vitest';
import { expectClose, WrongResult } from '../../src/bench/check.ts';
import { resultOf, withoutMarks } from '../../src/bench/result.ts';
import { bestOf } from '../../src/bench/timing.ts';

describe('a result', () => {
  it('has a ratio above 1 where it is better than its baseline, in time and in rate', () => {
    expect(resultOf('time', 2, 'ms', { baseline: 10 }).ratio).toBe(5);
    expect(resultOf('memory', 10, 'MB', { baseline: 5 }).ratio).toBe(0.5);
    expect(resultOf('rate', 10, 'GFLOP/s', { baseline: 5 }).ratio).toBe(2);
    expect(resultOf('alone', 10, 'ms')).toMatchObject({ baseline: null, ratio: null, mark: null });
  });

  it('is judged by its ratio, or by its value where nothing is compared', () => {
    const met = (...args: Parameters<typeof resultOf>) => resultOf(...args).mark!.met;
    expect(met('faster', 2, 'ms', { baseline: 10, mark: { least: 5 } })).toBe(true);
    expect(met('not fast enough', 2.1, 'ms', { baseline: 10, mark: { least: 5 } })).toBe(false);
    expect(met('small', 1.25, 'x', { mark: { most: 1.25 } })).toBe(true);
    expect(met('too large', 1.26, 'x', { mark: { most: 1.25 } })).toBe(false);
    expect(withoutMarks([resultOf('small', 1, 'x', { mark: { most: 1 } })])[0]!.mark).toBeNull();
  });

  it('is the best round, and says how far the middle one lies above it', () => {
    expect(bestOf([12, 10, 15])).toEqual({ best: 10, spread: 12 / 10 - 1 });
    expect(bestOf([7])).toEqual({ best: 7, spread: null });
  });
});

describe('the check', () => {
  it('allows what the tolerance allows, relative to the largest number', () => {
    expect(() => expectClose('x', [1000.5, 0.4], [1000, 0], 1e-3)).not.toThrow();
    expect(() => expectClose('x', [1001.5, 0], [1000, 0], 1e-3)).toThrow(
      'x is wrong: number 0 of 2 is 1001.5, not 1000',
    );
  });

  it('refuses numbers that are none, and numbers that are missing', () => {
    expect(() => expectClose('x', [1, Number.NaN, 3], [1, 2, 3], 1)).toThrow(WrongResult);
    expect(() => expectClose('x', [1], [1, 2], 1)).toThrow('1 numbers instead of 2');
  });
});
