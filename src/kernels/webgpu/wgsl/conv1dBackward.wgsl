// Gradients of conv1d, with p = the sum before SiLU and e_t = dy_t silu'(p_t):
//   dx_t (+)= sum_j weight_{W-1-j} e_{t+j} inside the bag;  dweight_k += sum_t e_t x_{t-(W-1)+k};  dbias += sum_t e_t
// A workgroup of LANES threads walks the tokens of one channel; a thread recomputes the e it needs (W of them, W taps
// each) and keeps W + 1 sums, which trees in workgroup memory add up at the end (treeSum.wgsl tells of the barriers).
//! import numbers
struct Args { L: u32, bags: u32, channel0: u32, accumulate: u32, x_at: u32, weight_at: u32, bias_at: u32, offsets_at: u32, dy_at: u32, dx_at: u32, dweight_at: u32, dbias_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> offsets: array<i32>;
@group(0) @binding(5) var<storage, read> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;
@group(0) @binding(7) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(8) var<storage, read_write> dbias: array<f32>;
const has_bias: bool = true;
const has_dbias: bool = true;
const W: u32 = 4;
const SILU: bool = true;
const REVERSED: bool = false;
//! import bags
//! import treeSum

// Token `back` steps before t in scan order, 0 before the bag's first.
fn input(row: u32, t: u32, back: u32, bag: vec2u) -> f32 {
  let seen = select(t - bag.x, bag.y - 1u - t, REVERSED);
  if (back > seen) {
    return 0.0;
  }
  return x[args.x_at + row + select(t - back, t + back, REVERSED)];
}

// e_t
fn upstream(row: u32, channel: u32, t: u32, bag: vec2u) -> f32 {
  let d = dy[args.dy_at + row + t];
  if (!SILU) {
    return d;
  }
  var sum = 0.0;
  if (has_bias) {
    sum = bias[args.bias_at + channel];
  }
  for (var k = 0u; k < W; k++) {
    sum += weight[args.weight_at + channel * W + k] * input(row, t, W - 1u - k, bag);
  }
  return d * silu_slope(sum);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * args.L;
  let channel = args.channel0 + group.x;
  var sums: array<f32, W + 1>;
  for (var t = lane; t < args.L; t += LANES) {
    let bag = bag_range(bag_number(t));
    let left = select(bag.y - 1u - t, t - bag.x, REVERSED);
    let e = upstream(row, channel, t, bag);
    var d = 0.0;
    for (var j = 0u; j < W; j++) {
      sums[W - 1u - j] += e * input(row, t, j, bag);
      if (j <= left) {
        d += weight[args.weight_at + channel * W + W - 1u - j] * upstream(row, channel, select(t + j, t - j, REVERSED), bag);
      }
    }
    sums[W] += e;
    if (args.accumulate != 0u) {
      d += dx[args.dx_at + row + t];
    }
    dx[args.dx_at + row + t] = d;
  }
  for (var k = 0u; k <= W; k++) {
    let total = tree_sum(sums[k], lane);
    if (lane == 0u) {
      if (k < W) {
        dweight[args.dweight_at + channel * W + k] += total;
      } else if (has_dbias) {
        dbias[args.dbias_at + channel] += total;
      }
    }
  }
}
