// sum = x + residual (absent: x, not written); y = sum rstd weight; rstd (r) = 1 / sqrt(mean of sum^2 + eps).
// A workgroup of 64 computes one row. Barriers: those of the tree.
struct Args { r: u32, d: u32, eps: f32, x_at: u32, residual_at: u32, weight_at: u32, y_at: u32, sum_at: u32, rstd_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> residual: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>;
const has_residual: bool = true;
const has_sum: bool = true;
const has_rstd: bool = true;
//! import treeSum

fn value(at: u32) -> f32 {
  var v = x[args.x_at + at];
  if (has_residual) {
    v += residual[args.residual_at + at];
  }
  return v;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  var squares = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    let v = value(row * args.d + i);
    squares += v * v;
  }
  let scale = 1.0 / sqrt(tree_sum(squares, lane) / f32(args.d) + args.eps);
  for (var i = lane; i < args.d; i += 64u) {
    let at = row * args.d + i;
    let v = value(at);
    y[args.y_at + at] = v * scale * weight[args.weight_at + i];
    if (has_sum && has_residual) {
      sum[args.sum_at + at] = v;
    }
  }
  if (has_rstd && lane == 0u) {
    rstd[args.rstd_at + row] = scale;
  }
}
