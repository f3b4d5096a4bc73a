/** `heatmap.png`: the thumbnail with each patch tinted by the rank of its attention, and a scale below. */
import sharp from 'sharp';
import type { Overview } from '../tiling/overview.ts';
import type { RgbImage } from '../tiling/slide.ts';
import type { TissueMask } from '../tiling/tissue.ts';
import type { Level0Px } from '../units.ts';
import { viridis } from '../viridis.ts';

type Rgb = ReturnType<typeof viridis>;

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
  const inMask = (pixel: number, size: number) => Math.min(size - 1, Math.floor((pixel + 0.5) * toMask));
  const maskColumns = Int32Array.from({ length: width }, (_, x) => inMask(x, tissue.width));
  // Neighbours mostly lie in the same patch.
  let last = Number.NaN;
  let colour = viridis(0);
  for (let y = 0; y < height; y++) {
    const maskRow = inMask(y, tissue.height) * tissue.width;
    for (let x = 0; x < width; x++) {
      const share = shares[y * width + x]!;
      if (Number.isNaN(share) || tissue.data[maskRow + maskColumns[x]!] !== 1) continue;
      if (share !== last) {
        last = share;
        colour = viridis(share);
      }
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

/** Percentile of the patch over each thumbnail pixel, the mean where patches overlap, NaN (0 / 0) where there is none. */
function scoreOfPixels(
  { width, height, level0PerPixel }: Overview,
  { coords, scores, side }: PatchScores,
): Float32Array {
  const sums = new Float32Array(width * height);
  const counts = new Uint16Array(width * height);
  const pixel = (level0: number) => Math.max(0, Math.round(level0 / level0PerPixel));
  const shares = percentiles(scores);
  for (let patch = 0; patch < shares.length; patch++) {
    const [left, top] = [coords[2 * patch]!, coords[2 * patch + 1]!];
    const right = Math.min(width, pixel(left + side));
    const bottom = Math.min(height, pixel(top + side));
    for (let y = pixel(top); y < bottom; y++) {
      for (let x = pixel(left), at = y * width + x; x < right; x++, at++) {
        sums[at] = sums[at]! + shares[patch]!;
        counts[at] = counts[at]! + 1;
      }
    }
  }
  for (let at = 0; at < sums.length; at++) sums[at] = sums[at]! / counts[at]!;
  return sums;
}

function tint(data: Uint8Array, pixel: number, [red, green, blue]: Rgb, strength: number): void {
  const at = pixel * 3;
  // Storing cuts off what is behind the point.
  data[at] = data[at]! * (1 - strength) + red * strength + 0.5;
  data[at + 1] = data[at + 1]! * (1 - strength) + green * strength + 0.5;
  data[at + 2] = data[at + 2]! * (1 - strength) + blue * strength + 0.5;
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
