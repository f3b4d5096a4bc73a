// dA (D, N), dskip (D), ddeltaBias (D) += the T threads' sums that selectiveScanBackward kept, (D, N, T), (D, T), (D, T).
// A thread adds one element's T sums in their order. No barriers.
struct Args { D: u32, sums_at: u32, dA_at: u32, dskip_at: u32, ddeltaBias_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> dA: array<f32>;
@group(0) @binding(3) var<storage, read_write> dskip: array<f32>;
@group(0) @binding(4) var<storage, read_write> ddeltaBias: array<f32>;
const has_dskip: bool = true;
const has_ddeltaBias: bool = true;
const N: u32 = 16;
const T: u32 = 32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.D * (N + 2u); i += groups.x * 64u) {
    var total = 0.0;
    for (var lane = 0u; lane < T; lane++) {
      total += sums[args.sums_at + i * T + lane];
    }
    if (i < args.D * N) {
      dA[args.dA_at + i] += total;
    } else if (i < args.D * (N + 1u)) {
      if (has_dskip) {
        dskip[args.dskip_at + i - args.D * N] += total;
      }
    } else if (has_ddeltaBias) {
      ddeltaBias[args.ddeltaBias_at + i - args.D * (N + 1u)] += total;
    }
  }
}
