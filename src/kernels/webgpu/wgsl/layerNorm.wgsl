// Rows of x (r, d): y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps), biased variance; stats (r, 2).
// A workgroup of 64 computes one row: a sum for the mean, one for the variance (around the mean, so that a large mean
// does not spoil it), then the row. Barriers: those of the two trees.
struct Args { r: u32, d: u32, eps: f32, x_at: u32, weight_at: u32, bias_at: u32, y_at: u32, stats_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> stats: array<f32>;
const has_stats: bool = true;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  let from_x = args.x_at + row * args.d;
  let count = f32(args.d);
  var sum = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    sum += x[from_x + i];
  }
  let mean = tree_sum(sum, lane) / count;
  var squares = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    let off = x[from_x + i] - mean;
    squares += off * off;
  }
  let rstd = 1.0 / sqrt(tree_sum(squares, lane) / count + args.eps);
  for (var i = lane; i < args.d; i += 64u) {
    y[args.y_at + row * args.d + i] =
      (x[from_x + i] - mean) * rstd * weight[args.weight_at + i] + bias[args.bias_at + i];
  }
  if (has_stats && lane == 0u) {
    stats[args.stats_at + row * 2u] = mean;
    stats[args.stats_at + row * 2u + 1u] = rstd;
  }
}
