/** The JPEG that nearly all slides consist of, by our own decoder: three times as fast as libjpeg-turbo in WebAssembly, the same pixels. */
import { jpegSize } from './jpeg-stream.ts';
import { checkFits, type Samples, type TileEncoding } from './tile-encoding.ts';
import { tileLoops } from './wasm/open.ts';

/** What is larger is left to libjpeg-turbo, which needs less memory. */
const maxBaselinePixels = 16 * 1024 * 1024;

/**
 * @param reduce 1, 2, 4 or 8: every pixel is the mean of so many each way.
 * @returns valid until the next call; null if the picture is of another kind, or damaged: libjpeg-turbo then decides.
 * @throws Error if it says that it is larger than its tile.
 */
export function decodeBaseline(bytes: Uint8Array, encoding: TileEncoding, reduce: number): Samples | null {
  checkFits(jpegSize(bytes), encoding);
  if (encoding.width * encoding.height > maxBaselinePixels) return null;
  const loops = tileLoops();
  const at = loops.take(bytes.length);
  new Uint8Array(loops.memory.buffer).set(bytes, at);
  if (!loops.decodeJpeg(at, bytes.length, reduce)) return null;
  const [width, height, samples] = [loops.pixelsWidth.value, loops.pixelsHeight.value, loops.pixelsSamples.value];
  const data = new Uint8Array(loops.memory.buffer, loops.pixels.value, width * height * samples);
  return { width, height, samples, data, reduced: reduce };
}
