// Parts of the sum of g^2: part (workgroups). A workgroup of 64 sums its share, then a tree (barriers: the tree's).
struct Args { n: u32, g_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> part: array<f32>;
//! import treeSum

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  var sum = 0.0;
  for (var i = group.x * 64u + lane; i < args.n; i += groups.x * 64u) {
    let v = g[args.g_at + i];
    sum += v * v;
  }
  sum = tree_sum(sum, lane);
  if (lane == 0u) {
    part[args.part_at + group.x] = sum;
  }
}
