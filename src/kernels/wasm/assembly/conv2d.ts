/** Depthwise 2-D convolution with zero padding of half the kernel; threads share the channels. */
import { shareStart } from './math';

export function conv2d(
  x: usize, weight: usize, bias: usize, y: usize, C: i32, H: i32, W: i32, kh: i32, kw: i32, part: i32, parts: i32,
): void {
  const to = shareStart(C, part + 1, parts);
  for (let c = shareStart(C, part, parts); c < to; c++) {
    const from = x + (<usize>c * <usize>(H * W) << 2);
    const out = y + (<usize>c * <usize>(H * W) << 2);
    const w = weight + (<usize>(c * kh * kw) << 2);
    const b: f32 = bias != 0 ? load<f32>(bias + (<usize>c << 2)) : 0.0;
    for (let i = 0; i < H; i++) {
      for (let j = 0; j < W; j++) {
        let s = b;
        for (let p = max(0, kh / 2 - i); p < min(kh, H + kh / 2 - i); p++) {
          for (let q = max(0, kw / 2 - j); q < min(kw, W + kw / 2 - j); q++) {
            s += load<f32>(w + (<usize>(p * kw + q) << 2)) * load<f32>(from + (<usize>((i + p - kh / 2) * W + j + q - kw / 2) << 2));
          }
        }
        store<f32>(out + (<usize>(i * W + j) << 2), s);
      }
    }
  }
}

export function conv2dBackward(
  x: usize, weight: usize, dy: usize, dx: usize, dweight: usize, dbias: usize, C: i32, H: i32, W: i32, kh: i32, kw: i32, accumulate: i32,
  part: i32, parts: i32,
): void {
  const to = shareStart(C, part + 1, parts);
  for (let c = shareStart(C, part, parts); c < to; c++) {
    const o = <usize>c * <usize>(H * W) << 2;
    const w = weight + (<usize>(c * kh * kw) << 2);
    const dw = dweight + (<usize>(c * kh * kw) << 2);
    if (!accumulate) memory.fill(dx + o, 0, <usize>(H * W) << 2);
    let db: f32 = 0.0;
    for (let i = 0; i < H; i++) {
      for (let j = 0; j < W; j++) {
        const g = load<f32>(dy + o + (<usize>(i * W + j) << 2));
        db += g;
        for (let p = max(0, kh / 2 - i); p < min(kh, H + kh / 2 - i); p++) {
          for (let q = max(0, kw / 2 - j); q < min(kw, W + kw / 2 - j); q++) {
            const at = o + (<usize>((i + p - kh / 2) * W + j + q - kw / 2) << 2);
            const k = <usize>(p * kw + q) << 2;
            store<f32>(dw + k, load<f32>(dw + k) + g * load<f32>(x + at));
            store<f32>(dx + at, load<f32>(dx + at) + g * load<f32>(w + k));
          }
        }
      }
    }
    if (dbias != 0) store<f32>(dbias + (<usize>c << 2), load<f32>(dbias + (<usize>c << 2)) + db);
  }
}
