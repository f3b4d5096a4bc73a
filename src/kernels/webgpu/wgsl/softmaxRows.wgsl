// y = softmax of the rows of x (r, c). A workgroup of 64 computes one row. Barriers: those of the two trees.
struct Args { r: u32, c: u32, x_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  let from_x = args.x_at + row * args.c;
  var highest = -3.4e38;
  for (var i = lane; i < args.c; i += 64u) {
    highest = max(highest, x[from_x + i]);
  }
  highest = tree_max(highest, lane);
  var sum = 0.0;
  for (var i = lane; i < args.c; i += 64u) {
    sum += exp(x[from_x + i] - highest);
  }
  sum = tree_sum(sum, lane);
  for (var i = lane; i < args.c; i += 64u) {
    y[args.y_at + row * args.c + i] = exp(x[from_x + i] - highest) / sum;
  }
}
