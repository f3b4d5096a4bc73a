// dx, `count` rows of c from row0 on, (+)= dy of the row's bag / rows of the bag (mean), or dy where the maximum was and 0 elsewhere.
// Element by element as in fill.wgsl.
struct Args { count: u32, row0: u32, c: u32, bags: u32, accumulate: u32, dy_at: u32, offsets_at: u32, rows_at: u32, dx_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@group(0) @binding(3) var<storage, read> rows: array<i32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
const MAXIMUM: bool = false;
//! import bags

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.count * args.c; i += groups.x * 256u) {
    let row = args.row0 + i / args.c;
    let bag = bag_number(row);
    let from_y = bag * args.c + i % args.c;
    var value = dy[args.dy_at + from_y];
    if (MAXIMUM) {
      value = select(0.0, value, rows[args.rows_at + from_y] == i32(row));
    } else {
      let range = bag_range(bag);
      value /= f32(range.y - range.x);
    }
    if (args.accumulate != 0u) {
      value += dx[args.dx_at + i];
    }
    dx[args.dx_at + i] = value;
  }
}
