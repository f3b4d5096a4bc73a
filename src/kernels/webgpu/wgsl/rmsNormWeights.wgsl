// Parts of dweight = sum over rows of dy sum rstd: part (parts, d). Threads as in sumRows.wgsl.
struct Args { r: u32, d: u32, sum_at: u32, dy_at: u32, rstd_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> sum: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read_write> part: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= args.d) {
    return;
  }
  let rows = (args.r + groups.y - 1u) / groups.y;
  var dweight = 0.0;
  for (var i = id.y * rows; i < min(args.r, (id.y + 1u) * rows); i++) {
    let at = i * args.d + id.x;
    dweight += dy[args.dy_at + at] * sum[args.sum_at + at] * rstd[args.rstd_at + i];
  }
  part[args.part_at + id.y * args.d + id.x] = dweight;
}
