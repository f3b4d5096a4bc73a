// x_i = value. A thread writes elements i, i + threads, ...; neighbours write neighbours. No barriers.
struct Args { n: u32, value: f32, x_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    x[args.x_at + i] = args.value;
  }
}
