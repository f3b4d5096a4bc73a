// y_i = f(x_i), f by index (numbers.wgsl). Element by element as in fill.wgsl.
//! import numbers
struct Args { n: u32, x_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
const KIND: i32 = 0;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    y[args.y_at + i] = activate(x[args.x_at + i], KIND);
  }
}
