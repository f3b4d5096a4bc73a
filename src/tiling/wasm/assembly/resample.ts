/**
 * Area-correct resampling of an RGB picture: every output pixel is the mean of exactly the area it covers; one axis after the other,
 * because a pixel's area is a product. Enlarging spreads each pixel over the area it covers.
 */
import { take } from './memory';

/** Which source pixels an output pixel of one axis covers: the first of them, how many, and the weight of each (f32). */
const firstOf: usize = 0;
const countOf: usize = 4;
const weightsOf: usize = 8;

let recordBytes: usize = 0;

function footprints(origin: f64, length: f64, count: i32, limit: i32): usize {
  const step = length / <f64>count;
  recordBytes = weightsOf + ((<usize>ceil(step) + 2) << 2);
  const records = take(recordBytes * count);
  let at = records;
  for (let i = 0; i < count; i++, at += recordBytes) {
    const from = origin + <f64>i * step;
    const to = from + step;
    const first = max(0, min(<i32>floor(from), limit - 1));
    // A sliver thinner than rounding is not a pixel; the last pixel stands for what would lie beyond the picture.
    const last = max(first, min(<i32>ceil(to - 1e-6), limit) - 1);
    store<i32>(at + firstOf, first);
    store<i32>(at + countOf, last - first + 1);
    let sum: f64 = 0;
    for (let pixel = first; pixel <= last; pixel++) {
      const weight = max(1e-9, min(to, <f64>(pixel + 1)) - max(from, <f64>pixel));
      store<f32>(at + weightsOf + (<usize>(pixel - first) << 2), <f32>weight);
      sum += weight;
    }
    for (let tap: usize = 0; tap <= <usize>(last - first); tap++) {
      const place = at + weightsOf + (tap << 2);
      store<f32>(place, <f32>(<f64>load<f32>(place) / sum));
    }
  }
  return records;
}

/** The rows that an output row covers, as one: `line` gets their weighted mean. */
function meanOfRows(rows: usize, stride: usize, footprint: usize, line: usize): void {
  const count = load<i32>(footprint + countOf);
  const first = rows + <usize>load<i32>(footprint + firstOf) * stride;
  const weights = footprint + weightsOf;
  for (let i: usize = 0; i < stride; i += 16, line += 64) {
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let at = first + i;
    for (let tap: usize = 0; tap < <usize>count; tap++, at += stride) {
      const weight = v128.load32_splat(weights + (tap << 2));
      const bytes = v128.load(at);
      const low = i16x8.extend_low_i8x16_u(bytes);
      const high = i16x8.extend_high_i8x16_u(bytes);
      a = f32x4.add(a, f32x4.mul(weight, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(low))));
      b = f32x4.add(b, f32x4.mul(weight, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(low))));
      c = f32x4.add(c, f32x4.mul(weight, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(high))));
      d = f32x4.add(d, f32x4.mul(weight, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(high))));
    }
    v128.store(line, a);
    v128.store(line, b, 16);
    v128.store(line, c, 32);
    v128.store(line, d, 48);
  }
}

// @ts-ignore: decorator
@inline
function meanAlong(line: usize, footprint: usize): v128 {
  let at = line + <usize>load<i32>(footprint + firstOf) * 12;
  let weight = footprint + weightsOf;
  let mean = f32x4.mul(v128.load(at), v128.load32_splat(weight));
  for (let tap = load<i32>(footprint + countOf) - 1; tap > 0; tap--) {
    at += 12;
    weight += 4;
    mean = f32x4.add(mean, f32x4.mul(v128.load(at), v128.load32_splat(weight)));
  }
  return mean;
}

/**
 * Resamples the rectangle x, y, w, h (fractions count) of a picture to `width` x `height` pixels.
 *
 * @param factors 0: bytes, RGB after RGB, go to `to` (one byte is written past the end). Else the address of four factors and four
 *   addends (f32), and floats go there, plane after plane: value * factor + addend.
 */
export function resampleArea(
  source: usize,
  sourceWidth: i32,
  sourceHeight: i32,
  x: f64,
  y: f64,
  w: f64,
  h: f64,
  to: usize,
  width: i32,
  height: i32,
  factors: usize,
): void {
  const across = footprints(x, w, width, sourceWidth);
  const acrossBytes = recordBytes;
  let down = footprints(y, h, height, sourceHeight);
  const downBytes = recordBytes;
  const stride = <usize>sourceWidth * 3;
  const line = take((stride << 2) + 64);
  const plane = (<usize>width * height) << 2;
  const factor = factors ? v128.load(factors) : f32x4.splat(0);
  const addend = factors ? v128.load(factors + 16) : f32x4.splat(0);
  const half = f32x4.splat(0.5);
  for (let row = 0; row < height; row++, down += downBytes) {
    meanOfRows(source, stride, down, line);
    let footprint = across;
    if (factors) {
      for (let column = 0; column < width; column++, footprint += acrossBytes, to += 4) {
        const value = f32x4.add(f32x4.mul(meanAlong(line, footprint), factor), addend);
        v128.store_lane<f32>(to, value, 0);
        v128.store_lane<f32>(to + plane, value, 1);
        v128.store_lane<f32>(to + 2 * plane, value, 2);
      }
    } else {
      for (let column = 0; column < width; column++, footprint += acrossBytes, to += 3) {
        // Half a grey level, so that cutting off the fraction rounds.
        const whole = i32x4.trunc_sat_f32x4_s(f32x4.add(meanAlong(line, footprint), half));
        const words = i16x8.narrow_i32x4_s(whole, whole);
        v128.store_lane<u32>(to, i8x16.narrow_i16x8_u(words, words), 0);
      }
    }
  }
}
