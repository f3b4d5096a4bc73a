/** What `src/features/texture.ts` says, on planes in memory. */
import { splat, sum4 } from './lanes';

const LEVELS: usize = 64;

/** Means of 2 x 2 pixels; the sums of squares of the details lost, edges and corners, go to two f64 at `sums`. */
export function halve(plane: usize, width: i32, height: i32, half: usize, sums: usize): void {
  const columns = width >> 1;
  const rows = height >> 1;
  const quarter = splat(0.25);
  let edges: f64 = 0;
  let corners: f64 = 0;
  for (let row = 0; row < rows; row++) {
    let above = plane + ((2 * <usize>row * <usize>width) << 2);
    let below = above + (<usize>width << 2);
    let target = half + ((<usize>row * <usize>columns) << 2);
    let edge = splat(0);
    let corner = splat(0);
    let column = 0;
    for (; column + 4 <= columns; column += 4) {
      const above0 = v128.load(above);
      const above4 = v128.load(above, 16);
      const below0 = v128.load(below);
      const below4 = v128.load(below, 16);
      const a = i32x4.shuffle(above0, above4, 0, 2, 4, 6);
      const b = i32x4.shuffle(above0, above4, 1, 3, 5, 7);
      const c = i32x4.shuffle(below0, below4, 0, 2, 4, 6);
      const d = i32x4.shuffle(below0, below4, 1, 3, 5, 7);
      const rising = f32x4.sub(a, d);
      const falling = f32x4.sub(b, c);
      const ab = f32x4.add(a, b);
      const cd = f32x4.add(c, d);
      v128.store(target, f32x4.mul(quarter, f32x4.add(ab, cd)));
      edge = f32x4.add(edge, f32x4.add(f32x4.mul(rising, rising), f32x4.mul(falling, falling)));
      // (a - b) - (c - d)
      const cross = f32x4.sub(f32x4.sub(a, b), f32x4.sub(c, d));
      corner = f32x4.add(corner, f32x4.mul(cross, cross));
      above += 32;
      below += 32;
      target += 16;
    }
    edges += sum4(edge);
    corners += sum4(corner);
    for (; column < columns; column++) {
      const a = load<f32>(above);
      const b = load<f32>(above, 4);
      const c = load<f32>(below);
      const d = load<f32>(below, 4);
      const rising = a - d;
      const falling = b - c;
      const cross = a - b - (c - d);
      store<f32>(target, <f32>0.25 * (a + b + (c + d)));
      edges += <f64>(rising * rising + falling * falling);
      corners += <f64>(cross * cross);
      above += 8;
      below += 8;
      target += 4;
    }
  }
  store<f64>(sums, edges);
  store<f64>(sums, corners, 8);
}

/** (plane - low) x scale, cut to 0..63, for n values. */
export function quantise(plane: usize, n: i32, low: f32, scale: f32, levels: usize): void {
  const low4 = splat(low);
  const scale4 = splat(scale);
  const most = i16x8.splat(63);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = plane + (<usize>i << 2);
    const first = i32x4.trunc_sat_f32x4_s(f32x4.mul(f32x4.sub(v128.load(at), low4), scale4));
    const second = i32x4.trunc_sat_f32x4_s(f32x4.mul(f32x4.sub(v128.load(at, 16), low4), scale4));
    const words = i16x8.min_u(i16x8.narrow_i32x4_u(first, second), most);
    v128.store64_lane(levels + <usize>i, i8x16.narrow_i16x8_u(words, words), 0);
  }
  for (; i < n; i++) {
    const level = <i32>((load<f32>(plane + (<usize>i << 2)) - low) * scale);
    store<u8>(levels + <usize>i, max(0, min(63, level)));
  }
}

// @ts-ignore: decorator
@inline
function count(histogram: usize, level: usize): void {
  const at = histogram + (level << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** How often each of the 64 levels occurs. Two histograms in turn: equal neighbours need not wait for each other. */
export function histogram(levels: usize, n: i32, counts: usize, scratch: usize): void {
  memory.fill(counts, 0, LEVELS << 2);
  memory.fill(scratch, 0, LEVELS << 2);
  let i: usize = 0;
  const end = <usize>n;
  for (; i + 2 <= end; i += 2) {
    count(counts, load<u8>(levels + i));
    count(scratch, load<u8>(levels + i, 1));
  }
  if (i < end) count(counts, load<u8>(levels + i));
  for (let at: usize = 0; at < LEVELS << 2; at += 16) {
    v128.store(counts + at, i32x4.add(v128.load(counts + at), v128.load(scratch + at)));
  }
}

/**
 * Counts of pixels, pairs of neighbours, squares of four (by their lowest level) and sides (by the higher of the two), four
 * histograms of 64 at `counts`; the last row and column only as neighbours.
 */
export function shapes(levels: usize, width: i32, height: i32, counts: usize): void {
  const pixels = counts;
  const pairs = counts + (LEVELS << 2);
  const squares = pairs + (LEVELS << 2);
  const sides = squares + (LEVELS << 2);
  memory.fill(counts, 0, LEVELS << 4);
  const w = <usize>width;
  for (let y: usize = 0; y + 1 < <usize>height; y++) {
    let at = levels + y * w;
    const end = at + w - 1;
    let a = load<u8>(at);
    let c = load<u8>(at + w);
    let ac = min(a, c);
    for (; at < end; at++) {
      const b = load<u8>(at, 1);
      const d = load<u8>(at + w, 1);
      const bd = min(b, d);
      const ab = min(a, b);
      count(pixels, a);
      count(pairs, ab);
      count(pairs, ac);
      count(squares, min(ac, bd));
      count(sides, max(a, b));
      count(sides, max(a, c));
      a = b;
      c = d;
      ac = bd;
    }
  }
}

/** The bit `bit` where a neighbour is higher than the centre. */
// @ts-ignore: decorator
@inline
function higher(neighbour: v128, centre: v128, bit: i8): v128 {
  return v128.and(i8x16.gt_u(neighbour, centre), i8x16.splat(bit));
}

// @ts-ignore: decorator
@inline
function higher1(neighbour: usize, centre: i32, bit: i32): i32 {
  return i32(<i32>load<u8>(neighbour) > centre) << bit;
}

/** How often each of the 256 patterns of higher neighbours occurs, clockwise from top left; `line` is room for a row. */
export function patterns(levels: usize, width: i32, height: i32, counts: usize, line: usize): void {
  memory.fill(counts, 0, 256 << 2);
  const w = <usize>width;
  const inner = w - 2;
  for (let y: usize = 1; y + 1 < <usize>height; y++) {
    const row = levels + y * w + 1;
    let x: usize = 0;
    for (; x + 16 <= inner; x += 16) {
      const at = row + x;
      const centre = v128.load(at);
      let pattern = higher(v128.load(at - w - 1), centre, 1);
      pattern = v128.or(pattern, higher(v128.load(at - w), centre, 2));
      pattern = v128.or(pattern, higher(v128.load(at - w + 1), centre, 4));
      pattern = v128.or(pattern, higher(v128.load(at + 1), centre, 8));
      pattern = v128.or(pattern, higher(v128.load(at + w + 1), centre, 16));
      pattern = v128.or(pattern, higher(v128.load(at + w), centre, 32));
      pattern = v128.or(pattern, higher(v128.load(at + w - 1), centre, 64));
      pattern = v128.or(pattern, higher(v128.load(at - 1), centre, -128));
      v128.store(line + x, pattern);
    }
    for (; x < inner; x++) {
      const at = row + x;
      const centre = <i32>load<u8>(at);
      store<u8>(
        line + x,
        higher1(at - w - 1, centre, 0) |
          higher1(at - w, centre, 1) |
          higher1(at - w + 1, centre, 2) |
          higher1(at + 1, centre, 3) |
          higher1(at + w + 1, centre, 4) |
          higher1(at + w, centre, 5) |
          higher1(at + w - 1, centre, 6) |
          higher1(at - 1, centre, 7),
      );
    }
    for (x = 0; x < inner; x++) count(counts, load<u8>(line + x));
  }
}

const BLOCK: usize = 8;

/** Sums over blocks of 8 x 8 of the structure tensor: xx, yy, xy and the gradient that runs one way, four f64 at `sums`. */
export function gradients(plane: usize, width: i32, height: i32, sums: usize): void {
  const w = <usize>width;
  let allXX: f64 = 0;
  let allYY: f64 = 0;
  let allXY: f64 = 0;
  let aligned: f64 = 0;
  for (let top: usize = 1; top + BLOCK < <usize>height; top += BLOCK) {
    for (let left: usize = 1; left + BLOCK < w; left += BLOCK) {
      let xx = splat(0);
      let yy = splat(0);
      let xy = splat(0);
      for (let y = top; y < top + BLOCK; y++) {
        for (let x = left; x < left + BLOCK; x += 4) {
          const at = plane + ((y * w + x) << 2);
          const dx = f32x4.sub(v128.load(at + 4), v128.load(at - 4));
          const dy = f32x4.sub(v128.load(at + (w << 2)), v128.load(at - (w << 2)));
          xx = f32x4.add(xx, f32x4.mul(dx, dx));
          yy = f32x4.add(yy, f32x4.mul(dy, dy));
          xy = f32x4.add(xy, f32x4.mul(dx, dy));
        }
      }
      const sumXX = sum4(xx);
      const sumYY = sum4(yy);
      const sumXY = sum4(xy);
      allXX += sumXX;
      allYY += sumYY;
      allXY += sumXY;
      aligned += sqrt<f64>((sumXX - sumYY) * (sumXX - sumYY) + 4 * sumXY * sumXY);
    }
  }
  store<f64>(sums, allXX);
  store<f64>(sums, allYY, 8);
  store<f64>(sums, allXY, 16);
  store<f64>(sums, aligned, 24);
}

/** Values whose lanes are summed in f32 before they join an f64. */
const RUN = 256;

/** Sum of the products of two planes of n values (of squares, if they are one), n a multiple of 4 or not. */
export function products(a: usize, b: usize, n: i32): f64 {
  let total: f64 = 0;
  let i = 0;
  while (i + 4 <= n) {
    let sum = splat(0);
    const end = min(i + RUN, n);
    for (; i + 4 <= end; i += 4) {
      const at = <usize>i << 2;
      sum = f32x4.add(sum, f32x4.mul(v128.load(a + at), v128.load(b + at)));
    }
    total += sum4(sum);
  }
  for (; i < n; i++) total += <f64>(load<f32>(a + (<usize>i << 2)) * load<f32>(b + (<usize>i << 2)));
  return total;
}

/** Sum of n values. */
export function total(plane: usize, n: i32): f64 {
  let all: f64 = 0;
  let i = 0;
  while (i + 4 <= n) {
    let sum = splat(0);
    const end = min(i + RUN, n);
    for (; i + 4 <= end; i += 4) sum = f32x4.add(sum, v128.load(plane + (<usize>i << 2)));
    all += sum4(sum);
  }
  for (; i < n; i++) all += <f64>load<f32>(plane + (<usize>i << 2));
  return all;
}

/** target = a x wa + b x wb + c x wc, for n values. */
export function weigh(a: usize, b: usize, c: usize, wa: f32, wb: f32, wc: f32, n: i32, target: usize): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    const ab = f32x4.add(f32x4.mul(v128.load(a + at), splat(wa)), f32x4.mul(v128.load(b + at), splat(wb)));
    v128.store(target + at, f32x4.add(ab, f32x4.mul(v128.load(c + at), splat(wc))));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(target + at, load<f32>(a + at) * wa + load<f32>(b + at) * wb + load<f32>(c + at) * wc);
  }
}

/** Where h is at least `threshold`: their number, the sums of h, of its squares, of e and of r, five f64 at `sums`. */
export function within(h: usize, e: usize, r: usize, n: i32, threshold: f32, sums: usize): void {
  let members: f64 = 0;
  let ofH: f64 = 0;
  let squares: f64 = 0;
  let ofE: f64 = 0;
  let ofR: f64 = 0;
  const least = splat(threshold);
  const one = splat(1);
  let i = 0;
  while (i + 4 <= n) {
    let count = splat(0);
    let sumH = splat(0);
    let sumHH = splat(0);
    let sumE = splat(0);
    let sumR = splat(0);
    const end = min(i + RUN, n);
    for (; i + 4 <= end; i += 4) {
      const at = <usize>i << 2;
      const value = v128.load(h + at);
      const mask = f32x4.ge(value, least);
      const member = v128.and(value, mask);
      count = f32x4.add(count, v128.and(one, mask));
      sumH = f32x4.add(sumH, member);
      sumHH = f32x4.add(sumHH, f32x4.mul(member, member));
      sumE = f32x4.add(sumE, v128.and(v128.load(e + at), mask));
      sumR = f32x4.add(sumR, v128.and(v128.load(r + at), mask));
    }
    members += sum4(count);
    ofH += sum4(sumH);
    squares += sum4(sumHH);
    ofE += sum4(sumE);
    ofR += sum4(sumR);
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const value = load<f32>(h + at);
    if (value < threshold) continue;
    members += 1;
    ofH += <f64>value;
    squares += <f64>(value * value);
    ofE += <f64>load<f32>(e + at);
    ofR += <f64>load<f32>(r + at);
  }
  store<f64>(sums, members);
  store<f64>(sums, ofH, 8);
  store<f64>(sums, squares, 16);
  store<f64>(sums, ofE, 24);
  store<f64>(sums, ofR, 32);
}
