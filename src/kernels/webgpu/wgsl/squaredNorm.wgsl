// Parts of the sum of g^2: part (workgroups). A workgroup of 64 sums its share, then a tree (barriers: the tree's).
// WGSL may take it for granted that no f32 is infinite or NaN, so their exponent is looked at in bits, which come back as
// an infinity's: squaredNormEnd.wgsl goes on with them.
struct Args { n: u32, g_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> g: array<u32>;
@group(0) @binding(2) var<storage, read_write> part: array<u32>;
const INFINITE: u32 = 0x7f800000;
//! import treeSum

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  var sum = 0.0;
  var wrong = 0.0;
  for (var i = group.x * 64u + lane; i < args.n; i += groups.x * 64u) {
    let bits = g[args.g_at + i];
    if ((bits & INFINITE) == INFINITE) {
      wrong = 1.0;
    } else {
      let v = bitcast<f32>(bits);
      sum += v * v;
    }
  }
  sum = tree_sum(sum, lane);
  wrong = tree_max(wrong, lane);
  if (lane == 0u) {
    part[args.part_at + group.x] = select(bitcast<u32>(sum), INFINITE, wrong > 0.0);
  }
}
