// dB and dC (N, L) of the chunks [chunk0, chunk1) from `part` (workgroups, chunks, N, 2, T K) of selectiveScanBackward.
// A thread adds the workgroups' parts of one token and state in their order; neighbours are neighbouring tokens.
struct Args { L: u32, segmentCount: u32, chunk0: u32, chunk1: u32, workgroups: u32, accumulate: u32, segments_at: u32, part_at: u32, dB_at: u32, dC_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> segments: array<i32>;
@group(0) @binding(2) var<storage, read> part: array<f32>;
@group(0) @binding(3) var<storage, read_write> dB: array<f32>;
@group(0) @binding(4) var<storage, read_write> dC: array<f32>;
const N: u32 = 16;
const K: u32 = 16;
const T: u32 = 32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = (args.chunk1 - args.chunk0) * N * T * K;
  for (var i = id.x; i < count; i += groups.x * 64u) {
    let place = i % (T * K);
    let k = place % K;
    let n = i / (T * K) % N;
    let segment = (args.chunk0 + i / (T * K) / N) * T + place / K;
    if (segment >= args.segmentCount) {
      continue;
    }
    let at = args.segments_at + segment * 4u;
    if (i32(k) >= segments[at + 1u]) {
      continue;
    }
    let step = select(1, -1, (segments[at + 2u] & 4) != 0);
    let to = n * args.L + u32(segments[at] + step * i32(k));
    var b = 0.0;
    var c = 0.0;
    if (args.accumulate != 0u) {
      b = dB[args.dB_at + to];
      c = dC[args.dC_at + to];
    }
    for (var w = 0u; w < args.workgroups; w++) {
      let from_part = args.part_at + 2u * (w * count + i - place) + place;
      b += part[from_part];
      c += part[from_part + T * K];
    }
    dB[args.dB_at + to] = b;
    dC[args.dC_at + to] = c;
  }
}
