import { describe, expect, it } from 'vitest';
import { drawHeatmap, percentiles } from '../../src/run/heatmap.ts';
import { viridis } from '../../src/viridis.ts';

describe('percentiles', () => {
  it('are ranks over the number of values, shared by equals', () => {
    expect([...percentiles(Float32Array.of(3, -1, 7, 3))]).toEqual([0.625, 0.25, 1, 0.625]);
  });

  it('do not change when the scores are stretched', () => {
    const scores = Float32Array.of(0.3, 0.1, 0.9, 0.4);
    expect(percentiles(scores.map((score) => Math.exp(9 * score)))).toEqual(percentiles(scores));
  });
});

describe('a heatmap', () => {
  // A thumbnail of 40 x 20 grey pixels, 10 level-0 px each; tissue is its left half.
  const thumbnail = { width: 40, height: 20, level0PerPixel: 10, data: new Uint8Array(40 * 20 * 3).fill(100) };
  const mask = { width: 4, height: 2, level0PerPixel: 100, areaUm2: null, data: Uint8Array.of(1, 1, 0, 0, 1, 1, 0, 0) };
  const patches = { coords: Int32Array.of(0, 0, 100, 0, 200, 0), scores: Float32Array.of(0.1, 0.9, 0.5), side: 100 };
  const heatmap = drawHeatmap(thumbnail, mask, patches);
  const pixel = (x: number, y: number) => [...heatmap.data.subarray((y * 40 + x) * 3, (y * 40 + x) * 3 + 3)];
  const mixed = (share: number) => viridis(share).map((value) => Math.round(100 * 0.45 + value * 0.55));

  it('tints each patch by its rank, to its very edge', () => {
    expect(pixel(0, 0)).toEqual(mixed(1 / 3));
    expect(pixel(9, 9)).toEqual(mixed(1 / 3));
    expect(pixel(10, 9)).toEqual(mixed(1));
  });

  it('leaves glass and tissue without patches alone', () => {
    expect(pixel(25, 5)).toEqual([100, 100, 100]);
    expect(pixel(5, 10)).toEqual([100, 100, 100]);
  });

  it('has the scale below the thumbnail', () => {
    expect(heatmap.width).toBe(40);
    expect(heatmap.height).toBeGreaterThan(20);
  });
});
