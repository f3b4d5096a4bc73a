import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resampleArea } from '../../src/tiling/resample.ts';
import { createPicture } from './pictures.ts';

const source = createPicture(40, 30, 3);

/** The definition, slowly: the mean over the area that an output pixel covers. */
function meanOverArea(left: number, top: number, right: number, bottom: number, channel: number): number {
  let sum = 0;
  for (let y = Math.floor(top); y < bottom; y++) {
    for (let x = Math.floor(left); x < right; x++) {
      const area = (Math.min(x + 1, right) - Math.max(x, left)) * (Math.min(y + 1, bottom) - Math.max(y, top));
      sum += area * source.data[(y * source.width + x) * 3 + channel]!;
    }
  }
  return sum / ((right - left) * (bottom - top));
}

describe('resampleArea', () => {
  it('gives every pixel the mean of the area it covers, smaller or larger', () => {
    const axis = (length: number) =>
      fc.tuple(fc.double({ min: 0, max: length - 2, noNaN: true }), fc.double({ min: 0.1, max: 1, noNaN: true }));
    fc.assert(
      fc.property(axis(40), axis(30), fc.integer({ min: 1, max: 30 }), ([x, acrossShare], [y, downShare], size) => {
        const width = Math.max(1, (40 - x) * acrossShare);
        const height = Math.max(1, (30 - y) * downShare);
        const target = new Uint8Array(size * size * 3);
        resampleArea(source.data, 40, 30, { x, y, width, height }, target, size, size);
        for (let i = 0; i < target.length; i++) {
          const [column, row] = [Math.floor(i / 3) % size, Math.floor(i / 3 / size)];
          const [stepX, stepY] = [width / size, height / size];
          const expected = meanOverArea(
            x + column * stepX,
            y + row * stepY,
            x + (column + 1) * stepX,
            y + (row + 1) * stepY,
            i % 3,
          );
          expect(Math.abs(target[i]! - expected)).toBeLessThanOrEqual(0.52);
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });
});
