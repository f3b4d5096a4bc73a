// w -= lr (g + decay w). Element by element as in fill.wgsl.
struct Args { n: u32, lr: f32, decay: f32, w_at: u32, g_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    w[args.w_at + i] -= args.lr * (g[args.g_at + i] + args.decay * w[args.w_at + i]);
  }
}
