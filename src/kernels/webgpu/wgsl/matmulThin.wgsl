// C (m, n) (+)= A (m, k) B^T, B (n, k), then + bias (n), then activation, for few rows or columns.
// A workgroup of 64 computes one element: each thread every 64th product. Barriers: those of the tree.
//! import numbers
struct Args { m: u32, n: u32, k: u32, accumulate: u32, A_stride: u32, B_stride: u32, C_stride: u32, A_at: u32, B_at: u32, bias_at: u32, C_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> A: array<f32>;
@group(0) @binding(2) var<storage, read> B: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> C: array<f32>;
const has_bias: bool = true;
const ACTIVATION: i32 = -1;
//! import treeSum

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let element = group.x + group.y * groups.x;
  if (element >= args.m * args.n) {
    return;
  }
  let row = element / args.n;
  let column = element % args.n;
  var sum = 0.0;
  for (var k = lane; k < args.k; k += 64u) {
    sum += A[args.A_at + row * args.A_stride + k] * B[args.B_at + column * args.B_stride + k];
  }
  var value = tree_sum(sum, lane);
  if (lane == 0u) {
    let at = args.C_at + row * args.C_stride + column;
    if (args.accumulate != 0u) {
      value += C[at];
    }
    if (has_bias) {
      value += bias[args.bias_at + column];
    }
    C[at] = activate(value, ACTIVATION);
  }
}
