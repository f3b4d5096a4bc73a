/** `preview.png`: the thumbnail with tissue in green and the patches outlined, to see what a run would look at. */
import type { PatchGrid } from '../tiling/grid.ts';
import type { Overview } from '../tiling/overview.ts';
import type { RgbImage } from '../tiling/slide.ts';
import type { TissueMask } from '../tiling/tissue.ts';

const TISSUE = [0, 160, 90] as const;
const OUTLINE = [30, 60, 160] as const;

export function drawPreview(thumbnail: Overview, tissue: TissueMask, grid: PatchGrid): RgbImage {
  const { width, height, level0PerPixel } = thumbnail;
  const data = thumbnail.data.slice();
  const mix = (x: number, y: number, colour: readonly number[], strength: number) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    colour.forEach((value, channel) => {
      const at = (y * width + x) * 3 + channel;
      data[at] = Math.round(data[at]! * (1 - strength) + value * strength);
    });
  };

  const toMask = level0PerPixel / tissue.level0PerPixel;
  for (let y = 0; y < height; y++) {
    const row = Math.min(tissue.height - 1, Math.floor((y + 0.5) * toMask)) * tissue.width;
    for (let x = 0; x < width; x++) {
      if (tissue.data[row + Math.min(tissue.width - 1, Math.floor((x + 0.5) * toMask))] === 1) mix(x, y, TISSUE, 0.25);
    }
  }
  for (let patch = 0; patch < grid.count; patch++) {
    const [left, top] = [grid.coords[2 * patch]!, grid.coords[2 * patch + 1]!].map((at) =>
      Math.round(at / level0PerPixel),
    ) as [number, number];
    const side = Math.max(1, Math.round(grid.level0Side / level0PerPixel));
    for (let i = 0; i < side; i++) {
      mix(left + i, top, OUTLINE, 0.6);
      mix(left, top + i, OUTLINE, 0.6);
      mix(left + i, top + side, OUTLINE, 0.6);
      mix(left + side, top + i, OUTLINE, 0.6);
    }
  }
  return { width, height, data };
}
