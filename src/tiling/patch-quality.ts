/** What can be said of a patch by its pixels alone: whether it is sharp, inked, coloured. */
import { isStrong, type PenColour, penColourOf, penColours } from './pen.ts';

export interface PatchQuality {
  /**
   * Variance of the Laplacian of the luminance (0 to 255): fine detail. Compare patches of one slide and scale with each other; empty
   * glass is as low as blur.
   */
  readonly focus: number;
  /** Share of the patch that looks like full strokes of ink of each colour. */
  readonly ink: Readonly<Record<PenColour, number>>;
  /** Mean of (largest - smallest channel) / largest: 0 is grey. */
  readonly saturation: number;
}

/**
 * @param pixels size x size x 3, RGB, 8 bits, as a patch lies in a batch
 * @param inkBlock side in pixels of the squares whose mean colour is compared with ink: nuclei and fibres seen closely have its colours,
 *   a stroke has them over tens of micrometres
 */
export function patchQuality(pixels: Uint8Array, size: number, inkBlock = 1): PatchQuality {
  const luminance = new Float32Array(size * size);
  let saturation = 0;
  for (let i = 0; i < luminance.length; i++) {
    const [red, green, blue] = [pixels[i * 3]!, pixels[i * 3 + 1]!, pixels[i * 3 + 2]!];
    luminance[i] = 0.299 * red + 0.587 * green + 0.114 * blue;
    const most = Math.max(red, green, blue);
    if (most > 0) saturation += (most - Math.min(red, green, blue)) / most;
  }
  return {
    focus: laplacianVariance(luminance, size),
    ink: inkShares(pixels, size, Math.min(inkBlock, size)),
    saturation: saturation / luminance.length,
  };
}

/** What is left of the patch behind the last whole block is not looked at. */
function inkShares(pixels: Uint8Array, size: number, block: number): Record<PenColour, number> {
  const ink = { red: 0, green: 0, blue: 0, black: 0 };
  const blocks = Math.floor(size / block);
  const area = block * block;
  for (let row = 0; row < blocks; row++) {
    for (let column = 0; column < blocks; column++) {
      let [red, green, blue] = [0, 0, 0];
      for (let y = row * block; y < (row + 1) * block; y++) {
        for (let at = (y * size + column * block) * 3, end = at + block * 3; at < end; at += 3) {
          red += pixels[at]!;
          green += pixels[at + 1]!;
          blue += pixels[at + 2]!;
        }
      }
      const mean = [red, green, blue].map((sum) => Math.round(sum / area)) as [number, number, number];
      const colour = penColourOf(...mean);
      if (colour !== null && isStrong(colour, mean[0], mean[1])) ink[colour]++;
    }
  }
  for (const colour of penColours) ink[colour] /= blocks * blocks;
  return ink;
}

function laplacianVariance(values: Float32Array, size: number): number {
  let sum = 0;
  let squares = 0;
  let count = 0;
  for (let y = 1; y < size - 1; y++) {
    for (let x = 1; x < size - 1; x++) {
      const at = y * size + x;
      const value = values[at - 1]! + values[at + 1]! + values[at - size]! + values[at + size]! - 4 * values[at]!;
      sum += value;
      squares += value * value;
      count++;
    }
  }
  return count === 0 ? 0 : squares / count - (sum / count) ** 2;
}
