// dsum (+)= rstd (e - n mean(e n)) + dres (absent: 0), with n = sum rstd and e = dy weight.
// A workgroup of 64 computes one row. Barriers: those of the tree.
struct Args { r: u32, d: u32, accumulate: u32, sum_at: u32, weight_at: u32, dy_at: u32, dres_at: u32, rstd_at: u32, dsum_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> sum: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> dres: array<f32>;
@group(0) @binding(5) var<storage, read> rstd: array<f32>;
@group(0) @binding(6) var<storage, read_write> dsum: array<f32>;
const has_dres: bool = true;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  let scale = rstd[args.rstd_at + row];
  var product = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    let at = row * args.d + i;
    product += dy[args.dy_at + at] * weight[args.weight_at + i] * sum[args.sum_at + at] * scale;
  }
  let mean_en = tree_sum(product, lane) / f32(args.d);
  for (var i = lane; i < args.d; i += 64u) {
    let at = row * args.d + i;
    var value = scale * (dy[args.dy_at + at] * weight[args.weight_at + i] - sum[args.sum_at + at] * scale * mean_en);
    if (has_dres) {
      value += dres[args.dres_at + at];
    }
    if (args.accumulate != 0u) {
      value += dsum[args.dsum_at + at];
    }
    dsum[args.dsum_at + at] = value;
  }
}
