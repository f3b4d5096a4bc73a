import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cohenKappa, fleissKappa } from '../../src/viewer/agreement.ts';

function repeat<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

describe("Cohen's kappa", () => {
  it('is that of the textbook examples', () => {
    // 50 proposals, both yes 20, both no 15, 5 and 10 apart: observed 0.7, by chance 0.5.
    const proposals = [
      ...repeat(20, ['yes', 'yes'] as const),
      ...repeat(5, ['yes', 'no'] as const),
      ...repeat(10, ['no', 'yes'] as const),
      ...repeat(15, ['no', 'no'] as const),
    ];
    expect(cohenKappa(proposals)).toBeCloseTo(0.4, 12);
    // 45, 15, 25, 15 of 100: observed 0.6, by chance 0.54.
    const same = [
      ...repeat(45, ['yes', 'yes'] as const),
      ...repeat(15, ['yes', 'no'] as const),
      ...repeat(25, ['no', 'yes'] as const),
      ...repeat(15, ['no', 'no'] as const),
    ];
    expect(cohenKappa(same)).toBeCloseTo(0.06 / 0.46, 12);
  });

  it('is not defined without slides, or where both always said the same one thing', () => {
    expect(cohenKappa([])).toBeNull();
    expect(cohenKappa(repeat(9, ['a', 'a'] as const))).toBeNull();
  });
});

describe("Fleiss' kappa", () => {
  it('is that of the worked example: ten subjects, fourteen raters, five categories', () => {
    const table = [
      [0, 0, 0, 0, 14],
      [0, 2, 6, 4, 2],
      [0, 0, 3, 5, 6],
      [0, 3, 9, 2, 0],
      [2, 2, 8, 1, 1],
      [7, 7, 0, 0, 0],
      [3, 2, 6, 3, 0],
      [2, 5, 3, 2, 2],
      [6, 5, 2, 1, 0],
      [0, 2, 2, 3, 7],
    ];
    const slides = table.map((counts) => counts.flatMap((count, category) => repeat(count, `${category}`)));
    expect(fleissKappa(slides)).toBeCloseTo(0.21, 3);
  });

  it('is 1 where all agree on more than one category, and at most 1 always', () => {
    expect(fleissKappa([repeat(3, 'a'), repeat(3, 'b')])).toBe(1);
    const ratings = fc.array(fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 3, maxLength: 3 }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(ratings, (slides) => {
        const kappa = fleissKappa(slides);
        return kappa === null || kappa <= 1 + 1e-12;
      }),
    );
  });
});
