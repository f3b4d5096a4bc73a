/**
 * Causal depthwise convolution along tokens, channel-major, with optional SiLU; threads share the channels.
 * A channel's tokens of one bag are first laid out in scan order behind W-1 earlier ones, so that one loop serves
 * both directions, every bag and every tail.
 */
import { madd } from './fma';
import { clear, copy, shareStart, sigmoid, splat, sum4 } from './math';

/** Floats of scratch that one thread needs for the longest bag. */
export function conv1dScratch(longestBag: i32, W: i32): i32 {
  return 3 * (longestBag + 2 * W + 8);
}

/** The tokens of one bag in scan order at `to`; four more after them are readable. */
// @ts-ignore: decorator
@inline
function takeBag(row: usize, start: i32, end: i32, reversed: i32, to: usize): void {
  const count = end - start;
  if (!reversed) {
    copy(to, row + (<usize>start << 2), <usize>count << 2);
    return;
  }
  for (let i = 0; i < count; i++) store<f32>(to + (<usize>i << 2), load<f32>(row + (<usize>(end - 1 - i) << 2)));
}

// @ts-ignore: decorator
@inline
function giveBag(from: usize, row: usize, start: i32, end: i32, reversed: i32, accumulate: i32): void {
  const count = end - start;
  if (!reversed && !accumulate) {
    copy(row + (<usize>start << 2), from, <usize>count << 2);
    return;
  }
  for (let i = 0; i < count; i++) {
    const to = row + (<usize>(reversed ? end - 1 - i : start + i) << 2);
    const v = load<f32>(from + (<usize>i << 2));
    store<f32>(to, accumulate ? load<f32>(to) + v : v);
  }
}

/** out_i = b + sum_k w_k x_{i-(W-1)+k}, where x_{-(W-1)} lies at `x`. Writes up to three more. */
// @ts-ignore: decorator
@inline
function convolve(x: usize, weight: usize, b: f32, W: i32, count: i32, out: usize): void {
  for (let i = 0; i < count; i += 4) {
    let v = splat(b);
    for (let k = 0; k < W; k++) {
      v = madd(v128.load32_splat(weight + (<usize>k << 2)), v128.load(x + (<usize>(i + k) << 2)), v);
    }
    v128.store(out + (<usize>i << 2), v);
  }
}

export function conv1d(
  x: usize, weight: usize, bias: usize, offsets: usize, tail: usize, y: usize,
  D: i32, L: i32, W: i32, bags: i32, silu: i32, reversed: i32,
  scratch: usize, scratchFloats: i32, part: i32, parts: i32,
): void {
  const padded = scratch + (<usize>(part * scratchFloats) << 2);
  const out = padded + (<usize>(scratchFloats / 3) << 2);
  const to = shareStart(D, part + 1, parts);
  for (let c = shareStart(D, part, parts); c < to; c++) {
    const from = x + (<usize>c * <usize>L << 2);
    const into = y + (<usize>c * <usize>L << 2);
    const w = weight + (<usize>(c * W) << 2);
    const b: f32 = bias != 0 ? load<f32>(bias + (<usize>c << 2)) : 0.0;
    for (let bag = 0; bag < bags; bag++) {
      const start = load<i32>(offsets + (<usize>bag << 2));
      const end = load<i32>(offsets + (<usize>bag << 2), 4);
      const count = end - start;
      if (tail != 0) copy(padded, tail + (<usize>(c * (W - 1)) << 2), <usize>(W - 1) << 2);
      else clear(padded, <usize>(W - 1) << 2);
      takeBag(from, start, end, reversed, padded + (<usize>(W - 1) << 2));
      convolve(padded, w, b, W, count, out);
      if (silu) {
        for (let i = 0; i < count; i += 4) {
          const v = v128.load(out + (<usize>i << 2));
          v128.store(out + (<usize>i << 2), f32x4.mul(v, sigmoid(v)));
        }
      }
      giveBag(out, into, start, end, reversed, 0);
    }
  }
}

export function conv1dBackward(
  x: usize, weight: usize, bias: usize, offsets: usize, dy: usize, dx: usize, dweight: usize, dbias: usize,
  D: i32, L: i32, W: i32, bags: i32, silu: i32, reversed: i32, accumulate: i32,
  scratch: usize, scratchFloats: i32, part: i32, parts: i32,
): void {
  const padded = scratch + (<usize>(part * scratchFloats) << 2);
  const g = padded + (<usize>(scratchFloats / 3) << 2);
  const out = g + (<usize>(scratchFloats / 3) << 2);
  const to = shareStart(D, part + 1, parts);
  for (let c = shareStart(D, part, parts); c < to; c++) {
    const row = <usize>c * <usize>L << 2;
    const w = weight + (<usize>(c * W) << 2);
    const b: f32 = bias != 0 ? load<f32>(bias + (<usize>c << 2)) : 0.0;
    let db = splat(0.0);
    for (let bag = 0; bag < bags; bag++) {
      const start = load<i32>(offsets + (<usize>bag << 2));
      const end = load<i32>(offsets + (<usize>bag << 2), 4);
      const count = end - start;
      clear(padded, <usize>(W - 1) << 2);
      takeBag(x + row, start, end, reversed, padded + (<usize>(W - 1) << 2));
      // g: the gradient before SiLU, zeros after the end (they stand in for the tokens that the bag does not have).
      takeBag(dy + row, start, end, reversed, g);
      if (silu) {
        convolve(padded, w, b, W, count, out);
        for (let i = 0; i < count; i += 4) {
          const at = <usize>i << 2;
          const v = v128.load(out + at);
          const s = sigmoid(v);
          const slope = f32x4.mul(s, madd(v, f32x4.sub(splat(1.0), s), splat(1.0)));
          v128.store(g + at, f32x4.mul(v128.load(g + at), slope));
        }
      }
      clear(g + (<usize>count << 2), <usize>(W + 4) << 2);
      for (let i = 0; i < count; i += 4) db = f32x4.add(db, v128.load(g + (<usize>i << 2)));
      clear(padded + (<usize>(W - 1 + count) << 2), 16);
      for (let k = 0; k < W; k++) {
        let s = splat(0.0);
        for (let i = 0; i < count; i += 4) {
          s = madd(v128.load(g + (<usize>i << 2)), v128.load(padded + (<usize>(i + k) << 2)), s);
        }
        const at = dweight + (<usize>(c * W + k) << 2);
        store<f32>(at, load<f32>(at) + sum4(s));
      }
      // dx_i = sum_k w_k g_{i+(W-1)-k}
      for (let i = 0; i < count; i += 4) {
        let v = splat(0.0);
        for (let k = 0; k < W; k++) {
          v = madd(v128.load32_splat(w + (<usize>k << 2)), v128.load(g + (<usize>(i + W - 1 - k) << 2)), v);
        }
        v128.store(out + (<usize>i << 2), v);
      }
      giveBag(out, dx + row, start, end, reversed, accumulate);
    }
    if (dbias != 0) {
      const at = dbias + (<usize>c << 2);
      store<f32>(at, load<f32>(at) + sum4(db));
    }
  }
}

export function convTail(x: usize, tailIn: usize, tailOut: usize, D: i32, L: i32, W: i32, reversed: i32): void {
  for (let c = 0; c < D; c++) {
    for (let j = 0; j < W - 1; j++) {
      const i = L - (W - 1) + j;
      let v: f32 = 0.0;
      if (i >= 0) v = load<f32>(x + (<usize>c * <usize>L + <usize>(reversed ? L - 1 - i : i) << 2));
      else if (tailIn != 0) v = load<f32>(tailIn + (<usize>(c * (W - 1) + W - 1 + i) << 2));
      store<f32>(tailOut + (<usize>(c * (W - 1) + j) << 2), v);
    }
  }
}
