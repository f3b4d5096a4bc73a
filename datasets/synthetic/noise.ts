/** Smooth random textures that repeat without a seam: fibres, clouds, grain. */
import type { Random } from '../../src/random.ts';

/** Square texture of bytes with a mean of about 128; its side is a power of two, so that `& mask` repeats it. */
export interface Noise {
  readonly side: number;
  readonly mask: number;
  readonly values: Uint8Array;
}

/** Random values on a lattice of cells `cellX` x `cellY` (they divide `side`), smoothly interpolated. */
export function createNoise(random: Random, side: number, cellX: number, cellY: number): Noise {
  const columns = side / cellX;
  const rows = side / cellY;
  const knots = Float32Array.from({ length: columns * rows }, () => 255 * random());
  const values = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    const row = Math.floor(y / cellY);
    const upper = row * columns;
    const lower = ((row + 1) % rows) * columns;
    const ty = smooth(y / cellY - row);
    for (let x = 0; x < side; x++) {
      const left = Math.floor(x / cellX);
      const right = (left + 1) % columns;
      const tx = smooth(x / cellX - left);
      const above = knots[upper + left]! * (1 - tx) + knots[upper + right]! * tx;
      const below = knots[lower + left]! * (1 - tx) + knots[lower + right]! * tx;
      values[y * side + x] = above * (1 - ty) + below * ty;
    }
  }
  return { side, mask: side - 1, values };
}

export function sample({ side, mask, values }: Noise, x: number, y: number): number {
  return values[(y & mask) * side + (x & mask)]!;
}

function smooth(t: number): number {
  return t * t * (3 - 2 * t);
}
