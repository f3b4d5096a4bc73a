/** From instances to one vector a bag; softmax of rows. Bags and rows are shared by the threads where there are several. */
import { madd } from './fma';
import { clear, exp, shareStart, splat, sum4 } from './math';

// @ts-ignore: decorator
@inline
function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp(splat(x)), 0);
}

/** y = exp(x - max) / sum over n numbers. */
function softmaxOf(x: usize, y: usize, n: i32): void {
  let most: f32 = -f32.MAX_VALUE;
  for (let i = 0; i < n; i++) most = max<f32>(most, load<f32>(x + (<usize>i << 2)));
  const m4 = splat(most);
  let s = splat(0.0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    const e = exp(f32x4.sub(v128.load(x + at), m4));
    v128.store(y + at, e);
    s = f32x4.add(s, e);
  }
  let total = sum4(s);
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const e = exp1(load<f32>(x + at) - most);
    store<f32>(y + at, e);
    total += e;
  }
  const scale: f32 = <f32>1.0 / total;
  for (i = 0; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(y + at) * scale);
  }
}

/** y (d) += w x (d) */
// @ts-ignore: decorator
@inline
function addRow(y: usize, x: usize, w: f32, from: i32, to: i32): void {
  const w4 = splat(w);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, madd(w4, v128.load(x + at), v128.load(y + at)));
  }
  for (; i < to; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(y + at) + w * load<f32>(x + at));
  }
}

// @ts-ignore: decorator
@inline
function dot(a: usize, b: usize, n: i32): f32 {
  let s = splat(0.0);
  let i = 0;
  for (; i + 4 <= n; i += 4) s = madd(v128.load(a + (<usize>i << 2)), v128.load(b + (<usize>i << 2)), s);
  let total = sum4(s);
  for (; i < n; i++) total += load<f32>(a + (<usize>i << 2)) * load<f32>(b + (<usize>i << 2));
  return total;
}

/** Thread 0 makes the weights; then all threads share the columns of the sum (`phase` 0, then 1). */
export function attentionPool(
  h: usize, scores: usize, offsets: usize, attention: usize, pooled: usize, L: i32, d: i32, bags: i32, phase: i32, part: i32, parts: i32,
): void {
  for (let bag = 0; bag < bags; bag++) {
    const start = load<i32>(offsets + (<usize>bag << 2));
    const end = load<i32>(offsets + (<usize>bag << 2), 4);
    if (phase == 0) {
      softmaxOf(scores + (<usize>start << 2), attention + (<usize>start << 2), end - start);
      continue;
    }
    const out = pooled + (<usize>(bag * d) << 2);
    const from = shareStart(d, part, parts);
    const to = shareStart(d, part + 1, parts);
    clear(out + (<usize>from << 2), <usize>(to - from) << 2);
    for (let t = start; t < end; t++) {
      addRow(out, h + (<usize>t * <usize>d << 2), load<f32>(attention + (<usize>t << 2)), from, to);
    }
  }
}

/**
 * Phase 0: `centred` (L) = (h_t - pooled) . dpooled, and dh. Phase 1: dscores = attention (centred - its weighted mean over the
 * bag). The mean is zero but for the rounding of `pooled`; taking it off makes the scores' gradients add up to zero.
 */
export function attentionPoolBackward(
  h: usize, attention: usize, offsets: usize, pooled: usize, dpooled: usize, dh: usize, dscores: usize,
  L: i32, d: i32, bags: i32, accumulateH: i32, accumulateScores: i32, centred: usize, phase: i32, part: i32, parts: i32,
): void {
  for (let bag = 0; bag < bags; bag++) {
    const start = load<i32>(offsets + (<usize>bag << 2));
    const end = load<i32>(offsets + (<usize>bag << 2), 4);
    const g = dpooled + (<usize>(bag * d) << 2);
    const from = start + shareStart(end - start, part, parts);
    const to = start + shareStart(end - start, part + 1, parts);
    let mean: f32 = 0.0;
    if (phase == 0) mean = dot(g, pooled + (<usize>(bag * d) << 2), d);
    else {
      let total: f32 = 0.0;
      for (let t = start; t < end; t++) {
        const q = load<f32>(attention + (<usize>t << 2));
        mean += q * load<f32>(centred + (<usize>t << 2));
        total += q;
      }
      mean /= total;
    }
    for (let t = from; t < to; t++) {
      const at = <usize>t << 2;
      const q = load<f32>(attention + at);
      if (phase == 0) {
        const row = <usize>t * <usize>d << 2;
        store<f32>(centred + at, dot(g, h + row, d) - mean);
        if (!accumulateH) clear(dh + row, <usize>d << 2);
        addRow(dh + row, g, q, 0, d);
      } else {
        const ds = q * (load<f32>(centred + at) - mean);
        store<f32>(dscores + at, accumulateScores ? load<f32>(dscores + at) + ds : ds);
      }
    }
  }
}

/** state: running maximum, sum of weights, weighted sum of h (d). */
export function attentionPoolChunk(h: usize, scores: usize, state: usize, L: i32, d: i32): void {
  let most = load<f32>(state);
  let next = most;
  for (let t = 0; t < L; t++) next = max<f32>(next, load<f32>(scores + (<usize>t << 2)));
  const sums = state + 8;
  if (next > most) {
    const shrink = exp1(most - next);
    store<f32>(state, load<f32>(state, 4) * shrink, 4);
    for (let i = 0; i < d; i++) store<f32>(sums + (<usize>i << 2), load<f32>(sums + (<usize>i << 2)) * shrink);
    store<f32>(state, next);
    most = next;
  }
  let total: f32 = 0.0;
  for (let t = 0; t < L; t++) {
    const w = exp1(load<f32>(scores + (<usize>t << 2)) - most);
    total += w;
    addRow(sums, h + (<usize>t * <usize>d << 2), w, 0, d);
  }
  store<f32>(state, load<f32>(state, 4) + total, 4);
}

/** kind 0: mean, 1: maximum. Threads share the columns. */
export function poolRows(x: usize, offsets: usize, y: usize, rows: usize, L: i32, c: i32, bags: i32, kind: i32, part: i32, parts: i32): void {
  const from = shareStart(c, part, parts);
  const to = shareStart(c, part + 1, parts);
  for (let bag = 0; bag < bags; bag++) {
    const start = load<i32>(offsets + (<usize>bag << 2));
    const end = load<i32>(offsets + (<usize>bag << 2), 4);
    const out = y + (<usize>(bag * c) << 2);
    for (let j = from; j < to; j++) {
      store<f32>(out + (<usize>j << 2), kind == 0 ? <f32>0.0 : -f32.MAX_VALUE);
      if (rows != 0) store<i32>(rows + (<usize>(bag * c + j) << 2), start);
    }
    for (let t = start; t < end; t++) {
      const row = x + (<usize>t * <usize>c << 2);
      if (kind == 0) {
        addRow(out, row, <f32>1.0 / <f32>(end - start), from, to);
        continue;
      }
      for (let j = from; j < to; j++) {
        const v = load<f32>(row + (<usize>j << 2));
        if (v > load<f32>(out + (<usize>j << 2))) {
          store<f32>(out + (<usize>j << 2), v);
          if (rows != 0) store<i32>(rows + (<usize>(bag * c + j) << 2), t);
        }
      }
    }
  }
}

export function poolRowsBackward(
  dy: usize, offsets: usize, rows: usize, dx: usize, L: i32, c: i32, bags: i32, kind: i32, accumulate: i32,
): void {
  if (!accumulate) clear(dx, <usize>L * <usize>c << 2);
  for (let bag = 0; bag < bags; bag++) {
    const start = load<i32>(offsets + (<usize>bag << 2));
    const end = load<i32>(offsets + (<usize>bag << 2), 4);
    const g = dy + (<usize>(bag * c) << 2);
    if (kind == 0) {
      for (let t = start; t < end; t++) addRow(dx + (<usize>t * <usize>c << 2), g, <f32>1.0 / <f32>(end - start), 0, c);
      continue;
    }
    if (start == end) continue;
    for (let j = 0; j < c; j++) {
      const t = load<i32>(rows + (<usize>(bag * c + j) << 2));
      const at = dx + (<usize>t * <usize>c + <usize>j << 2);
      store<f32>(at, load<f32>(at) + load<f32>(g + (<usize>j << 2)));
    }
  }
}

export function softmaxRows(x: usize, y: usize, r: i32, c: i32, part: i32, parts: i32): void {
  const to = shareStart(r, part + 1, parts);
  for (let i = shareStart(r, part, parts); i < to; i++) {
    const o = <usize>i * <usize>c << 2;
    softmaxOf(x + o, y + o, c);
  }
}

export function softmaxRowsBackward(y: usize, dy: usize, dx: usize, r: i32, c: i32, accumulate: i32, part: i32, parts: i32): void {
  const to = shareStart(r, part + 1, parts);
  for (let i = shareStart(r, part, parts); i < to; i++) {
    const o = <usize>i * <usize>c << 2;
    const mean = dot(y + o, dy + o, c);
    for (let j = 0; j < c; j++) {
      const at = o + (<usize>j << 2);
      const v = load<f32>(y + at) * (load<f32>(dy + at) - mean);
      store<f32>(dx + at, accumulate ? load<f32>(dx + at) + v : v);
    }
  }
}
