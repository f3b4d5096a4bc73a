import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHalf, widenHalf } from '../../src/features/half.ts';
import { createSimilarity } from '../../src/features/similarity.ts';

/** By its definition, in double precision. */
function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function halves(values: Float32Array): Uint16Array {
  const words = new Uint16Array(values.length);
  toHalf(values, words);
  return words;
}

const vector = (length: number) =>
  fc
    .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: length, maxLength: length })
    .map((values) => Float32Array.from(values))
    .filter((values) => values.some((value) => Math.abs(value) > 1e-3));

const cases = fc
  .record({ dimension: fc.integer({ min: 1, max: 40 }), count: fc.integer({ min: 0, max: 9 }) })
  .chain(({ dimension, count }) =>
    fc.tuple(vector(dimension), fc.array(vector(dimension), { minLength: count, maxLength: count })),
  );

describe('similarity of features', () => {
  it.each(['f32', 'f16'])('is their cosine, rows of %s', (dtype) => {
    fc.assert(
      fc.property(cases, ([wanted, rows]) => {
        const similarity = createSimilarity(wanted);
        const all = Float32Array.from(rows.flatMap((row) => [...row]));
        const stored = dtype === 'f16' ? halves(all) : all;
        const seen = dtype === 'f16' ? widenHalf(halves(all)) : all;
        const found = similarity(stored);
        expect(found.length).toBe(rows.length);
        found.forEach((value, i) => {
          const row = seen.subarray(i * wanted.length, (i + 1) * wanted.length);
          const true_ = cosine(row, wanted);
          if (Number.isNaN(true_)) expect(value).toBeNaN();
          else expect(Math.abs(value - true_)).toBeLessThan(2e-6);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('widens every word of f16 exactly', () => {
    // With one feature a row, the cosine is the sign alone: two features, of which the first is known, tell the second.
    const words = Uint16Array.from({ length: 65536 }, (_, word) => word);
    const rows = Uint16Array.from({ length: 2 * 65536 }, (_, i) => (i % 2 ? words[i >> 1]! : 0x3c00));
    const found = createSimilarity(Float32Array.of(0, 1))(rows);
    const values = widenHalf(words);
    found.forEach((value, i) => {
      const x = values[i]!;
      if (Number.isFinite(x)) expect(Math.abs(value - x / Math.hypot(1, x))).toBeLessThanOrEqual(1e-7);
      else expect(value).toBeNaN();
    });
  });

  it('takes more rows than it holds at a time', () => {
    const dimension = 1024;
    const rows = new Float32Array(3000 * dimension);
    for (let row = 0; row < 3000; row++) rows[row * dimension + (row % dimension)] = row % 2 ? 2 : -2;
    const wanted = new Float32Array(dimension);
    wanted[1000] = 3;
    const found = createSimilarity(wanted)(rows);
    const ones = [...found.keys()].filter((row) => found[row] !== 0);
    expect(ones).toEqual([1000, 2024]);
    expect(found[1000]).toBe(-1);
    expect(found[2024]).toBe(-1);
  });

  it('is no number for a row of zeros', () => {
    expect([...createSimilarity(Float32Array.of(1, 2))(new Float32Array(2))]).toEqual([Number.NaN]);
  });
});
