// dx (+)= y (dy - sum over the row of y dy). A workgroup of 64 computes one row. Barriers: those of the tree.
struct Args { r: u32, c: u32, accumulate: u32, y_at: u32, dy_at: u32, dx_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  var sum = 0.0;
  for (var i = lane; i < args.c; i += 64u) {
    sum += y[args.y_at + row * args.c + i] * dy[args.dy_at + row * args.c + i];
  }
  sum = tree_sum(sum, lane);
  for (var i = lane; i < args.c; i += 64u) {
    let at = row * args.c + i;
    var value = y[args.y_at + at] * (dy[args.dy_at + at] - sum);
    if (args.accumulate != 0u) {
      value += dx[args.dx_at + at];
    }
    dx[args.dx_at + at] = value;
  }
}
