import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { cellMeans, patchAt, patchGrid, percentiles, rangeOf, stretched } from '../../src/viewer/web/score-raster.ts';

/** Corners of a grid of patches, rounded to whole pixels as bags store them. */
function gridCoords(columns: number, rows: number, pitch: number, left = 0, top = 0): Int32Array {
  return Int32Array.from({ length: columns * rows * 2 }, (_, i) => {
    const patch = i >> 1;
    const place = i % 2 === 0 ? left + pitch * (patch % columns) : top + pitch * Math.floor(patch / columns);
    return Math.round(place);
  });
}

describe('the grid under patches', () => {
  it('has one cell a patch, also where rows and columns are missing', () => {
    const coords = Int32Array.of(100, 50, 612, 50, 868, 1074);
    const grid = patchGrid(coords, 256);
    expect(grid).toMatchObject({ left: 100, top: 50, cellWidth: 256, cellHeight: 256, columns: 4, rows: 5, spanX: 1 });
    expect([...grid.cellOfPatch]).toEqual([0, 2, 4 * 4 + 3]);
  });

  it.each([256.513, 512.26, 250.5, 37.7])('finds a pitch of %d px through the rounding of coordinates', (pitch) => {
    const grid = patchGrid(gridCoords(300, 200, pitch, 33, 77), Math.round(pitch));
    expect(grid.columns).toBe(300);
    expect(grid.rows).toBe(200);
    expect(Math.abs(grid.cellWidth - pitch) * 300).toBeLessThan(1.01);
    expect([...grid.cellOfPatch]).toEqual(Array.from({ length: 300 * 200 }, (_, i) => i));
  });

  it('gives overlapping patches several cells each', () => {
    const grid = patchGrid(gridCoords(5, 4, 128), 256);
    expect(grid).toMatchObject({ cellWidth: 128, spanX: 2, spanY: 2, columns: 6, rows: 5 });
  });

  it('keeps patches on no grid within a sixteenth of a patch', () => {
    const random = createRandom(3);
    const coords = Int32Array.from({ length: 400 }, () => Math.floor(random() * 20_000));
    const grid = patchGrid(coords, 256);
    for (let patch = 0; patch < 200; patch++) {
      const cell = grid.cellOfPatch[patch]!;
      const x = grid.left + (cell % grid.columns) * grid.cellWidth;
      const y = grid.top + Math.floor(cell / grid.columns) * grid.cellHeight;
      expect(Math.abs(x - coords[2 * patch]!)).toBeLessThanOrEqual(16);
      expect(Math.abs(y - coords[2 * patch + 1]!)).toBeLessThanOrEqual(16);
    }
    expect(grid.spanX * grid.cellWidth).toBe(256);
  });

  it('takes one patch, and none', () => {
    expect(patchGrid(Int32Array.of(5, 6), 100)).toMatchObject({ left: 5, top: 6, columns: 1, rows: 1 });
    expect(patchGrid(new Int32Array(0), 100).cellOfPatch.length).toBe(0);
  });
});

describe('cells', () => {
  it('are empty between patches', () => {
    const grid = patchGrid(Int32Array.of(0, 0, 512, 0), 256);
    expect([...cellMeans(grid, Float32Array.of(0.25, 0.75))]).toEqual([0.25, Number.NaN, 0.75]);
  });

  it('show the mean of the patches over them, and pass over patches without a value', () => {
    const grid = patchGrid(Int32Array.of(0, 0, 128, 0, 256, 0), 256);
    const first = [...cellMeans(grid, Float32Array.of(1, 0.5, Number.NaN))].slice(0, 4);
    expect(first).toEqual([1, 0.75, 0.5, Number.NaN]);
  });
});

describe('scales', () => {
  it('rank patches among each other, ties in the middle', () => {
    expect([...percentiles(Float32Array.of(7, 1, 1, 9, -2))]).toEqual([0.75, 0.375, 0.375, 1, 0]);
    expect([...percentiles(Float32Array.of(3, Number.NaN, 4))]).toEqual([0, Number.NaN, 1]);
    expect([...percentiles(Float32Array.of(5))]).toEqual([0]);
  });

  it('stretch scores between the least and the greatest', () => {
    const values = Float32Array.of(2, 4, Number.NaN, 3);
    expect(rangeOf(values)).toEqual({ low: 2, high: 4 });
    expect([...stretched(values, rangeOf(values))]).toEqual([0, 1, Number.NaN, 0.5]);
    expect([...stretched(Float32Array.of(6, 6), { low: 6, high: 6 })]).toEqual([0.5, 0.5]);
  });
});

it('finds the patch under a point', () => {
  const coords = Int32Array.of(0, 0, 256, 0);
  expect(patchAt(coords, 256, 255.9, 0)).toBe(0);
  expect(patchAt(coords, 256, 256, 255)).toBe(1);
  expect(patchAt(coords, 256, 256, 256)).toBe(-1);
});
