// Causal depthwise convolution along tokens, optional SiLU: y_dt = silu(bias_d + sum_k weight_dk x_d,t-(W-1)+k).
// x, y (D, L), weight (D, W). Before a bag's first token: zeros, or `tail` (D, W-1). Reversed: t-j becomes t+j.
// A thread computes one element, neighbours along t; a row of workgroups computes one channel. No barriers.
//! import numbers
struct Args { L: u32, bags: u32, channel0: u32, x_at: u32, weight_at: u32, bias_at: u32, offsets_at: u32, tail_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> offsets: array<i32>;
@group(0) @binding(5) var<storage, read> tail: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
const has_bias: bool = true;
const has_tail: bool = true;
const W: u32 = 4;
const SILU: bool = true;
const REVERSED: bool = false;
//! import bags

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  if (t >= args.L) {
    return;
  }
  let row = id.y * args.L;
  let channel = args.channel0 + id.y;
  let bag = bag_range(bag_number(t));
  let seen = select(t - bag.x, bag.y - 1u - t, REVERSED);
  var sum = 0.0;
  if (has_bias) {
    sum = bias[args.bias_at + channel];
  }
  for (var k = 0u; k < W; k++) {
    let back = W - 1u - k;
    var value = 0.0;
    if (back <= seen) {
      value = x[args.x_at + row + select(t - back, t + back, REVERSED)];
    } else if (has_tail) {
      value = tail[args.tail_at + channel * (W - 1u) + k + seen];
    }
    sum += weight[args.weight_at + channel * W + k] * value;
  }
  if (SILU) {
    sum = silu(sum);
  }
  y[args.y_at + row + t] = sum;
}
