// y_i (+)= a_i b_i. Element by element as in fill.wgsl, so y may be a or b.
struct Args { n: u32, accumulate: u32, a_at: u32, b_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    var product = a[args.a_at + i] * b[args.b_at + i];
    if (args.accumulate != 0u) {
      product += y[args.y_at + i];
    }
    y[args.y_at + i] = product;
  }
}
