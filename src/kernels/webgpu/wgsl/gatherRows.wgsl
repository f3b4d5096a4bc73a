// y (n, c) (+)= rows of x (r, c) at index (n); index -1 gives zeros. Element by element as in fill.wgsl.
struct Args { n: u32, c: u32, accumulate: u32, x_at: u32, index_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n * args.c; i += groups.x * 256u) {
    let row = index[args.index_at + i / args.c];
    var value = 0.0;
    if (row >= 0) {
      value = x[args.x_at + u32(row) * args.c + i % args.c];
    }
    if (args.accumulate != 0u) {
      value += y[args.y_at + i];
    }
    y[args.y_at + i] = value;
  }
}
