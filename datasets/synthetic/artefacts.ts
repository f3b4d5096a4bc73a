/** What goes wrong between the microtome and the scanner: pen on the glass, a zone out of focus, a slide without tissue. */
import { createRandom } from '../../src/random.ts';
import type { Level0Px, Mpp } from '../../src/units.ts';
import type { Painter } from './paint.ts';

export const artefacts = ['pen', 'blur', 'empty'] as const;
export type Artefact = (typeof artefacts)[number];

interface Place {
  readonly seed: number;
  readonly widthPx: Level0Px;
  readonly heightPx: Level0Px;
  readonly mpp: Mpp;
}

/** Green ink: the share of red, green and blue that it lets through. */
const INK = [0.1, 0.55, 0.3] as const;
const PEN_UM = 250;
/** Standard deviation of the three box blurs together is about this many micrometres. */
const BLUR_UM = 6;
/** Share of the slide's width that is out of focus. */
const BLUR_SHARE = 0.3;

/** The same painter, with the artefacts on top. The places follow from the seed. */
export function withArtefacts(painter: Painter, wanted: readonly Artefact[], place: Place): Painter {
  const { widthPx: width, heightPx: height, mpp } = place;
  const random = createRandom(place.seed ^ 0x5eed);
  const pen = { middle: height * (0.3 + 0.4 * random()), swing: 0.12 * height, half: PEN_UM / mpp / 2 };
  const left = Math.floor(width * (1 - BLUR_SHARE) * random());
  const zone = { left, right: left + Math.floor(width * BLUR_SHARE) };
  const radius = Math.max(1, Math.round(BLUR_UM / mpp));
  return {
    paint(top, rows) {
      const rgb = painter.paint(top, rows);
      if (wanted.includes('blur')) {
        for (let pass = 0; pass < 3; pass++) {
          blurAlong(rgb, 3, zone, rows, width, radius);
        }
      }
      if (wanted.includes('pen')) drawPen(rgb, top, rows, width, pen);
      return rgb;
    },
  };
}

/** Along rows only: bands are painted one at a time, and a moving stage blurs in one direction as well. */
function blurAlong(
  rgb: Uint8Array,
  channels: number,
  zone: { left: number; right: number },
  rows: number,
  width: number,
  radius: number,
): void {
  const line = new Uint8Array(zone.right - zone.left);
  const size = 2 * radius + 1;
  for (let y = 0; y < rows; y++) {
    for (let channel = 0; channel < channels; channel++) {
      const at = (x: number) => (y * width + zone.left + x) * channels + channel;
      for (let x = 0; x < line.length; x++) line[x] = rgb[at(x)]!;
      const pixel = (x: number) => line[Math.min(line.length - 1, Math.max(0, x))]!;
      let sum = 0;
      for (let x = -radius; x <= radius; x++) sum += pixel(x);
      for (let x = 0; x < line.length; x++) {
        rgb[at(x)] = sum / size;
        sum += pixel(x + radius + 1) - pixel(x - radius);
      }
    }
  }
}

/** A stroke from edge to edge. */
function drawPen(
  rgb: Uint8Array,
  top: number,
  rows: number,
  width: number,
  { middle, swing, half }: { middle: number; swing: number; half: number },
): void {
  for (let x = 0; x < width; x++) {
    const centre = middle + swing * Math.sin((x / width) * 2 * Math.PI);
    const from = Math.max(0, Math.ceil(centre - half - top));
    const to = Math.min(rows, Math.ceil(centre + half - top));
    for (let y = from; y < to; y++) {
      for (let channel = 0; channel < 3; channel++) {
        const at = (y * width + x) * 3 + channel;
        rgb[at] = rgb[at]! * INK[channel]!;
      }
    }
  }
}
