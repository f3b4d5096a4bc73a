// dx of layerNorm, with n = (x - mean) rstd and e = dy weight: dx (+)= rstd (e - mean(e) - n mean(e n)).
// A workgroup of 64 computes one row. Barriers: those of the two trees.
struct Args { r: u32, d: u32, accumulate: u32, x_at: u32, weight_at: u32, dy_at: u32, stats_at: u32, dx_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> stats: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  let at = row * args.d;
  let mean = stats[args.stats_at + row * 2u];
  let rstd = stats[args.stats_at + row * 2u + 1u];
  var sum = 0.0;
  var product = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    let e = dy[args.dy_at + at + i] * weight[args.weight_at + i];
    sum += e;
    product += e * (x[args.x_at + at + i] - mean) * rstd;
  }
  let mean_e = tree_sum(sum, lane) / f32(args.d);
  let mean_en = tree_sum(product, lane) / f32(args.d);
  for (var i = lane; i < args.d; i += 64u) {
    let e = dy[args.dy_at + at + i] * weight[args.weight_at + i];
    let n = (x[args.x_at + at + i] - mean) * rstd;
    var value = rstd * (e - mean_e - n * mean_en);
    if (args.accumulate != 0u) {
      value += dx[args.dx_at + at + i];
    }
    dx[args.dx_at + at + i] = value;
  }
}
