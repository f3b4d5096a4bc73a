/** Rows of features against one vector. */
import { sum4 } from './lanes';

/** Four f16 words to f32: their bits moved to where f32 has them, and the difference of the two biases made up for. */
// @ts-ignore: decorator
@inline
function widen4(at: usize): v128 {
  const words = v128.load16x4_u(at);
  const magnitude = v128.and(words, i32x4.splat(0x7fff));
  const value = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(<f32>5.192296858534828e33)); // 2^112
  // Infinity and NaN have the highest exponent in both.
  const endless = v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(value, endless), i32x4.shl(v128.and(words, i32x4.splat(0x8000)), 16));
}

// @ts-ignore: decorator
@inline
function load4(features: usize, i: i32, half: bool): v128 {
  return half ? widen4(features + (<usize>i << 1)) : v128.load(features + (<usize>i << 2));
}

/**
 * Cosines of `count` rows of `dimension` features, f32 or f16, with `wanted` (f32), whose Euclidean length is `length`; NaN for
 * a row of zeros. Of the last features of a row, lanes beyond it count as zero.
 */
export function cosines(
  features: usize,
  half: bool,
  count: i32,
  dimension: i32,
  wanted: usize,
  length: f64,
  out: usize,
): void {
  const row = <usize>dimension << (half ? 1 : 2);
  for (let r = 0; r < count; r++) {
    let product = f32x4.splat(0);
    let square = f32x4.splat(0);
    for (let i = 0; i < dimension; i += 4) {
      let v = load4(features, i, half);
      if (i + 4 > dimension) v = v128.and(v, i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(dimension - i)));
      product = f32x4.add(product, f32x4.mul(v, v128.load(wanted + (<usize>i << 2))));
      square = f32x4.add(square, f32x4.mul(v, v));
    }
    store<f32>(out + (<usize>r << 2), <f32>(sum4(product) / (Math.sqrt(sum4(square)) * length)));
    features += row;
  }
}
