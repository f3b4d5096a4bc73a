/** Four-lane elementary functions. Accuracies are relative to the exact value unless they say absolute. */
import { madd } from './fma';

export const LOG2E: f32 = 1.4426950408889634;

// @ts-ignore: decorator
@inline
export function splat(x: f32): v128 {
  return f32x4.splat(x);
}

/** 2^y to 2e-7, for any y; below 2^-126 it stays at 2^-126, above 2^127 at 2^127. */
// @ts-ignore: decorator
@inline
export function exp2(y: v128): v128 {
  y = f32x4.pmax(f32x4.pmin(y, splat(127.0)), splat(-126.0));
  return exp2Negative(y);
}

/** 2^y to 2e-7 for -126 <= y <= 127: rounding to the nearest whole number by adding 1.5 2^23, a polynomial for the rest. */
// @ts-ignore: decorator
@inline
export function exp2Negative(y: v128): v128 {
  const shifted = f32x4.add(y, splat(12582912.0));
  const f = f32x4.sub(y, f32x4.sub(shifted, splat(12582912.0)));
  let p = madd(splat(0.0013390863364764831), f, splat(0.00967603191832597));
  p = madd(p, f, splat(0.05550357114219032));
  p = madd(p, f, splat(0.2402210748530827));
  p = madd(p, f, splat(0.6931471880262285));
  p = madd(p, f, splat(1.0));
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  return exp2(f32x4.mul(x, splat(LOG2E)));
}

/** log(1 + e) for 0 <= e <= 1, to 2e-7 also for tiny e: 2 atanh(e / (2 + e)). */
// @ts-ignore: decorator
@inline
function log1pUnit(e: v128): v128 {
  const s = f32x4.div(e, f32x4.add(e, splat(2.0)));
  const q = f32x4.mul(s, s);
  let p = madd(splat(0.12196953937412236), q, splat(0.1069928028809944));
  p = madd(p, q, splat(0.14310103700011115));
  p = madd(p, q, splat(0.19999355623648138));
  p = madd(p, q, splat(0.33333339513212895));
  p = madd(p, q, splat(1.0));
  return f32x4.mul(f32x4.add(s, s), p);
}

/** max(x, 0) + log1p(exp(-|x|)): neither overflows at 110 nor vanishes at -60. */
// @ts-ignore: decorator
@inline
export function softplus(x: v128): v128 {
  return f32x4.add(f32x4.pmax(x, splat(0.0)), log1pUnit(exp(f32x4.neg(f32x4.abs(x)))));
}

// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  return f32x4.div(splat(1.0), f32x4.add(splat(1.0), exp2(f32x4.mul(x, splat(-LOG2E)))));
}

/** Absolute 1e-7. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  return f32x4.sub(splat(1.0), f32x4.div(splat(2.0), f32x4.add(exp(f32x4.add(x, x)), splat(1.0))));
}

/** Absolute 1e-7: a rational approximation on [-4, 4], where f32 has reached 1. */
// @ts-ignore: decorator
@inline
export function erf(x: v128): v128 {
  x = f32x4.pmax(f32x4.pmin(x, splat(4.0)), splat(-4.0));
  const q = f32x4.mul(x, x);
  let a = madd(splat(-2.72614225801306e-10), q, splat(2.77068142495902e-8));
  a = madd(a, q, splat(-2.10102402082508e-6));
  a = madd(a, q, splat(-5.69250639462346e-5));
  a = madd(a, q, splat(-7.34990630326855e-4));
  a = madd(a, q, splat(-2.95459980854025e-3));
  a = madd(a, q, splat(-1.60960333262415e-2));
  let b = madd(splat(-1.45660718464996e-5), q, splat(-2.13374055278905e-4));
  b = madd(b, q, splat(-1.68282697438203e-3));
  b = madd(b, q, splat(-7.37332916720468e-3));
  b = madd(b, q, splat(-1.42647390514189e-2));
  return f32x4.div(f32x4.mul(x, a), b);
}

/** Sum of the lanes. */
// @ts-ignore: decorator
@inline
export function sum4(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** First item of this thread's share when `count` items are dealt in runs to `parts` threads. */
// @ts-ignore: decorator
@inline
export function shareStart(count: i32, part: i32, parts: i32): i32 {
  return <i32>((<i64>count * <i64>part) / <i64>parts);
}

/** memory.fill with zeros and memory.copy leave the module, which costs more than a few stores: small pieces are done here. */
const FEW_BYTES: usize = 512;

// @ts-ignore: decorator
@inline
export function clear(to: usize, bytes: usize): void {
  if (bytes > FEW_BYTES) {
    memory.fill(to, 0, bytes);
    return;
  }
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, splat(0.0));
  for (; i < bytes; i += 4) store<f32>(to + i, 0.0);
}

// @ts-ignore: decorator
@inline
export function copy(to: usize, from: usize, bytes: usize): void {
  if (bytes > FEW_BYTES) {
    memory.copy(to, from, bytes);
    return;
  }
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, v128.load(from + i));
  for (; i < bytes; i += 4) store<f32>(to + i, load<f32>(from + i));
}
