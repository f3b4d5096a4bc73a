import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../../src/features/half.ts';

function half(...values: number[]): number[] {
  const target = new Uint16Array(values.length);
  toHalf(Float32Array.from(values), target);
  return [...target];
}

function widen(...halves: number[]): number[] {
  const target = new Float32Array(halves.length);
  fromHalf(Uint16Array.from(halves), target);
  return [...target];
}

describe('half precision', () => {
  it('knows the values of the standard', () => {
    expect(half(1, -2, 65504, 2 ** -14, 2 ** -24, 0, -0, 1 / 3)).toEqual([
      0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x0000, 0x8000, 0x3555,
    ]);
    expect(half(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN)).toEqual([0x7c00, 0xfc00, 0x7e00]);
  });

  it('rounds ties to even, also below the smallest normal number and at the upper end', () => {
    expect(half(1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 3 * 2 ** -25, 65519.996, 65520)).toEqual([
      0x3c00, 0x3c02, 0x0000, 0x0002, 0x7bff, 0x7c00,
    ]);
  });

  it('gives every one of the 65,536 values back', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = new Float32Array(65536);
    const back = new Uint16Array(65536);
    fromHalf(all, wide);
    toHalf(wide, back);
    const isNaN16 = (h: number) => (h & 0x7c00) === 0x7c00 && (h & 1023) !== 0;
    expect(back).toEqual(all.map((h) => (isNaN16(h) ? 0x7e00 : h)));
  });

  it('takes the nearer of the two neighbours', () => {
    fc.assert(
      fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
        const [h] = half(value) as [number];
        const [found, lower, upper] = widen(h, h & 0x7fff ? h - 1 : h, h + 1) as [number, number, number];
        const error = Math.abs(found - value);
        expect(error).toBeLessThanOrEqual(Math.abs(lower - value));
        expect(error).toBeLessThanOrEqual(Math.abs(upper - value));
      }),
      { numRuns: 2000 },
    );
  });
});
