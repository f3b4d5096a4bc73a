/**
 * Colour deconvolution: how much haematoxylin and eosin the light met in each pixel.
 *
 * Ruifrok and Johnston, Quantification of histochemical staining by color deconvolution, Anal Quant Cytol Histol 23 (2001);
 * the stain vectors are theirs for H&E, the third is what the first two leave.
 */

import type { StainMatrix } from './stain.ts';

/** Optical densities of red, green and blue of one unit of each stain: haematoxylin, eosin, residual. */
const STAINS = [
  [0.65, 0.7, 0.29],
  [0.07, 0.99, 0.11],
  [0.27, 0.57, 0.78],
] as const;

type Matrix = readonly (readonly number[])[];

/** Stain amounts from optical densities: row per colour, column per stain. */
export const UNMIX: Matrix = inverse(STAINS.map(unit));

/** The first two stains, each of length 1. */
export const H_AND_E = STAINS.slice(0, 2).flatMap(unit) as unknown as StainMatrix;

/** Sum of the three colours' optical densities of one unit of each stain. */
export const TOTAL_DENSITY = STAINS.map((stain) => unit(stain).reduce((sum, value) => sum + value, 0));

/** Optical density of a byte; 256 is empty light, so that black has one too. */
export const DENSITY = Float32Array.from({ length: 256 }, (_, value) => -Math.log10((value + 1) / 256));

function unit(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** Inverse of a 3 x 3 matrix, by cofactors. */
function inverse(m: Matrix): Matrix {
  const cofactor = (row: number, column: number) => {
    const [a, b] = [(row + 1) % 3, (row + 2) % 3];
    const [c, d] = [(column + 1) % 3, (column + 2) % 3];
    return m[a]![c]! * m[b]![d]! - m[a]![d]! * m[b]![c]!;
  };
  const determinant = [0, 1, 2].reduce((sum, column) => sum + m[0]![column]! * cofactor(0, column), 0);
  return [0, 1, 2].map((row) => [0, 1, 2].map((column) => cofactor(column, row) / determinant));
}
