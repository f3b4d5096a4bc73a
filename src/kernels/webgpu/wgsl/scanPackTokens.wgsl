// B and C (N, L) in the order in which selectiveScan reads them, once for all channels.
// bc[((chunk N + n) K / 4 + q) 2 T + lane] = B of tokens 4 q ... 4 q + 3 of the lane's segment, the same + T: C.
// Tokens that a short segment lacks are 0. A thread makes one quad of B and one of C. No barriers.
struct Args { L: u32, segmentCount: u32, B_at: u32, C_at: u32, segments_at: u32, bc_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read> C: array<f32>;
@group(0) @binding(3) var<storage, read> segments: array<i32>;
@group(0) @binding(4) var<storage, read_write> bc: array<vec4f>;
const N: u32 = 16;
const K: u32 = 16;
const T: u32 = 32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = (args.segmentCount + T - 1u) / T * T * N * (K / 4u);
  for (var i = id.x; i < count; i += groups.x * 64u) {
    let lane = i % T;
    let q = i / T % (K / 4u);
    let n = i / T / (K / 4u) % N;
    let segment = i / T / (K / 4u) / N * T + lane;
    var b = vec4f();
    var c = vec4f();
    if (segment < args.segmentCount) {
      let at = args.segments_at + segment * 4u;
      let step = select(1, -1, (segments[at + 2u] & 4) != 0);
      for (var j = 0; j < 4; j++) {
        let k = i32(q) * 4 + j;
        if (k < segments[at + 1u]) {
          let token = u32(segments[at] + step * k) + n * args.L;
          b[j] = B[args.B_at + token];
          c[j] = C[args.C_at + token];
        }
      }
    }
    let to = args.bc_at + i / T * 2u * T + lane;
    bc[to] = b;
    bc[to + T] = c;
  }
}
