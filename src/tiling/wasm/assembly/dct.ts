/**
 * The inverse DCT of a JPEG block, whole or reduced.
 *
 * Whole, it is libjpeg's accurate integer transform (13 bits of fraction, 2 kept between the passes), bit for bit.
 * Reduced by 2, 4 or 8 along an axis, it gives the means of so many neighbouring pixels: not those of a smaller transform, but of the
 * whole one's, because the mean of a cosine over neighbours is a number that can be multiplied into its weight.
 */

// @ts-expect-error: decorator
@inline
function pair(a: i16, b: i16): v128 {
  return i32x4.splat(<i32>(<u16>a) | (<i32>b << 16));
}

// @ts-expect-error: decorator
@inline
function low(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-expect-error: decorator
@inline
function high(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

// @ts-expect-error: decorator
@inline
function dot2(a: v128, wa: v128, b: v128, wb: v128): v128 {
  return i32x4.add(i32x4.dot_i16x8_s(a, wa), i32x4.dot_i16x8_s(b, wb));
}

/** Eight values along the first axis, for each of the eight lanes. */
function whole(from: usize, to: usize, shift: i32): void {
  const round = i32x4.splat(1 << (shift - 1));
  const r0 = v128.load(from, 0);
  const r1 = v128.load(from, 16);
  const r2 = v128.load(from, 32);
  const r3 = v128.load(from, 48);
  const r4 = v128.load(from, 64);
  const r5 = v128.load(from, 80);
  const r6 = v128.load(from, 96);
  const r7 = v128.load(from, 112);
  let p04 = low(r0, r4);
  let p26 = low(r2, r6);
  let p13 = low(r1, r3);
  let p57 = low(r5, r7);
  const t0l = i32x4.add(i32x4.dot_i16x8_s(p04, pair(8192, 8192)), round);
  const t1l = i32x4.add(i32x4.dot_i16x8_s(p04, pair(8192, -8192)), round);
  const t3l = i32x4.dot_i16x8_s(p26, pair(10703, 4433));
  const t2l = i32x4.dot_i16x8_s(p26, pair(4433, -10704));
  const e0l = i32x4.add(t0l, t3l);
  const e3l = i32x4.sub(t0l, t3l);
  const e1l = i32x4.add(t1l, t2l);
  const e2l = i32x4.sub(t1l, t2l);
  const o0l = dot2(p13, pair(11363, 9633), p57, pair(6437, 2260));
  const o1l = dot2(p13, pair(9633, -2259), p57, pair(-11362, -6436));
  const o2l = dot2(p13, pair(6437, -11362), p57, pair(2261, 9633));
  const o3l = dot2(p13, pair(2260, -6436), p57, pair(9633, -11363));
  const l0 = i32x4.shr_s(i32x4.add(e0l, o0l), shift);
  const l1 = i32x4.shr_s(i32x4.add(e1l, o1l), shift);
  const l2 = i32x4.shr_s(i32x4.add(e2l, o2l), shift);
  const l3 = i32x4.shr_s(i32x4.add(e3l, o3l), shift);
  const l4 = i32x4.shr_s(i32x4.sub(e3l, o3l), shift);
  const l5 = i32x4.shr_s(i32x4.sub(e2l, o2l), shift);
  const l6 = i32x4.shr_s(i32x4.sub(e1l, o1l), shift);
  const l7 = i32x4.shr_s(i32x4.sub(e0l, o0l), shift);
  p04 = high(r0, r4);
  p26 = high(r2, r6);
  p13 = high(r1, r3);
  p57 = high(r5, r7);
  const t0h = i32x4.add(i32x4.dot_i16x8_s(p04, pair(8192, 8192)), round);
  const t1h = i32x4.add(i32x4.dot_i16x8_s(p04, pair(8192, -8192)), round);
  const t3h = i32x4.dot_i16x8_s(p26, pair(10703, 4433));
  const t2h = i32x4.dot_i16x8_s(p26, pair(4433, -10704));
  const e0h = i32x4.add(t0h, t3h);
  const e3h = i32x4.sub(t0h, t3h);
  const e1h = i32x4.add(t1h, t2h);
  const e2h = i32x4.sub(t1h, t2h);
  const o0h = dot2(p13, pair(11363, 9633), p57, pair(6437, 2260));
  const o1h = dot2(p13, pair(9633, -2259), p57, pair(-11362, -6436));
  const o2h = dot2(p13, pair(6437, -11362), p57, pair(2261, 9633));
  const o3h = dot2(p13, pair(2260, -6436), p57, pair(9633, -11363));
  v128.store(to, i16x8.narrow_i32x4_s(l0, i32x4.shr_s(i32x4.add(e0h, o0h), shift)), 0);
  v128.store(to, i16x8.narrow_i32x4_s(l1, i32x4.shr_s(i32x4.add(e1h, o1h), shift)), 16);
  v128.store(to, i16x8.narrow_i32x4_s(l2, i32x4.shr_s(i32x4.add(e2h, o2h), shift)), 32);
  v128.store(to, i16x8.narrow_i32x4_s(l3, i32x4.shr_s(i32x4.add(e3h, o3h), shift)), 48);
  v128.store(to, i16x8.narrow_i32x4_s(l4, i32x4.shr_s(i32x4.sub(e3h, o3h), shift)), 64);
  v128.store(to, i16x8.narrow_i32x4_s(l5, i32x4.shr_s(i32x4.sub(e2h, o2h), shift)), 80);
  v128.store(to, i16x8.narrow_i32x4_s(l6, i32x4.shr_s(i32x4.sub(e1h, o1h), shift)), 96);
  v128.store(to, i16x8.narrow_i32x4_s(l7, i32x4.shr_s(i32x4.sub(e0h, o0h), shift)), 112);
}

/** Means of two: four values. */
function half(from: usize, to: usize, shift: i32): void {
  const round = i32x4.splat(1 << (shift - 1));
  const r0 = v128.load(from, 0);
  const r1 = v128.load(from, 16);
  const r2 = v128.load(from, 32);
  const r3 = v128.load(from, 48);
  const r4 = v128.load(from, 64);
  const r5 = v128.load(from, 80);
  const r6 = v128.load(from, 96);
  const r7 = v128.load(from, 112);
  let p02 = low(r0, r2);
  let p64 = low(r6, r4);
  let p13 = low(r1, r3);
  let p57 = low(r5, r7);
  const e0l = i32x4.add(dot2(p02, pair(8192, 7568), p64, pair(-3135, 0)), round);
  const e1l = i32x4.add(dot2(p02, pair(8192, -7568), p64, pair(3135, 0)), round);
  const o0l = dot2(p13, pair(10498, 3686), p57, pair(-2463, -2088));
  const o1l = dot2(p13, pair(4348, -8900), p57, pair(5946, -865));
  const l0 = i32x4.shr_s(i32x4.add(e0l, o0l), shift);
  const l1 = i32x4.shr_s(i32x4.add(e1l, o1l), shift);
  const l2 = i32x4.shr_s(i32x4.sub(e1l, o1l), shift);
  const l3 = i32x4.shr_s(i32x4.sub(e0l, o0l), shift);
  p02 = high(r0, r2);
  p64 = high(r6, r4);
  p13 = high(r1, r3);
  p57 = high(r5, r7);
  const e0h = i32x4.add(dot2(p02, pair(8192, 7568), p64, pair(-3135, 0)), round);
  const e1h = i32x4.add(dot2(p02, pair(8192, -7568), p64, pair(3135, 0)), round);
  const o0h = dot2(p13, pair(10498, 3686), p57, pair(-2463, -2088));
  const o1h = dot2(p13, pair(4348, -8900), p57, pair(5946, -865));
  v128.store(to, i16x8.narrow_i32x4_s(l0, i32x4.shr_s(i32x4.add(e0h, o0h), shift)), 0);
  v128.store(to, i16x8.narrow_i32x4_s(l1, i32x4.shr_s(i32x4.add(e1h, o1h), shift)), 16);
  v128.store(to, i16x8.narrow_i32x4_s(l2, i32x4.shr_s(i32x4.sub(e1h, o1h), shift)), 32);
  v128.store(to, i16x8.narrow_i32x4_s(l3, i32x4.shr_s(i32x4.sub(e0h, o0h), shift)), 48);
}

/** Means of four: two values. */
function quarter(from: usize, to: usize, shift: i32): void {
  const round = i32x4.splat(1 << (shift - 1));
  const r0 = v128.load(from, 0);
  const r1 = v128.load(from, 16);
  const r2 = v128.load(from, 32);
  const r3 = v128.load(from, 48);
  const r5 = v128.load(from, 80);
  const r7 = v128.load(from, 112);
  let p02 = low(r0, r2);
  let p13 = low(r1, r3);
  let p57 = low(r5, r7);
  const el = i32x4.add(i32x4.dot_i16x8_s(p02, pair(8192, 0)), round);
  const ol = dot2(p13, pair(7423, -2607), p57, pair(1742, -1477));
  const l0 = i32x4.shr_s(i32x4.add(el, ol), shift);
  const l1 = i32x4.shr_s(i32x4.sub(el, ol), shift);
  p02 = high(r0, r2);
  p13 = high(r1, r3);
  p57 = high(r5, r7);
  const eh = i32x4.add(i32x4.dot_i16x8_s(p02, pair(8192, 0)), round);
  const oh = dot2(p13, pair(7423, -2607), p57, pair(1742, -1477));
  v128.store(to, i16x8.narrow_i32x4_s(l0, i32x4.shr_s(i32x4.add(eh, oh), shift)), 0);
  v128.store(to, i16x8.narrow_i32x4_s(l1, i32x4.shr_s(i32x4.sub(eh, oh), shift)), 16);
}

/** The mean of all eight. */
function eighth(from: usize, to: usize, shift: i32): void {
  const round = i32x4.splat(1 << (shift - 1));
  const r0 = v128.load(from, 0);
  let p00 = low(r0, r0);
  const el = i32x4.add(i32x4.dot_i16x8_s(p00, pair(8192, 0)), round);
  const l0 = i32x4.shr_s(el, shift);
  p00 = high(r0, r0);
  const eh = i32x4.add(i32x4.dot_i16x8_s(p00, pair(8192, 0)), round);
  v128.store(to, i16x8.narrow_i32x4_s(l0, i32x4.shr_s(eh, shift)), 0);
}

// @ts-expect-error: decorator
@inline
function along(reduce: i32, from: usize, to: usize, shift: i32): void {
  if (reduce == 1) whole(from, to, shift);
  else if (reduce == 2) half(from, to, shift);
  else if (reduce == 4) quarter(from, to, shift);
  else eighth(from, to, shift);
}

/** Eight rows of eight: each step interleaves the first four with the last four, and three of them exchange rows and columns. */
function transpose(from: usize, to: usize): void {
  const a0 = v128.load(from, 0);
  const a1 = v128.load(from, 16);
  const a2 = v128.load(from, 32);
  const a3 = v128.load(from, 48);
  const a4 = v128.load(from, 64);
  const a5 = v128.load(from, 80);
  const a6 = v128.load(from, 96);
  const a7 = v128.load(from, 112);
  const b0 = low(a0, a4);
  const b1 = high(a0, a4);
  const b2 = low(a1, a5);
  const b3 = high(a1, a5);
  const b4 = low(a2, a6);
  const b5 = high(a2, a6);
  const b6 = low(a3, a7);
  const b7 = high(a3, a7);
  const c0 = low(b0, b4);
  const c1 = high(b0, b4);
  const c2 = low(b1, b5);
  const c3 = high(b1, b5);
  const c4 = low(b2, b6);
  const c5 = high(b2, b6);
  const c6 = low(b3, b7);
  const c7 = high(b3, b7);
  const d0 = low(c0, c4);
  const d1 = high(c0, c4);
  const d2 = low(c1, c5);
  const d3 = high(c1, c5);
  const d4 = low(c2, c6);
  const d5 = high(c2, c6);
  const d6 = low(c3, c7);
  const d7 = high(c3, c7);
  v128.store(to, d0, 0);
  v128.store(to, d1, 16);
  v128.store(to, d2, 32);
  v128.store(to, d3, 48);
  v128.store(to, d4, 64);
  v128.store(to, d5, 80);
  v128.store(to, d6, 96);
  v128.store(to, d7, 112);
}

const first = memory.data(128, 16);
const second = memory.data(128, 16);

/** Bytes of one value, as many rows and columns as the block has pixels. */
function fill(value: i32, to: usize, stride: usize, across: i32, down: i32): void {
  const eight = <u64>value * 0x0101010101010101;
  for (let row = 0; row < down; row++, to += stride) {
    if (across == 8) store<u64>(to, eight);
    else if (across == 4) store<u32>(to, <u32>eight);
    else if (across == 2) store<u16>(to, <u16>eight);
    else store<u8>(to, <u8>eight);
  }
}

/** A block of which there is DC alone. */
export function writeFlat(dc: i32, to: usize, stride: usize, reduceX: i32, reduceY: i32): void {
  const value = ((<i32>(<i16>dc) + 4) >> 3) + 128;
  fill(min(255, max(0, value)), to, stride, 8 / reduceX, 8 / reduceY);
}

/** Pixels of a block (i16, rows of eight; zero afterwards) as bytes to `to`: 8 / reduceX across and 8 / reduceY down. */
export function writeBlock(block: usize, to: usize, stride: usize, reduceX: i32, reduceY: i32): void {
  along(reduceY, block, first, 11);
  transpose(first, second);
  along(reduceX, second, first, 18);
  const zero = i32x4.splat(0);
  v128.store(block, zero, 0);
  v128.store(block, zero, 16);
  v128.store(block, zero, 32);
  v128.store(block, zero, 48);
  v128.store(block, zero, 64);
  v128.store(block, zero, 80);
  v128.store(block, zero, 96);
  v128.store(block, zero, 112);

  const a0 = i8x16.narrow_i16x8_s(v128.load(first, 0), v128.load(first, 16));
  const a1 = i8x16.narrow_i16x8_s(v128.load(first, 32), v128.load(first, 48));
  const a2 = i8x16.narrow_i16x8_s(v128.load(first, 64), v128.load(first, 80));
  const a3 = i8x16.narrow_i16x8_s(v128.load(first, 96), v128.load(first, 112));
  const b0 = v128.shuffle<i8>(a0, a2, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const b1 = v128.shuffle<i8>(a0, a2, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const b2 = v128.shuffle<i8>(a1, a3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const b3 = v128.shuffle<i8>(a1, a3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const c0 = v128.shuffle<i8>(b0, b2, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const c1 = v128.shuffle<i8>(b0, b2, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const c2 = v128.shuffle<i8>(b1, b3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const c3 = v128.shuffle<i8>(b1, b3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const d0 = v128.shuffle<i8>(c0, c2, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const d1 = v128.shuffle<i8>(c0, c2, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const d2 = v128.shuffle<i8>(c1, c3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const d3 = v128.shuffle<i8>(c1, c3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const middle = i8x16.splat(-128);
  const rows0 = v128.xor(d0, middle);
  const rows1 = v128.xor(d1, middle);
  const rows2 = v128.xor(d2, middle);
  const rows3 = v128.xor(d3, middle);
  if (reduceX == 1 && reduceY == 1) {
    v128.store_lane<u64>(to + 0 * stride, rows0, 0);
    v128.store_lane<u64>(to + 1 * stride, rows0, 1);
    v128.store_lane<u64>(to + 2 * stride, rows1, 0);
    v128.store_lane<u64>(to + 3 * stride, rows1, 1);
    v128.store_lane<u64>(to + 4 * stride, rows2, 0);
    v128.store_lane<u64>(to + 5 * stride, rows2, 1);
    v128.store_lane<u64>(to + 6 * stride, rows3, 0);
    v128.store_lane<u64>(to + 7 * stride, rows3, 1);
    return;
  }

  v128.store(second, rows0, 0);
  v128.store(second, rows1, 16);
  v128.store(second, rows2, 32);
  v128.store(second, rows3, 48);
  const across = 8 / reduceX;
  let from = second;
  for (let row = 8 / reduceY; row > 0; row--, from += 8, to += stride) {
    if (across == 8) store<u64>(to, load<u64>(from));
    else if (across == 4) store<u32>(to, load<u32>(from));
    else if (across == 2) store<u16>(to, load<u16>(from));
    else store<u8>(to, load<u8>(from));
  }
}
