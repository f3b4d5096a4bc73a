// y (bags, c) from the parts of poolRows.wgsl: mean, or the first maximum and its row. A thread per element. No barriers.
struct Args { c: u32, bags: u32, parts: u32, offsets_at: u32, part_at: u32, found_at: u32, y_at: u32, rows_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> offsets: array<i32>;
@group(0) @binding(2) var<storage, read> part: array<f32>;
@group(0) @binding(3) var<storage, read> found: array<i32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> rows: array<i32>;
const has_rows: bool = true;
const MAXIMUM: bool = false;
//! import bags

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = args.bags * args.c;
  for (var i = id.x; i < count; i += groups.x * 64u) {
    let range = bag_range(i / args.c);
    var value = 0.0;
    var row = -1;
    for (var p = 0u; p < args.parts; p++) {
      let v = part[args.part_at + p * count + i];
      if (!MAXIMUM) {
        value += v;
      } else {
        let at = found[args.found_at + p * count + i];
        if (at >= 0 && (row < 0 || v > value)) {
          value = v;
          row = at;
        }
      }
    }
    if (!MAXIMUM) {
      value /= f32(max(1u, range.y - range.x));
    }
    y[args.y_at + i] = value;
    if (has_rows) {
      rows[args.rows_at + i] = row;
    }
  }
}
