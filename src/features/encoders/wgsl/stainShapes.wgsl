// Pixels, pairs of neighbours, squares of four (by their lowest level) and sides (by the higher of the two) at each of 64 levels; the
// last row and column only as neighbours. A workgroup for each patch and kind: 0 haematoxylin of plane 1, 1 that of plane 3, 2 total
// density of plane 1. Barriers: counts are zero before, and all there after counting.
struct Args { items: u32, fine: u32, coarse: u32, tables_at: u32, planes_at: u32, small_at: u32, facts_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> planes: array<f32>;
@group(0) @binding(3) var<storage, read> small: array<f32>;
@group(0) @binding(4) var<storage, read_write> facts: array<f32>;
const LANES: u32 = 64;
var<workgroup> counts: array<atomic<u32>, 256>;
//! import stainTables

fn level(item: u32, kind: u32, i: u32) -> u32 {
  if (kind == 1u) {
    return level_of(small[args.small_at + item * 3u * args.coarse * args.coarse + i], 0u);
  }
  let n = args.fine * args.fine;
  let at = args.planes_at + item * 3u * n + i;
  if (kind == 0u) {
    return level_of(planes[at], 0u);
  }
  let total = args.tables_at + TOTAL_AT;
  let density = (planes[at] * tables[total] + planes[at + n] * tables[total + 1u]) + planes[at + 2u * n] * tables[total + 2u];
  return level_of(density, 3u);
}

fn add_one(kind: u32, at: u32) {
  atomicAdd(&counts[64u * kind + at], 1u);
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
  let item = index / 3u;
  let kind = index % 3u;
  let side = select(args.fine, args.coarse, kind == 1u);
  let inner = side - 1u;
  workgroupBarrier();
  for (var i = lane; i < inner * inner; i += LANES) {
    let at = (i / inner) * side + i % inner;
    let a = level(item, kind, at);
    let b = level(item, kind, at + 1u);
    let c = level(item, kind, at + side);
    let d = level(item, kind, at + side + 1u);
    add_one(0u, a);
    add_one(1u, min(a, b));
    add_one(1u, min(a, c));
    add_one(2u, min(min(a, b), min(c, d)));
    add_one(3u, max(a, b));
    add_one(3u, max(a, c));
  }
  workgroupBarrier();
  let to = args.facts_at + item * FACTS + SHAPE_COUNTS_AT + 256u * kind;
  for (var k = lane; k < 256u; k += LANES) {
    facts[to + k] = f32(atomicLoad(&counts[k]));
  }
}
