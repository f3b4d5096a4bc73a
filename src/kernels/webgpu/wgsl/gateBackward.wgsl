// dz_i = dy_i silu'(z_i) p_i, where dz holds p before. Element by element as in fill.wgsl.
// Only for GPUs that cannot bind as many buffers as selectiveScanBackward wants.
//! import numbers
struct Args { n: u32, z_at: u32, dy_at: u32, dz_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    dz[args.dz_at + i] *= dy[args.dy_at + i] * silu_slope(z[args.z_at + i]);
  }
}
