/** Reading between pixels: a level-0 position is seldom a whole pixel of a lower level. Bilinear, as OpenSlide does it. */
import type { Raster } from './slide.ts';

/**
 * The raster of `width` x `height` that lies `dx`, `dy` (0 to 1) right of and below the corner of `source`, which is one pixel larger
 * each way. Missing pixels (alpha 0) weigh nothing; a pixel is missing if the one nearest to it is.
 */
export function shiftRaster(source: Raster, dx: number, dy: number): Raster {
  const width = source.width - 1;
  const height = source.height - 1;
  const from = source.data;
  const data = new Uint8Array(width * height * 4);
  const right = 4;
  const below = source.width * 4;
  const nearest = (dx >= 0.5 ? right : 0) + (dy >= 0.5 ? below : 0);
  const corners = [0, right, below, right + below];
  const shares = [(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = (row * source.width + column) * 4;
      if (from[at + nearest + 3] === 0) continue;
      const to = (row * width + column) * 4;
      let total = 0;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let i = 0; i < 4; i++) {
        const corner = at + corners[i]!;
        if (from[corner + 3] === 0) continue;
        const share = shares[i]!;
        total += share;
        red += share * from[corner]!;
        green += share * from[corner + 1]!;
        blue += share * from[corner + 2]!;
      }
      data[to] = Math.round(red / total);
      data[to + 1] = Math.round(green / total);
      data[to + 2] = Math.round(blue / total);
      data[to + 3] = 255;
    }
  }
  return { width, height, data };
}
