import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TOTAL_DENSITY } from '../../src/features/stain-planes.ts';
import { unmix } from './texture-on-arrays.ts';

/** The published vectors, normalised here by hand. */
const HAEMATOXYLIN = [0.6500286, 0.7000308, 0.2900128];
const EOSIN = [0.0701087, 0.9915367, 0.1101708];

function planesOf(rgb: Uint8Array): [Float32Array, Float32Array, Float32Array] {
  const plane = () => new Float32Array(rgb.length / 3);
  const planes: [Float32Array, Float32Array, Float32Array] = [plane(), plane(), plane()];
  unmix(rgb, 0, planes);
  return planes;
}

describe('colour deconvolution', () => {
  it('finds the stains of which a pixel was mixed', () => {
    const amount = fc.double({ min: 0, max: 0.9, noNaN: true });
    fc.assert(
      fc.property(amount, amount, (h, e) => {
        const density = HAEMATOXYLIN.map((value, c) => h * value + e * EOSIN[c]!);
        const rgb = Uint8Array.from(density.map((value) => Math.round(256 * 10 ** -value - 1)));
        const [foundH, foundE, residual] = planesOf(rgb).map((plane) => plane[0]!) as [number, number, number];
        expect(foundH).toBeCloseTo(h, 1);
        expect(foundE).toBeCloseTo(e, 1);
        expect(residual).toBeCloseTo(0, 1);
      }),
    );
  });

  it('finds nothing in white and keeps black finite', () => {
    expect(planesOf(Uint8Array.of(255, 255, 255)).map(([value]) => Math.abs(value!))).toEqual([0, 0, 0]);
    expect(planesOf(Uint8Array.of(0, 0, 0)).every(([value]) => Number.isFinite(value))).toBe(true);
  });

  it('knows the density that its amounts add up to', () => {
    const planes = planesOf(Uint8Array.of(120, 60, 140));
    const total = planes.reduce((sum, [value], stain) => sum + value! * TOTAL_DENSITY[stain]!, 0);
    expect(total).toBeCloseTo(-Math.log10((121 * 61 * 141) / 256 ** 3), 5);
  });
});
