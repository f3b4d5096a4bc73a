import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEVELS, quantile } from '../../src/features/texture.ts';
import { createRandom, integer, normal } from '../../src/random.ts';
import * as plain from './reference/texture.ts';
import { unmix as plainUnmix } from './reference/unmix.ts';
import {
  areas,
  coherence,
  correlation,
  excursions,
  halve,
  localPatterns,
  moments,
  quantise,
  unmix,
} from './texture-on-arrays.ts';

function noise(seed: number, length: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length }, () => normal(random));
}

/** Pieces (4-connected) of the pixels for which `inside` holds, by flooding. */
function pieces(width: number, height: number, inside: (i: number) => boolean, steps: [number, number][]): number {
  const seen = new Set<number>();
  let count = 0;
  for (let start = 0; start < width * height; start++) {
    if (!inside(start) || seen.has(start)) continue;
    count++;
    const queue = [start];
    seen.add(start);
    for (let i = queue.pop(); i !== undefined; i = queue.pop()) {
      for (const [dx, dy] of steps) {
        const [x, y] = [(i % width) + dx, Math.floor(i / width) + dy];
        const next = y * width + x;
        if (x < 0 || y < 0 || x >= width || y >= height || seen.has(next) || !inside(next)) continue;
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return count;
}

const SIDES: [number, number][] = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
];
const CORNERS: [number, number][] = [
  [1, 1],
  [-1, 1],
  [1, -1],
  [-1, -1],
];

describe('the shapes above a threshold', () => {
  it('have the area, the perimeter and the pieces less holes that flooding counts', () => {
    const side = 14;
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 4 }), (seed, top) => {
        const random = createRandom(seed);
        const levels = new Uint8Array(side * side);
        // An empty border, so that no hole is open to the outside.
        for (let y = 1; y < side - 2; y++)
          for (let x = 1; x < side - 2; x++) levels[y * side + x] = integer(random, top + 1);
        const found = excursions(levels, side, side);
        const count = (side - 1) ** 2;
        for (let t = 1; t <= top; t++) {
          const inside = (i: number) => levels[i]! >= t;
          const pixels = [...levels.keys()].filter(inside);
          const border = pixels.flatMap((i) => SIDES.filter(([dx, dy]) => !inside(i + dx + dy * side))).length;
          const holes = pieces(side, side, (i) => !inside(i), [...SIDES, ...CORNERS]) - 1;
          expect(found.area[t]! * count).toBeCloseTo(pixels.length, 9);
          expect(found.perimeter[t]! * count).toBeCloseTo(border, 9);
          expect(found.euler[t]! * count).toBeCloseTo(pieces(side, side, inside, SIDES) - holes, 9);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('quantiles', () => {
  it('are those of the sorted values, to a level', () => {
    const plane = noise(1, 4000);
    const levels = new Uint8Array(plane.length);
    quantise(plane, -4, 4, levels);
    const sorted = plane.slice().sort();
    for (const share of [0.05, 0.25, 0.5, 0.75, 0.95]) {
      const found = quantile(areas(levels), share, -4, 4);
      expect(Math.abs(found - sorted[Math.round(share * plane.length)]!)).toBeLessThan(8 / LEVELS);
    }
  });
});

describe('a step of the Haar transform', () => {
  it('keeps the energy: means and details together have that of the plane', () => {
    const plane = noise(2, 64 * 48);
    const half = new Float32Array(32 * 24);
    const { edge, corner } = halve(plane, 64, 48, half);
    const energy = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(energy(half) + edge + corner).toBeCloseTo(energy(plane), 5);
  });

  it('leaves out an odd last row and column', () => {
    const half = new Float32Array(1);
    expect(halve(Float32Array.of(1, 2, 9, 3, 4, 9, 9, 9, 9), 3, 3, half).edge).toBeGreaterThan(0);
    expect(half[0]).toBe(2.5);
  });
});

describe('local binary patterns', () => {
  it('are shares, and the same after a quarter turn', () => {
    const side = 20;
    const random = createRandom(3);
    const levels = Uint8Array.from({ length: side * side }, () => integer(random, LEVELS));
    const turned = levels.map((_, i) => levels[(i % side) * side + (side - 1 - Math.floor(i / side))]!);
    const patterns = localPatterns(levels, side, side);
    expect(patterns.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(localPatterns(turned, side, side)).toEqual(patterns);
  });

  it('tell a flat plane, a bright dot and an edge', () => {
    const flat = new Uint8Array(25).fill(9);
    expect(localPatterns(flat, 5, 5)[0]).toBe(1);
    const dark = flat.map((value, i) => (i === 12 ? 3 : value));
    expect(localPatterns(dark, 5, 5)[8]).toBeCloseTo(1 / 9, 12);
    const edge = flat.map((value, i) => (i % 5 > 2 ? value + 1 : value));
    expect(localPatterns(edge, 5, 5)[3]).toBeCloseTo(1 / 3, 12);
  });
});

describe('coherence', () => {
  const stripes = (side: number, dx: number, dy: number) =>
    Float32Array.from({ length: side * side }, (_, i) => Math.sin((i % side) * dx + Math.floor(i / side) * dy));

  it('is whole for stripes of any direction and small for noise', () => {
    for (const [dx, dy] of [
      [0.7, 0],
      [0, 0.7],
      [0.5, 0.4],
      [0.5, -0.4],
    ] as const) {
      expect(coherence(stripes(66, dx, dy), 66, 66).whole).toBeGreaterThan(0.95);
    }
    const { whole, local } = coherence(noise(4, 66 * 66), 66, 66);
    expect(whole).toBeLessThan(0.1);
    expect(local).toBeLessThan(0.5);
  });

  it('tells a common direction from many local ones', () => {
    const bent = stripes(66, 0.7, 0).map((value, i) =>
      Math.floor(i / 66) < 33 ? value : Math.sin(Math.floor(i / 66) * 0.7),
    );
    const { whole, local } = coherence(bent, 66, 66);
    expect(local).toBeGreaterThan(0.8);
    expect(whole).toBeLessThan(0.3);
  });
});

describe('moments and correlation', () => {
  it('take a flat plane for flat, though sums in single precision are rounded', () => {
    const flat = new Float32Array(4099).fill(1.7317);
    expect(moments(flat).sd).toBe(0);
    expect(correlation(flat, noise(9, 4099), moments(flat), moments(noise(9, 4099)))).toBe(0);
  });

  it('are those of the textbook', () => {
    const a = Float32Array.of(1, 2, 3, 4);
    const b = Float32Array.of(2, 1, 4, 3);
    expect(moments(a)).toEqual({ mean: 2.5, sd: Math.sqrt(1.25) });
    expect(correlation(a, b, moments(a), moments(b))).toBeCloseTo(0.6, 6);
    expect(correlation(a, new Float32Array(4), moments(a), moments(new Float32Array(4)))).toBe(0);
  });
});

describe('the loops in WebAssembly give what plain loops give', () => {
  /** Sides that are and are not whole numbers of lanes. */
  const sizes = fc.tuple(fc.integer({ min: 11, max: 70 }), fc.integer({ min: 11, max: 70 }), fc.nat());

  it('exactly, where they count', () => {
    fc.assert(
      fc.property(sizes, ([width, height, seed]) => {
        const random = createRandom(seed);
        const levels = Uint8Array.from({ length: width * height }, () => integer(random, LEVELS));
        expect(areas(levels)).toEqual(plain.areas(levels));
        expect(excursions(levels, width, height)).toEqual(plain.excursions(levels, width, height));
        expect(localPatterns(levels, width, height)).toEqual(plain.localPatterns(levels, width, height));
      }),
      { numRuns: 40 },
    );
  });

  it('to a millionth, where they add', () => {
    fc.assert(
      fc.property(sizes, ([width, height, seed]) => {
        const [a, b] = [noise(seed, width * height), noise(seed + 1, width * height)];
        const [half, plainHalf] = [0, 1].map(() => new Float32Array((width >> 1) * (height >> 1))) as [
          Float32Array,
          Float32Array,
        ];
        close(Object.values(halve(a, width, height, half)), Object.values(plain.halve(a, width, height, plainHalf)));
        close(half, plainHalf);
        close(Object.values(coherence(a, width, height)), Object.values(plain.coherence(a, width, height)));
        close(Object.values(moments(a)), Object.values(plain.moments(a)));
        const [ofA, ofB] = [plain.moments(a), plain.moments(b)];
        close([correlation(a, b, ofA, ofB)], [plain.correlation(a, b, ofA, ofB)]);
        const [levels, plainLevels] = [new Uint8Array(a.length), new Uint8Array(a.length)];
        quantise(a, -2, 2, levels);
        plain.quantise(a, -2, 2, plainLevels);
        // A value on the edge of a level may fall to either side of it.
        expect(levels.filter((level, i) => level !== plainLevels[i]).length).toBeLessThan(2);
        const rgb = Uint8Array.from({ length: 3 * a.length }, (_, i) => (i * 7919 + seed) % 256);
        const planes = () =>
          [0, 1, 2].map(() => new Float32Array(a.length)) as [Float32Array, Float32Array, Float32Array];
        const [stains, plainStains] = [planes(), planes()];
        unmix(rgb, 0, stains);
        plainUnmix(rgb, 0, plainStains);
        stains.forEach((plane, i) => void close(plane, plainStains[i]!));
      }),
      { numRuns: 40 },
    );
  });

  function close(found: ArrayLike<number>, wanted: ArrayLike<number>): void {
    expect(found.length).toBe(wanted.length);
    for (let i = 0; i < found.length; i++) {
      expect(Math.abs(found[i]! - wanted[i]!)).toBeLessThan(1e-6 * Math.max(3, Math.abs(wanted[i]!)));
    }
  }
});
