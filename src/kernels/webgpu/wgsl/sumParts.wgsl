// C (m, n) (+)= sum over parts (parts, m, n), then + bias (n), then activation: the end of sums that were split over
// workgroups (matmul over k, columns over rows).
// A thread computes one element after another, neighbours neighbours; the parts are added in their order. No barriers.
//! import numbers
struct Args { m: u32, n: u32, parts: u32, accumulate: u32, C_stride: u32, part_at: u32, bias_at: u32, C_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> part: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> C: array<f32>;
const has_bias: bool = true;
const ACTIVATION: i32 = -1;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = args.m * args.n;
  for (var i = id.x; i < count; i += groups.x * 64u) {
    var value = 0.0;
    for (var p = 0u; p < args.parts; p++) {
      value += part[args.part_at + p * count + i];
    }
    let at = args.C_at + i / args.n * args.C_stride + i % args.n;
    if (args.accumulate != 0u) {
      value += C[at];
    }
    if (has_bias) {
      value += bias[args.bias_at + i % args.n];
    }
    C[at] = activate(value, ACTIVATION);
  }
}
