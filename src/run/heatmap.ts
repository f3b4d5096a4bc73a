/** `heatmap.png`: the thumbnail with each patch tinted by the rank of its attention, and a scale below. */
import sharp from 'sharp';
import type { Overview } from '../tiling/overview.ts';
import type { RgbImage } from '../tiling/slide.ts';
import type { TissueMask } from '../tiling/tissue.ts';
import type { Level0Px } from '../units.ts';
import { viridis } from '../viridis.ts';

export interface PatchScores {
  /** count x 2, level-0 px of each patch's top-left corner. */
  readonly coords: Int32Array;
  /** Raw scores: the scale is their rank, which the softmax does not change. */
  readonly scores: Float32Array;
  readonly side: Level0Px;
}

/** Share of the colour in the mix with the tissue. */
const TINT = 0.55;
const SCALE = { height: 22, bar: 10, margin: 6, width: 128 };

/**
 * Draws the thumbnail pixels that lie in a patch and on tissue; the rest stays as it is. The picture is as wide as the
 * thumbnail and by the scale higher.
 */
export function drawHeatmap(thumbnail: Overview, tissue: TissueMask, patches: PatchScores): RgbImage {
  const { width, height, level0PerPixel } = thumbnail;
  const data = new Uint8Array(width * (height + SCALE.height) * 3).fill(255);
  data.set(thumbnail.data);

  const shares = scoreOfPixels(thumbnail, patches);
  const toMask = level0PerPixel / tissue.level0PerPixel;
  // Neighbours mostly lie in the same patch.
  let [last, colour] = [Number.NaN, viridis(0)];
  for (let y = 0; y < height; y++) {
    const maskRow = Math.min(tissue.height - 1, Math.floor((y + 0.5) * toMask)) * tissue.width;
    for (let x = 0; x < width; x++) {
      const share = shares[y * width + x]!;
      const onTissue = tissue.data[maskRow + Math.min(tissue.width - 1, Math.floor((x + 0.5) * toMask))] === 1;
      if (!onTissue || Number.isNaN(share)) continue;
      if (share !== last) [last, colour] = [share, viridis(share)];
      tint(data, y * width + x, colour, TINT);
    }
  }
  drawScale(data, width, height);
  return { width, height: height + SCALE.height, data };
}

export function encodePng({ data, width, height }: RgbImage): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Rank of each value as a share in (0, 1], the average rank where values are equal. */
export function percentiles(values: Float32Array): Float32Array {
  const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const shares = new Float32Array(values.length);
  for (let first = 0, end = 0; first < order.length; first = end) {
    while (end < order.length && values[order[end]!] === values[order[first]!]) end++;
    // Ranks first + 1 ... end share their mean.
    for (let i = first; i < end; i++) shares[order[i]!] = (first + 1 + end) / 2 / values.length;
  }
  return shares;
}

/** Percentile of the patch over each thumbnail pixel, the mean where patches overlap, NaN where there is none. */
function scoreOfPixels(
  { width, height, level0PerPixel }: Overview,
  { coords, scores, side }: PatchScores,
): Float32Array {
  const sums = new Float32Array(width * height);
  const counts = new Uint16Array(width * height);
  const pixel = (level0: number) => Math.max(0, Math.round(level0 / level0PerPixel));
  percentiles(scores).forEach((share, patch) => {
    const [left, top] = [coords[2 * patch]!, coords[2 * patch + 1]!];
    for (let y = pixel(top), bottom = Math.min(height, pixel(top + side)); y < bottom; y++) {
      for (let x = pixel(left), right = Math.min(width, pixel(left + side)); x < right; x++) {
        sums[y * width + x]! += share;
        counts[y * width + x]!++;
      }
    }
  });
  return sums.map((sum, i) => (counts[i] === 0 ? Number.NaN : sum / counts[i]!));
}

function tint(data: Uint8Array, pixel: number, colour: readonly number[], strength: number): void {
  for (let channel = 0; channel < 3; channel++) {
    const at = pixel * 3 + channel;
    data[at] = Math.round(data[at]! * (1 - strength) + colour[channel]! * strength);
  }
}

/** Minus, colours from low to high attention, plus: drawn without letters, so that no font is needed. */
function drawScale(data: Uint8Array, width: number, top: number): void {
  const { height, bar, margin } = SCALE;
  const length = Math.min(SCALE.width, width - 2 * (bar + 2 * margin));
  const barTop = top + (height - bar) / 2;
  const fill = (x: number, y: number, w: number, h: number) => {
    for (let row = y; row < y + h; row++) data.fill(60, (row * width + x) * 3, (row * width + x + w) * 3);
  };
  if (length < bar) return;
  const left = margin + bar + margin;
  for (let y = barTop; y < barTop + bar; y++) {
    for (let x = 0; x < length; x++) tint(data, y * width + left + x, viridis(x / (length - 1)), 1);
  }
  fill(margin, barTop + bar / 2 - 1, bar, 2);
  fill(left + length + margin, barTop + bar / 2 - 1, bar, 2);
  fill(left + length + margin + bar / 2 - 1, barTop, 2, bar);
}
