// The small inputs of a scan in one buffer of f32, because a shader can bind only few buffers:
// A log2 e (D, N); skip (D); deltaBias (D); segments (count, 4), whole numbers below 2^24; states (bags or
// chunks, D, N).
// What is absent is 0. Element by element as in fill.wgsl.
struct Args { D: u32, segmentCount: u32, statesLength: u32, A_at: u32, skip_at: u32, deltaBias_at: u32, segments_at: u32, states_at: u32, small_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> A: array<f32>;
@group(0) @binding(2) var<storage, read> skip: array<f32>;
@group(0) @binding(3) var<storage, read> deltaBias: array<f32>;
@group(0) @binding(4) var<storage, read> segments: array<i32>;
@group(0) @binding(5) var<storage, read> states: array<f32>;
@group(0) @binding(6) var<storage, read_write> small: array<f32>;
const has_skip: bool = true;
const has_deltaBias: bool = true;
const N: u32 = 16;

fn value(i: u32) -> f32 {
  var at = i;
  if (at < args.D * N) {
    return A[args.A_at + at] * 1.4426950408889634;
  }
  at -= args.D * N;
  if (at < args.D) {
    if (has_skip) {
      return skip[args.skip_at + at];
    }
    return 0.0;
  }
  at -= args.D;
  if (at < args.D) {
    if (has_deltaBias) {
      return deltaBias[args.deltaBias_at + at];
    }
    return 0.0;
  }
  at -= args.D;
  if (at < args.segmentCount * 4u) {
    return f32(segments[args.segments_at + at]);
  }
  return states[args.states_at + at - args.segmentCount * 4u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = args.D * (N + 2u) + args.segmentCount * 4u + args.statesLength;
  for (var i = id.x; i < count; i += groups.x * 64u) {
    small[args.small_at + i] = value(i);
  }
}
