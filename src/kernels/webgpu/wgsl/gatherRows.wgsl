// y (n, c) (+)= rows of x at index (n), of those that are here: `rows` from row0 on; others, and -1, give zeros. Element by element as in fill.wgsl.
struct Args { n: u32, c: u32, accumulate: u32, row0: u32, rows: u32, x_at: u32, index_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n * args.c; i += groups.x * 256u) {
    // -1 is beyond all rows.
    let row = u32(index[args.index_at + i / args.c]) - args.row0;
    var value = 0.0;
    if (row < args.rows) {
      value = x[args.x_at + row * args.c + i % args.c];
    }
    if (args.accumulate != 0u) {
      value += y[args.y_at + i];
    }
    y[args.y_at + i] = value;
  }
}
