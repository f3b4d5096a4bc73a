import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dilate, erode, fillSmall, removeSmall } from '../../src/tiling/morphology.ts';

const mask = (rows: string[]) => ({
  width: rows[0]!.length,
  height: rows.length,
  data: Uint8Array.from(rows.join(''), (sign) => (sign === '#' ? 1 : 0)),
});

describe('morphology', () => {
  it('dilate sets what lies within the radius of a set pixel, erode keeps what lies deeper than that', () => {
    const size = 12;
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 0, 0, 1), { minLength: size * size, maxLength: size * size }),
        fc.double({ min: 0, max: 4, noNaN: true }),
        (bits, radius) => {
          const source = { width: size, height: size, data: Uint8Array.from(bits) };
          const near = (i: number, value: number) =>
            bits.some(
              (bit, j) =>
                bit === value &&
                Math.hypot((i % size) - (j % size), Math.floor(i / size) - Math.floor(j / size)) <= radius,
            );
          expect([...dilate(source, radius).data]).toEqual(bits.map((_, i) => (near(i, 1) ? 1 : 0)));
          expect([...erode(source, radius).data]).toEqual(bits.map((_, i) => (near(i, 0) ? 0 : 1)));
        },
      ),
      { numRuns: 100, seed: 1 },
    );
  });

  it('removeSmall keeps the pieces of a flood fill that are large enough', () => {
    const shape = fc.record({ width: fc.integer({ min: 1, max: 9 }), height: fc.integer({ min: 1, max: 9 }) });
    const masks = shape.chain(({ width, height }) =>
      fc
        .array(fc.constantFrom(0, 1), { minLength: width * height, maxLength: width * height })
        .map((bits) => ({ width, height, data: Uint8Array.from(bits) })),
    );
    /** Pixels of the piece that a pixel lies in. */
    const flood = ({ width, height, data }: { width: number; height: number; data: Uint8Array }, seed: number) => {
      const piece = new Set<number>();
      const visit = (x: number, y: number) => {
        const pixel = y * width + x;
        if (x < 0 || y < 0 || x >= width || y >= height || !data[pixel] || piece.has(pixel)) return;
        piece.add(pixel);
        for (const [dx, dy] of [
          [1, 0],
          [-1, 0],
          [0, 1],
          [0, -1],
        ] as const)
          visit(x + dx, y + dy);
      };
      visit(seed % width, Math.floor(seed / width));
      return piece.size;
    };
    fc.assert(
      fc.property(masks, fc.integer({ min: 0, max: 12 }), (source, area) => {
        const expected = source.data.map((value, i) => (value && flood(source, i) >= area ? 1 : 0));
        expect(removeSmall(source, area).data).toEqual(expected);
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it('removeSmall takes pieces out by area, corners do not join; fillSmall closes gaps', () => {
    const rows = ['##..#', '##.#.', '.....', '###..', '#.#..', '###..'];
    expect(removeSmall(mask(rows), 2)).toEqual(mask(['##...', '##...', '.....', '###..', '#.#..', '###..']));
    expect(removeSmall(mask(rows), 5)).toEqual(mask(['.....', '.....', '.....', '###..', '#.#..', '###..']));
    expect(fillSmall(mask(rows), 3)).toEqual(mask(['##..#', '##.#.', '.....', '###..', '###..', '###..']));
  });
});
