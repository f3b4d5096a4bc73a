/** Element-wise functions; kinds as `activations` in kernels.ts: gelu, relu, tanh, sigmoid, silu, softplus, negExp. */
import { madd, nmadd } from './fma';
import { erf, exp, shareStart, sigmoid, softplus, splat, tanh } from './math';

// @ts-ignore: decorator
@inline
export function activate(kind: i32, x: v128): v128 {
  switch (kind) {
    case 0:
      return f32x4.mul(f32x4.mul(x, splat(0.5)), f32x4.add(splat(1.0), erf(f32x4.mul(x, splat(0.7071067811865476)))));
    case 1:
      return f32x4.pmax(x, splat(0.0));
    case 2:
      return tanh(x);
    case 3:
      return sigmoid(x);
    case 4:
      return f32x4.mul(x, sigmoid(x));
    case 5:
      return v128.bitselect(x, softplus(x), f32x4.gt(x, splat(20.0)));
    default:
      return f32x4.neg(exp(x));
  }
}

/** f'(x), given x and y = f(x). */
// @ts-ignore: decorator
@inline
function slope(kind: i32, x: v128, y: v128): v128 {
  const one = splat(1.0);
  switch (kind) {
    case 0: {
      const normal = f32x4.mul(splat(0.3989422804014327), exp(f32x4.mul(f32x4.mul(x, x), splat(-0.5))));
      const cumulative = f32x4.mul(splat(0.5), f32x4.add(one, erf(f32x4.mul(x, splat(0.7071067811865476)))));
      return madd(x, normal, cumulative);
    }
    case 1:
      return v128.and(one, f32x4.gt(x, splat(0.0)));
    case 2:
      return nmadd(y, y, one);
    case 3:
      return f32x4.mul(y, f32x4.sub(one, y));
    case 4: {
      const s = sigmoid(x);
      return f32x4.mul(s, madd(x, f32x4.sub(one, s), one));
    }
    case 5:
      return v128.bitselect(one, sigmoid(x), f32x4.gt(x, splat(20.0)));
    default:
      return y;
  }
}

export function activation(x: usize, y: usize, n: i32, kind: i32, part: i32, parts: i32): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, activate(kind, v128.load(x + at)));
  }
  for (; i < to; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, f32x4.extract_lane(activate(kind, v128.load32_splat(x + at)), 0));
  }
}

export function activationBackward(
  x: usize, y: usize, dy: usize, dx: usize, n: i32, kind: i32, accumulate: i32, part: i32, parts: i32,
): void {
  const from = shareStart(n, part, parts);
  const to = shareStart(n, part + 1, parts);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    let v = f32x4.mul(v128.load(dy + at), slope(kind, v128.load(x + at), v128.load(y + at)));
    if (accumulate) v = f32x4.add(v, v128.load(dx + at));
    v128.store(dx + at, v);
  }
  for (; i < to; i++) {
    const at = <usize>i << 2;
    const v = load<f32>(dy + at) * f32x4.extract_lane(slope(kind, v128.load32_splat(x + at), v128.load32_splat(y + at)), 0);
    store<f32>(dx + at, accumulate ? load<f32>(dx + at) + v : v);
  }
}
