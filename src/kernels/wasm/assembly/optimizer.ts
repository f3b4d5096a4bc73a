/** Optimizer steps over flat parameters. */
import { shareStart, splat } from './math';

/** out (1) += sum of squares, in f64, by one thread. */
export function squaredNorm(g: usize, out: usize, n: i32): void {
  let total: f64 = 0.0;
  for (let i = 0; i < n; i++) {
    const v = <f64>load<f32>(g + (<usize>i << 2));
    total += v * v;
  }
  store<f32>(out, load<f32>(out) + <f32>total);
}

export function adam(
  w: usize, g: usize, m: usize, v: usize, norm: usize, n: i32, lr: f32, beta1: f32, beta2: f32, eps: f32, decay: f32,
  correction1: f32, correction2: f32, decoupled: i32, maxNorm: f32, part: i32, parts: i32,
): void {
  let clip: f32 = 1.0;
  if (norm != 0) clip = min<f32>(1.0, maxNorm / (sqrt<f32>(load<f32>(norm)) + <f32>1e-6));
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  const clip4 = splat(clip);
  const b1 = splat(beta1);
  const b2 = splat(beta2);
  const n1 = splat(<f32>(1.0 - <f64>beta1));
  const n2 = splat(<f32>(1.0 - <f64>beta2));
  const root = splat(<f32>1.0 / sqrt<f32>(correction2));
  const eps4 = splat(eps);
  const step = splat(lr / correction1);
  const shrink = splat(decoupled ? <f32>1.0 - lr * decay : 1.0);
  const l2 = splat(decoupled ? 0.0 : decay);
  for (let i = from; i < to; i += 4) {
    const at = <usize>i << 2;
    const left = to - i;
    const w4 = load4(w + at, left);
    const g4 = f32x4.add(f32x4.mul(load4(g + at, left), clip4), f32x4.mul(l2, w4));
    const m4 = f32x4.add(f32x4.mul(b1, load4(m + at, left)), f32x4.mul(n1, g4));
    const v4 = f32x4.add(f32x4.mul(b2, load4(v + at, left)), f32x4.mul(n2, f32x4.mul(g4, g4)));
    const denominator = f32x4.add(f32x4.mul(f32x4.sqrt(v4), root), eps4);
    store4(m + at, m4, left);
    store4(v + at, v4, left);
    store4(w + at, f32x4.sub(f32x4.mul(w4, shrink), f32x4.div(f32x4.mul(step, m4), denominator)), left);
  }
}

export function sgd(w: usize, g: usize, n: i32, lr: f32, decay: f32, part: i32, parts: i32): void {
  const to = shareStart(n, part + 1, parts);
  for (let i = shareStart(n, part, parts); i < to; i++) {
    const at = <usize>i << 2;
    const v = load<f32>(w + at);
    store<f32>(w + at, v - lr * (load<f32>(g + at) + decay * v));
  }
}

// @ts-ignore: decorator
@inline
function load4(at: usize, left: i32): v128 {
  if (left >= 4) return v128.load(at);
  let x = v128.load32_zero(at);
  if (left > 1) x = v128.load_lane<f32>(at + 4, x, 1);
  if (left > 2) x = v128.load_lane<f32>(at + 8, x, 2);
  return x;
}

// @ts-ignore: decorator
@inline
function store4(at: usize, x: v128, left: i32): void {
  if (left >= 4) {
    v128.store(at, x);
    return;
  }
  v128.store_lane<f32>(at, x, 0);
  if (left > 1) v128.store_lane<f32>(at + 4, x, 1);
  if (left > 2) v128.store_lane<f32>(at + 8, x, 2);
}
