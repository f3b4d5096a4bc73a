/** Rows of a JPEG's components as rows of RGB: enlarged and converted as libjpeg does, to the last bit. */

// @ts-expect-error: decorator
@inline
function smooth(at: v128, beside: v128, round: i16, shift: i32): v128 {
  return i16x8.shr_u(i16x8.add(i16x8.add(i16x8.mul(at, i16x8.splat(3)), beside), i16x8.splat(round)), shift);
}

/** Sums (i16, `count` of them and one before and after) as twice as many bytes: three parts of each and one of its neighbour. */
function spread(sums: usize, count: i32, to: usize, roundLeft: i16, roundRight: i16, shift: i32): void {
  store<i16>(sums - 2, load<i16>(sums));
  store<i16>(sums + (<usize>count << 1), load<i16>(sums + (<usize>(count - 1) << 1)));
  for (let i = 0; i < count; i += 8, sums += 16, to += 16) {
    const at = v128.load(sums);
    const left = smooth(at, v128.load(sums - 2), roundLeft, shift);
    const right = smooth(at, v128.load(sums + 2), roundRight, shift);
    v128.store(to, v128.or(left, i16x8.shl(right, 8)));
  }
}

/** A row of chroma at half the width. `sums`: room for `count` + 2 of 16 bits, the first of them before it. */
export function widen(row: usize, count: i32, sums: usize, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i += 8) v128.store(sums + (i << 1), v128.load8x8_u(row + i));
  spread(sums, count, to, 1, 2, 2);
}

/** A row of chroma at half the width and height: three parts of the nearer row, one of the farther. */
export function widenBetween(near: usize, far: usize, count: i32, sums: usize, to: usize): void {
  const three = i16x8.splat(3);
  for (let i: usize = 0; i < <usize>count; i += 8) {
    const sum = i16x8.add(i16x8.mul(v128.load8x8_u(near + i), three), v128.load8x8_u(far + i));
    v128.store(sums + (i << 1), sum);
  }
  spread(sums, count, to, 8, 7, 4);
}

// @ts-expect-error: decorator
@inline
function storeRgb(to: usize, r: v128, g: v128, b: v128): void {
  // r and g in turn, then b in between.
  const rg0 = v128.shuffle<i8>(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
  const rg1 = v128.shuffle<i8>(r, g, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26);
  const rg2 = v128.shuffle<i8>(r, g, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0);
  v128.store(to, v128.shuffle<i8>(rg0, b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15));
  v128.store(to, v128.shuffle<i8>(rg1, b, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15), 16);
  v128.store(to, v128.shuffle<i8>(rg2, b, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31), 32);
}

/** Three rows side by side. Up to 15 pixels are written past the end. */
export function interleave(r: usize, g: usize, b: usize, count: i32, to: usize): void {
  for (let i: usize = 0; i < <usize>count; i += 16, to += 48) {
    storeRgb(to, v128.load(r + i), v128.load(g + i), v128.load(b + i));
  }
}

// @ts-expect-error: decorator
@inline
function redOf(y: v128, cr: v128): v128 {
  return i16x8.add(y, i16x8.add(cr, i16x8.q15mulr_sat_s(cr, i16x8.splat(13175))));
}

// @ts-expect-error: decorator
@inline
function blueOf(y: v128, cb: v128): v128 {
  return i16x8.add(y, i16x8.add(i16x8.add(cb, cb), i16x8.q15mulr_sat_s(cb, i16x8.splat(-7471))));
}

// @ts-expect-error: decorator
@inline
function greenOf(y: v128, cb: v128, cr: v128): v128 {
  const weights = i32x4.splat((-22554 & 0xffff) | (18734 << 16));
  const half = i32x4.splat(32768);
  const a = i32x4.dot_i16x8_s(v128.shuffle<i16>(cb, cr, 0, 8, 1, 9, 2, 10, 3, 11), weights);
  const b = i32x4.dot_i16x8_s(v128.shuffle<i16>(cb, cr, 4, 12, 5, 13, 6, 14, 7, 15), weights);
  const sum = i16x8.narrow_i32x4_s(i32x4.shr_s(i32x4.add(a, half), 16), i32x4.shr_s(i32x4.add(b, half), 16));
  return i16x8.add(y, i16x8.sub(sum, cr));
}

/** A row of Y, Cb and Cr as RGB (T.871). Up to 15 pixels are written past the end. */
export function toRgb(y: usize, cb: usize, cr: usize, count: i32, to: usize): void {
  const middle = i16x8.splat(128);
  for (let i: usize = 0; i < <usize>count; i += 16, to += 48) {
    const luma = v128.load(y + i);
    const blue = v128.load(cb + i);
    const red = v128.load(cr + i);
    const y0 = i16x8.extend_low_i8x16_u(luma);
    const y1 = i16x8.extend_high_i8x16_u(luma);
    const b0 = i16x8.sub(i16x8.extend_low_i8x16_u(blue), middle);
    const b1 = i16x8.sub(i16x8.extend_high_i8x16_u(blue), middle);
    const r0 = i16x8.sub(i16x8.extend_low_i8x16_u(red), middle);
    const r1 = i16x8.sub(i16x8.extend_high_i8x16_u(red), middle);
    storeRgb(
      to,
      i8x16.narrow_i16x8_u(redOf(y0, r0), redOf(y1, r1)),
      i8x16.narrow_i16x8_u(greenOf(y0, b0, r0), greenOf(y1, b1, r1)),
      i8x16.narrow_i16x8_u(blueOf(y0, b0), blueOf(y1, b1)),
    );
  }
}
