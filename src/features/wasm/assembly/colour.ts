/** RGB bytes to stain amounts, to other colours, and to the numbers that networks want. */
import { splat } from './lanes';

/** Value of a table of f32 at the byte at `at`. */
// @ts-ignore: decorator
@inline
function look(table: usize, at: usize): f32 {
  return load<f32>(table + (<usize>load<u8>(at) << 2));
}

/** The bytes at `at`, 3, 6 and 9 after it, through a table. */
// @ts-ignore: decorator
@inline
function look4(table: usize, at: usize): v128 {
  let v = v128.load32_zero(table + (<usize>load<u8>(at) << 2));
  v = f32x4.replace_lane(v, 1, look(table, at + 3));
  v = f32x4.replace_lane(v, 2, look(table, at + 6));
  return f32x4.replace_lane(v, 3, look(table, at + 9));
}

/** Optical densities of n pixels (n a multiple of 4) times a 3 x 3 matrix, row by colour, into three planes. */
export function unmix(rgb: usize, density: usize, matrix: usize, n: i32, h: usize, e: usize, r: usize): void {
  const rh = v128.load32_splat(matrix);
  const re = v128.load32_splat(matrix + 4);
  const rr = v128.load32_splat(matrix + 8);
  const gh = v128.load32_splat(matrix + 12);
  const ge = v128.load32_splat(matrix + 16);
  const gr = v128.load32_splat(matrix + 20);
  const bh = v128.load32_splat(matrix + 24);
  const be = v128.load32_splat(matrix + 28);
  const br = v128.load32_splat(matrix + 32);
  for (let i = 0; i < n; i += 4) {
    const at = rgb + 3 * <usize>i;
    const red = look4(density, at);
    const green = look4(density, at + 1);
    const blue = look4(density, at + 2);
    const to = <usize>i << 2;
    v128.store(h + to, f32x4.add(f32x4.mul(red, rh), f32x4.add(f32x4.mul(green, gh), f32x4.mul(blue, bh))));
    v128.store(e + to, f32x4.add(f32x4.mul(red, re), f32x4.add(f32x4.mul(green, ge), f32x4.mul(blue, be))));
    v128.store(r + to, f32x4.add(f32x4.mul(red, rr), f32x4.add(f32x4.mul(green, gr), f32x4.mul(blue, br))));
  }
}

/**
 * RGB bytes of n pixels into three planes of f32, byte x scale + shift; `factors` holds the three scales and the three
 * shifts.
 */
export function planar(rgb: usize, n: i32, factors: usize, out: usize): void {
  const plane = <usize>n << 2;
  for (let channel = 0; channel < 3; channel++) {
    const scale1 = load<f32>(factors + (<usize>channel << 2));
    const shift1 = load<f32>(factors + 12 + (<usize>channel << 2));
    const scale = splat(scale1);
    const shift = splat(shift1);
    const to = out + plane * <usize>channel;
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const at = rgb + 3 * <usize>i + <usize>channel;
      let v = v128.load8_splat(at);
      v = i8x16.replace_lane(v, 4, load<i8>(at + 3));
      v = i8x16.replace_lane(v, 8, load<i8>(at + 6));
      v = i8x16.replace_lane(v, 12, load<i8>(at + 9));
      const bytes = f32x4.convert_i32x4_u(v128.and(v, i32x4.splat(0xff)));
      v128.store(to + (<usize>i << 2), f32x4.add(f32x4.mul(bytes, scale), shift));
    }
    for (; i < n; i++) {
      store<f32>(to + (<usize>i << 2), <f32>load<u8>(rgb + 3 * <usize>i + <usize>channel) * scale1 + shift1);
    }
  }
}

/** The table of light has this many entries. */
const LIGHTS: i32 = 4096;

/**
 * New colours for n pixels, in place: densities times `matrix` (2 x 3) are the amounts of two stains, none below zero;
 * they are scaled and shifted by `change` (2 scales, 2 shifts) and times `stains` (2 x 3) give densities again, which
 * added to `keep` times the old ones, which `light` turns into bytes, `perDensity` entries for one unit of density.
 */
export function restain(
  rgb: usize,
  n: i32,
  density: usize,
  matrix: usize,
  change: usize,
  stains: usize,
  keep: f32,
  light: usize,
  perDensity: f32,
): void {
  const a0 = load<f32>(matrix);
  const a1 = load<f32>(matrix + 4);
  const a2 = load<f32>(matrix + 8);
  const b0 = load<f32>(matrix + 12);
  const b1 = load<f32>(matrix + 16);
  const b2 = load<f32>(matrix + 20);
  const scaleA = load<f32>(change);
  const scaleB = load<f32>(change + 4);
  const shiftA = load<f32>(change + 8);
  const shiftB = load<f32>(change + 12);
  for (let i = 0; i < n; i++) {
    const at = rgb + 3 * <usize>i;
    const red = look(density, at);
    const green = look(density, at + 1);
    const blue = look(density, at + 2);
    const a = max<f32>(0, a0 * red + a1 * green + a2 * blue) * scaleA + shiftA;
    const b = max<f32>(0, b0 * red + b1 * green + b2 * blue) * scaleB + shiftB;
    for (let channel: usize = 0; channel < 3; channel++) {
      const old = channel == 0 ? red : channel == 1 ? green : blue;
      const dense = keep * old + a * load<f32>(stains + (channel << 2)) + b * load<f32>(stains + 12 + (channel << 2));
      const entry = min<i32>(LIGHTS - 1, <i32>max<f32>(0, dense * perDensity + <f32>0.5));
      store<u8>(at + channel, load<u8>(light + <usize>entry));
    }
  }
}
