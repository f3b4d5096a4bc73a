// Parts of dweight = sum over rows of dy (x - mean) rstd and dbias = sum over rows of dy: part (2, parts, d).
// Threads as in sumRows.wgsl; sumParts.wgsl adds the parts.
struct Args { r: u32, d: u32, x_at: u32, dy_at: u32, stats_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> stats: array<f32>;
@group(0) @binding(4) var<storage, read_write> part: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= args.d) {
    return;
  }
  let rows = (args.r + groups.y - 1u) / groups.y;
  var dweight = 0.0;
  var dbias = 0.0;
  for (var i = id.y * rows; i < min(args.r, (id.y + 1u) * rows); i++) {
    let e = dy[args.dy_at + i * args.d + id.x];
    let off = x[args.x_at + i * args.d + id.x] - stats[args.stats_at + i * 2u];
    dweight += e * off * stats[args.stats_at + i * 2u + 1u];
    dbias += e;
  }
  part[args.part_at + id.y * args.d + id.x] = dweight;
  part[args.part_at + (groups.y + id.y) * args.d + id.x] = dbias;
}
