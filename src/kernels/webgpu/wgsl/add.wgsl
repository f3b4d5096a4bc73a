// y_i = alpha a_i + beta b_i, or alpha a_i without b. Element by element as in fill.wgsl, so y may be a or b.
struct Args { n: u32, alpha: f32, beta: f32, a_at: u32, b_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
const has_b: bool = true;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    var sum = args.alpha * a[args.a_at + i];
    if (has_b) {
      sum += args.beta * b[args.b_at + i];
    }
    y[args.y_at + i] = sum;
  }
}
