// Classes of local binary patterns: how many of the eight neighbours, in one run, are at least a level higher; 9 for more runs. A
// workgroup for each of haematoxylin and eosin of each patch. Barriers: counts are zero before, and all there after counting.
struct Args { items: u32, side: u32, tables_at: u32, planes_at: u32, facts_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> planes: array<f32>;
@group(0) @binding(3) var<storage, read_write> facts: array<f32>;
const LANES: u32 = 64;
var<workgroup> counts: array<atomic<u32>, 10>;
//! import stainTables

fn level(plane: u32, stain: u32, at: u32) -> u32 {
  return level_of(planes[args.planes_at + plane * args.side * args.side + at], stain);
}

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
  let plane = 3u * item + stain;
  let side = args.side;
  let inner = side - 2u;
  // Clockwise from the top left.
  var around = array<u32, 8>(0u, 1u, 2u, side + 2u, 2u * side + 2u, 2u * side + 1u, 2u * side, side);
  workgroupBarrier();
  for (var i = lane; i < inner * inner; i += LANES) {
    let corner = (i / inner) * side + i % inner;
    let centre = level(plane, stain, corner + side + 1u);
    var bits = 0u;
    for (var k = 0u; k < 8u; k++) {
      bits |= select(0u, 1u << k, level(plane, stain, corner + around[k]) > centre);
    }
    let turned = ((bits >> 1u) | (bits << 7u)) & 255u;
    atomicAdd(&counts[select(9u, countOneBits(bits), countOneBits(bits ^ turned) <= 2u)], 1u);
  }
  workgroupBarrier();
  if (lane < 10u) {
    facts[args.facts_at + item * FACTS + PATTERNS_AT + 10u * stain + lane] = f32(atomicLoad(&counts[lane]));
  }
}
