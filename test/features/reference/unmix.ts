/** Colour deconvolution written plainly. */
import { DENSITY, UNMIX } from '../../../src/features/stain-planes.ts';

/**
 * @param rgb size x size x 3 bytes from `offset` on.
 * @param planes haematoxylin, eosin, residual: size x size each, about 0..1.5 where there is stain.
 */
export function unmix(
  rgb: Uint8Array,
  offset: number,
  planes: readonly [Float32Array, Float32Array, Float32Array],
): void {
  const [h, e, r] = planes;
  const [[rh, re, rr], [gh, ge, gr], [bh, be, br]] = UNMIX as [
    [number, number, number],
    [number, number, number],
    [number, number, number],
  ];
  for (let i = 0, j = offset; i < h.length; i++, j += 3) {
    const red = DENSITY[rgb[j]!]!;
    const green = DENSITY[rgb[j + 1]!]!;
    const blue = DENSITY[rgb[j + 2]!]!;
    h[i] = red * rh + green * gh + blue * bh;
    e[i] = red * re + green * ge + blue * be;
    r[i] = red * rr + green * gr + blue * br;
  }
}
