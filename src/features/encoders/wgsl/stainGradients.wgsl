// The structure tensor of a plane: sums of xx, yy, xy, and of what runs one way in each block of 8 x 8. A workgroup for each of
// haematoxylin and eosin of each patch, a thread for a block. Barriers: the tree's.
struct Args { items: u32, side: u32, planes_at: u32, facts_at: u32, tables_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> planes: array<f32>;
@group(0) @binding(3) var<storage, read_write> facts: array<f32>;
//! import treeSum
//! import stainTables

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = group.x + group.y * groups.x;
  if (index >= args.items) {
    return;
  }
  let item = index / 2u;
  let stain = index % 2u;
  let side = args.side;
  let first = args.planes_at + (3u * item + stain) * side * side;
  let blocks = (side - 2u) / 8u;
  var all = vec4f();
  for (var block = lane; block < blocks * blocks; block += LANES) {
    let corner = first + (1u + 8u * (block / blocks)) * side + 1u + 8u * (block % blocks);
    var sums = vec3f();
    for (var i = 0u; i < 64u; i++) {
      let at = corner + (i / 8u) * side + i % 8u;
      let dx = planes[at + 1u] - planes[at - 1u];
      let dy = planes[at + side] - planes[at - side];
      sums += vec3f(dx * dx, dy * dy, dx * dy);
    }
    let along = sums.x - sums.y;
    all += vec4f(sums, sqrt(along * along + 4.0 * sums.z * sums.z));
  }
  for (var k = 0u; k < 4u; k++) {
    let sum = tree_sum(all[k], lane);
    if (lane == 0u) {
      facts[args.facts_at + item * FACTS + GRADIENTS_AT + 4u * stain + k] = sum;
    }
  }
}
