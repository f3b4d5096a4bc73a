// y (r, n) (+)= columns of x (r, L) at index (n); index -1 gives zeros. Element by element as in fill.wgsl.
struct Args { r: u32, L: u32, n: u32, accumulate: u32, x_at: u32, index_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.r * args.n; i += groups.x * 256u) {
    let column = index[args.index_at + i % args.n];
    var value = 0.0;
    if (column >= 0) {
      value = x[args.x_at + i / args.n * args.L + u32(column)];
    }
    if (args.accumulate != 0u) {
      value += y[args.y_at + i];
    }
    y[args.y_at + i] = value;
  }
}
