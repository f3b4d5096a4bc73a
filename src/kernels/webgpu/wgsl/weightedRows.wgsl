// Parts of pooled (bags, d) = sum over the rows of each bag of weights_t h_t: part (parts, bags, d).
// Without offsets there is one bag of L rows. Only `rows` of h from row0 on are here; others count for nothing. A thread adds up one column of one part of one bag, neighbours neighbouring
// columns. No barriers; sumParts.wgsl adds the parts.
struct Args { L: u32, d: u32, bags: u32, row0: u32, rows: u32, h_at: u32, weights_at: u32, offsets_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@group(0) @binding(4) var<storage, read_write> part: array<f32>;
const has_offsets: bool = true;
//! import bags

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= args.d) {
    return;
  }
  for (var bag = id.y; bag < args.bags; bag += groups.y) {
    var rows = vec2u(0u, args.L);
    if (has_offsets) {
      rows = bag_range(bag);
    }
    let count = (rows.y - rows.x + groups.z - 1u) / groups.z;
    let begin = rows.x + id.z * count;
    let end = min(min(rows.y, begin + count), args.row0 + args.rows);
    var sum = 0.0;
    for (var i = max(begin, args.row0); i < end; i++) {
      sum += weights[args.weights_at + i] * h[args.h_at + (i - args.row0) * args.d + id.x];
    }
    part[args.part_at + (id.z * args.bags + bag) * args.d + id.x] = sum;
  }
}
