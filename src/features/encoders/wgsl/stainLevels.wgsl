// How many pixels of a plane have each of 64 levels. A workgroup for each stain of each patch. Barriers: counts are zero before, and
// all there after counting.
struct Args { items: u32, side: u32, tables_at: u32, planes_at: u32, facts_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> planes: array<f32>;
@group(0) @binding(3) var<storage, read_write> facts: array<f32>;
const LANES: u32 = 64;
var<workgroup> counts: array<atomic<u32>, 64>;
//! import stainTables

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let plane = group.x + group.y * groups.x;
  if (plane >= args.items) {
    return;
  }
  let n = args.side * args.side;
  let stain = plane % 3u;
  workgroupBarrier();
  for (var i = lane; i < n; i += LANES) {
    atomicAdd(&counts[level_of(planes[args.planes_at + plane * n + i], stain)], 1u);
  }
  workgroupBarrier();
  facts[args.facts_at + (plane / 3u) * FACTS + LEVELS_AT + 64u * stain + lane] = f32(atomicLoad(&counts[lane]));
}
