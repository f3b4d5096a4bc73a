/** Picking and reordering rows and columns; finding maxima. */
import { clear, copy, shareStart } from './math';

export function gatherRows(x: usize, index: usize, y: usize, n: i32, c: i32, accumulate: i32, part: i32, parts: i32): void {
  const to = shareStart(n, part + 1, parts);
  for (let i = shareStart(n, part, parts); i < to; i++) {
    const row = load<i32>(index + (<usize>i << 2));
    const out = y + (<usize>i * <usize>c << 2);
    if (row < 0) {
      if (!accumulate) clear(out, <usize>c << 2);
      continue;
    }
    const from = x + (<usize>row * <usize>c << 2);
    if (!accumulate) {
      copy(out, from, <usize>c << 2);
      continue;
    }
    for (let j = 0; j < c; j++) {
      const at = <usize>j << 2;
      store<f32>(out + at, load<f32>(out + at) + load<f32>(from + at));
    }
  }
}

export function scatterRows(dy: usize, index: usize, dx: usize, n: i32, c: i32): void {
  for (let i = 0; i < n; i++) {
    const row = load<i32>(index + (<usize>i << 2));
    if (row < 0) continue;
    const from = dy + (<usize>i * <usize>c << 2);
    const out = dx + (<usize>row * <usize>c << 2);
    for (let j = 0; j < c; j++) {
      const at = <usize>j << 2;
      store<f32>(out + at, load<f32>(out + at) + load<f32>(from + at));
    }
  }
}

export function gatherColumns(x: usize, index: usize, y: usize, r: i32, L: i32, n: i32, accumulate: i32, part: i32, parts: i32): void {
  const to = shareStart(r, part + 1, parts);
  for (let i = shareStart(r, part, parts); i < to; i++) {
    const from = x + (<usize>i * <usize>L << 2);
    const out = y + (<usize>i * <usize>n << 2);
    for (let j = 0; j < n; j++) {
      const column = load<i32>(index + (<usize>j << 2));
      const v: f32 = column < 0 ? 0.0 : load<f32>(from + (<usize>column << 2));
      const at = out + (<usize>j << 2);
      store<f32>(at, accumulate ? load<f32>(at) + v : v);
    }
  }
}

export function argmaxRows(x: usize, index: usize, r: i32, c: i32): void {
  for (let i = 0; i < r; i++) {
    const row = x + (<usize>i * <usize>c << 2);
    let best = 0;
    for (let j = 1; j < c; j++) {
      if (load<f32>(row + (<usize>j << 2)) > load<f32>(row + (<usize>best << 2))) best = j;
    }
    store<i32>(index + (<usize>i << 2), best);
  }
}

/** k passes, each finding the best that comes after the last one found: value, then position. */
export function topK(x: usize, index: usize, n: i32, k: i32, largest: i32): void {
  const sign: f32 = largest ? 1.0 : -1.0;
  let last = -1;
  for (let rank = 0; rank < k; rank++) {
    let best = -1;
    for (let i = 0; i < n; i++) {
      const v = sign * load<f32>(x + (<usize>i << 2));
      if (last >= 0) {
        const w = sign * load<f32>(x + (<usize>last << 2));
        if (v > w || (v == w && i <= last)) continue;
      }
      if (best < 0 || v > sign * load<f32>(x + (<usize>best << 2))) best = i;
    }
    store<i32>(index + (<usize>rank << 2), best);
    last = best;
  }
}
