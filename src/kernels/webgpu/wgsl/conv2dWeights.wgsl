// dweight (C, kh, kw) += sum over the plane of dy times x under that tap, dbias (C) += sum of dy.
// A workgroup of 64 sums for one tap of one channel; the last taps + 1 of a channel is the bias. Barriers: the tree's.
struct Args { C: u32, H: u32, W: u32, kh: u32, kw: u32, x_at: u32, dy_at: u32, dweight_at: u32, dbias_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dbias: array<f32>;
const has_dbias: bool = true;
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let taps = args.kh * args.kw;
  let number = group.x + group.y * groups.x;
  if (number >= args.C * (taps + 1u)) {
    return;
  }
  let channel = number / (taps + 1u);
  let tap = number % (taps + 1u);
  let area = args.H * args.W;
  var sum = 0.0;
  for (var i = lane; i < area; i += 64u) {
    let d = dy[args.dy_at + channel * area + i];
    if (tap == taps) {
      sum += d;
      continue;
    }
    let row = i32(i / args.W + tap / args.kw) - i32(args.kh / 2u);
    let column = i32(i % args.W + tap % args.kw) - i32(args.kw / 2u);
    if (row >= 0 && row < i32(args.H) && column >= 0 && column < i32(args.W)) {
      sum += d * x[args.x_at + channel * area + u32(row) * args.W + u32(column)];
    }
  }
  let total = tree_sum(sum, lane);
  if (lane == 0u) {
    if (tap < taps) {
      dweight[args.dweight_at + channel * taps + tap] += total;
    } else if (has_dbias) {
      dbias[args.dbias_at + channel] += total;
    }
  }
}
