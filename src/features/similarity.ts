/** How alike features are: the cosine of their vectors, over rows as a bag stores them. */
import { openPixelLoops } from './wasm/open.ts';

/** Features in WebAssembly's memory at a time, at the least a row of them. */
const PIECE = 1 << 20;

/** Cosines of rows, f32 or words of f16, with one vector; NaN for a row of zeros. */
export type Similarity = (rows: Float32Array | Uint16Array) => Float32Array;

/** @param wanted the vector, of as many features as the rows will have, not all zero. */
export function createSimilarity(wanted: Float32Array): Similarity {
  const dimension = wanted.length;
  const most = Math.max(1, Math.floor(PIECE / dimension));
  const { loops, f32 } = openPixelLoops(4 * (most * dimension + dimension + most));
  const floats = f32(most * dimension);
  const words = new Uint16Array(floats.buffer, floats.byteOffset, floats.length);
  const vector = f32(dimension);
  const cosines = f32(most);
  vector.set(wanted);
  const length = Math.sqrt(wanted.reduce((sum, value) => sum + value * value, 0));

  return (rows) => {
    const count = rows.length / dimension;
    const half = rows instanceof Uint16Array;
    const all = new Float32Array(count);
    for (let first = 0; first < count; first += most) {
      const piece = Math.min(most, count - first);
      const part = rows.subarray(first * dimension, (first + piece) * dimension);
      (half ? words : floats).set(part);
      const [from, to, out] = [floats.byteOffset, vector.byteOffset, cosines.byteOffset];
      loops.cosines(from, half ? 1 : 0, piece, dimension, to, length, out);
      all.set(cosines.subarray(0, piece), first);
    }
    return all;
  };
}
