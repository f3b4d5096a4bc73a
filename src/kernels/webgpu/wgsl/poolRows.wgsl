// Parts of the sum (MAXIMUM false) or the maximum over the rows of each bag of x (L, c): part (parts, bags, c), and for
// the maximum the row where it is first found. Of x only `rows` from row0 on are here. Threads as in weightedRows.wgsl.
struct Args { c: u32, bags: u32, row0: u32, rows: u32, x_at: u32, offsets_at: u32, part_at: u32, found_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@group(0) @binding(3) var<storage, read_write> part: array<f32>;
@group(0) @binding(4) var<storage, read_write> found: array<i32>;
const MAXIMUM: bool = false;
//! import bags

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= args.c) {
    return;
  }
  for (var bag = id.y; bag < args.bags; bag += groups.y) {
    let rows = bag_range(bag);
    let count = (rows.y - rows.x + groups.z - 1u) / groups.z;
    let begin = rows.x + id.z * count;
    let end = min(min(rows.y, begin + count), args.row0 + args.rows);
    var value = select(0.0, -3.4e38, MAXIMUM);
    var row = -1;
    for (var i = max(begin, args.row0); i < end; i++) {
      let v = x[args.x_at + (i - args.row0) * args.c + id.x];
      if (!MAXIMUM) {
        value += v;
      } else if (row < 0 || v > value) {
        value = v;
        row = i32(i);
      }
    }
    let to = (id.z * args.bags + bag) * args.c + id.x;
    part[args.part_at + to] = value;
    found[args.found_at + to] = row;
  }
}
