// index (r) of the first maximum of each row of x (r, c). A workgroup of 64 computes one row. Barriers: those of the tree.
struct Args { r: u32, c: u32, x_at: u32, index_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> index: array<i32>;
//! import best

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.r) {
    return;
  }
  var key = 0.0;
  var position = -1;
  for (var i = lane; i < args.c; i += LANES) {
    let v = x[args.x_at + row * args.c + i];
    if (better(v, i32(i), key, position)) {
      key = v;
      position = i32(i);
    }
  }
  let found = best_of(key, position, lane);
  if (lane == 0u) {
    index[args.index_at + row] = found;
  }
}
