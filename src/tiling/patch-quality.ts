/** What can be said of a patch by its pixels alone: whether it is sharp, inked, coloured. */
import { type PenColour, penColourOf, penColours } from './pen.ts';

export interface PatchQuality {
  /**
   * Variance of the Laplacian of the luminance (0 to 255): fine detail. Compare patches of one slide and scale with each other; empty
   * glass is as low as blur.
   */
  readonly focus: number;
  /** Share of the pixels that look like ink of each colour. */
  readonly ink: Readonly<Record<PenColour, number>>;
  /** Mean of (largest - smallest channel) / largest: 0 is grey. */
  readonly saturation: number;
}

/** @param pixels size x size x 3, RGB, 8 bits, as a patch lies in a batch */
export function patchQuality(pixels: Uint8Array, size: number): PatchQuality {
  const luminance = new Float32Array(size * size);
  const ink = { red: 0, green: 0, blue: 0, black: 0 };
  let saturation = 0;
  for (let i = 0; i < luminance.length; i++) {
    const [red, green, blue] = [pixels[i * 3]!, pixels[i * 3 + 1]!, pixels[i * 3 + 2]!];
    luminance[i] = 0.299 * red + 0.587 * green + 0.114 * blue;
    const most = Math.max(red, green, blue);
    if (most > 0) saturation += (most - Math.min(red, green, blue)) / most;
    const colour = penColourOf(red, green, blue);
    if (colour !== null) ink[colour]++;
  }
  for (const colour of penColours) ink[colour] /= luminance.length;
  return { focus: laplacianVariance(luminance, size), ink, saturation: saturation / luminance.length };
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
