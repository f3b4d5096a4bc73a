// dx_i (+)= dy_i f'(x_i), with y_i = f(x_i) given. Element by element as in fill.wgsl.
//! import numbers
struct Args { n: u32, accumulate: u32, x_at: u32, y_at: u32, dy_at: u32, dx_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
const KIND: i32 = 0;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    var d = dy[args.dy_at + i] * activation_slope(x[args.x_at + i], y[args.y_at + i], KIND);
    if (args.accumulate != 0u) {
      d += dx[args.dx_at + i];
    }
    dx[args.dx_at + i] = d;
  }
}
