/** Filling, adding, multiplying, transposing, dropping. */
import { shareStart, splat } from './math';

export function fill(x: usize, n: i32, value: f32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  if (value == 0) {
    memory.fill(x + (<usize>from << 2), 0, <usize>(to - from) << 2);
    return;
  }
  for (let i = from; i < to; i++) store<f32>(x + (<usize>i << 2), value);
}

export function add(a: usize, b: usize, y: usize, n: i32, alpha: f32, beta: f32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  const alpha4 = splat(alpha);
  const beta4 = splat(beta);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    let v = f32x4.mul(alpha4, v128.load(a + at));
    if (b != 0) v = f32x4.add(v, f32x4.mul(beta4, v128.load(b + at)));
    v128.store(y + at, v);
  }
  for (; i < to; i++) {
    const at = <usize>i << 2;
    let v = alpha * load<f32>(a + at);
    if (b != 0) v += beta * load<f32>(b + at);
    store<f32>(y + at, v);
  }
}

export function multiply(a: usize, b: usize, y: usize, n: i32, accumulate: i32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    const v = f32x4.mul(v128.load(a + at), v128.load(b + at));
    v128.store(y + at, accumulate ? f32x4.add(v, v128.load(y + at)) : v);
  }
  for (; i < to; i++) {
    const at = <usize>i << 2;
    const v = load<f32>(a + at) * load<f32>(b + at);
    store<f32>(y + at, accumulate ? load<f32>(y + at) + v : v);
  }
}

export function transpose(x: usize, y: usize, r: i32, c: i32, part: i32, parts: i32): void {
  const from = shareStart(c, part, parts);
  const to = shareStart(c, part + 1, parts);
  // Sixteen rows at a time, so that the lines read are used up before they leave the cache.
  for (let i0 = 0; i0 < r; i0 += 16) {
    const i1 = min(i0 + 16, r);
    for (let j = from; j < to; j++) {
      for (let i = i0; i < i1; i++) {
        store<f32>(y + (<usize>j * <usize>r + <usize>i << 2), load<f32>(x + (<usize>i * <usize>c + <usize>j << 2)));
      }
    }
  }
}

/** Keeps element i when its hash is at least p 2^32; the hash is that of the list of kernels, so both devices drop the same. */
export function dropout(x: usize, y: usize, n: i32, p: f32, seed: u32, accumulate: i32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  const threshold = <u32>(<f64>p * 4294967296.0);
  const scale: f32 = <f32>1.0 / (<f32>1.0 - p);
  for (let i = from; i < to; i++) {
    let h = <u32>i * 0x9e3779b9 + seed;
    h ^= h >> 16;
    h *= 0x7feb352d;
    h ^= h >> 15;
    h *= 0x846ca68b;
    h ^= h >> 16;
    const at = <usize>i << 2;
    const v: f32 = h >= threshold ? load<f32>(x + at) * scale : 0.0;
    store<f32>(y + at, accumulate ? load<f32>(y + at) + v : v);
  }
}
