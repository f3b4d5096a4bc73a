import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createResize } from '../../../src/features/encoders/resize.ts';

const grey = (values: number[]) => Uint8Array.from(values.flatMap((value) => [value, value, value]));

function resized(source: Uint8Array, from: number, to: number, kind: 'bilinear' | 'bicubic'): Uint8Array {
  const target = new Uint8Array(3 * to * to);
  createResize(from, to, kind)(source, target);
  return target;
}

/** A picture whose rows are all the same. */
const rows = (row: number[]) => grey(row.flatMap(() => row));

describe('a resized picture', () => {
  it('has the weights of the widened filters, worked out by hand', () => {
    // Half the size, bilinear: pixels at distances 0.25, 0.25 and 0.75 of the widened triangle.
    const row = [10, 50, 90, 170];
    const [first] = resized(rows(row), 4, 2, 'bilinear');
    expect(first).toBe(Math.round((0.75 * 10 + 0.75 * 50 + 0.25 * 90) / 1.75));
    // Twice the size, bilinear: a quarter and three quarters.
    const doubled = resized(rows([0, 100]), 2, 4, 'bilinear');
    expect([0, 1, 2, 3].map((i) => doubled[3 * i])).toEqual([0, 25, 75, 100]);
    // Twice the size, bicubic, a = -0.5, inside: weights at distances 0.25 and 0.75 and beyond.
    const near = (x: number) => 1.5 * x ** 3 - 2.5 * x ** 2 + 1;
    const far = (x: number) => -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2;
    const line = [20, 40, 120, 200, 210, 90];
    const cubic = resized(rows(line), 6, 12, 'bicubic');
    const wanted = far(1.75) * 20 + near(0.75) * 40 + near(0.25) * 120 + far(1.25) * 200;
    expect(cubic[3 * 4]).toBe(Math.round(wanted));
  });

  it('is the same picture for the same size, flat when flat, and the same when turned, where nothing overshoots', () => {
    const sizes = fc.tuple(fc.integer({ min: 3, max: 40 }), fc.integer({ min: 3, max: 40 }));
    fc.assert(
      fc.property(
        sizes,
        fc.constantFrom('bilinear' as const, 'bicubic' as const),
        fc.nat(),
        ([from, to], kind, seed) => {
          const source = Uint8Array.from({ length: 3 * from * from }, (_, i) => ((i + seed) * 7919) % 256);
          expect(resized(source, from, from, kind)).toEqual(source);
          expect(new Set(resized(new Uint8Array(source.length).fill(77), from, to, kind))).toEqual(new Set([77]));
          const turn = (rgb: Uint8Array, side: number) =>
            rgb.map((_, i) => rgb[3 * ((Math.floor(i / 3) % side) * side + Math.floor(i / 3 / side)) + (i % 3)]!);
          if (kind === 'bicubic') return;
          const [once, other] = [
            resized(turn(source, from), from, to, kind),
            turn(resized(source, from, to, kind), to),
          ];
          // Bytes between the two passes: the one first or the other is a level or two of difference.
          once.forEach((value, i) => void expect(Math.abs(value - other[i]!)).toBeLessThanOrEqual(2));
        },
      ),
      { numRuns: 40 },
    );
  });
});
