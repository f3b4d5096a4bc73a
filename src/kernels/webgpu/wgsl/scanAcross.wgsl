// What the local part hands from chunk to chunk, where segments lie in several of them: across (chunks, D, N).
//   r, from right to left: what passes a token is a_t v + b_t; across = v at the right end of the chunk
//   ADJOINT: rho, from left to right: what passes a token is a_t (w + G_t), G_t = dy_t silu(z_t) C_nt; at the left end
// A thread walks one state of one channel over all rows of the table, so that a segment may be as long as the bag; neighbours
// are the states of a channel, which read the same tokens. No barriers.
//! import numbers
struct Args { L: u32, D: u32, segmentCount: u32, channel0: u32, channels: u32, u_at: u32, delta_at: u32, z_at: u32, dy_at: u32, B_at: u32, C_at: u32, small_at: u32, across_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> B: array<f32>;
@group(0) @binding(6) var<storage, read> C: array<f32>;
@group(0) @binding(7) var<storage, read> small: array<f32>;
@group(0) @binding(8) var<storage, read_write> across: array<f32>;
const has_z: bool = true;
const ADJOINT: bool = false;
const SOFTPLUS: bool = true;
const N: u32 = 16;
const T: u32 = 32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x / N;
  let n = id.x % N;
  if (row >= args.channels) {
    return;
  }
  let channel = args.channel0 + row;
  let rate = small[args.small_at + channel * N + n];
  let bias = small[args.small_at + args.D * (N + 1u) + channel];
  let segments = args.small_at + args.D * (N + 2u);
  var passing = 0.0;
  for (var done = 0u; done < args.segmentCount; done++) {
    let segment = select(args.segmentCount - 1u - done, done, ADJOINT);
    let at = segments + segment * 4u;
    let entry = vec4i(vec4f(small[at], small[at + 1u], small[at + 2u], small[at + 3u]));
    let joined = (entry.z & select(8, 16, ADJOINT)) != 0;
    if (!joined) {
      passing = 0.0;
    }
    if (done == 0u || segment % T == select(T - 1u, 0u, ADJOINT)) {
      across[args.across_at + (segment / T * args.D + channel) * N + n] = passing;
    }
    for (var i = 0; i < entry.y; i++) {
      let k = select(entry.y - 1 - i, i, ADJOINT);
      let token = u32(select(entry.x + k, entry.x - k, (entry.z & 4) != 0));
      let here = row * args.L + token;
      var step = delta[args.delta_at + here] + bias;
      if (SOFTPLUS) {
        step = softplus(step);
      }
      let a = exp2(step * rate);
      if (ADJOINT) {
        var G_t = dy[args.dy_at + here] * C[args.C_at + n * args.L + token];
        if (has_z) {
          G_t *= silu(z[args.z_at + here]);
        }
        passing = a * (passing + G_t);
      } else {
        passing = a * passing + step * B[args.B_at + n * args.L + token] * u[args.u_at + here];
      }
    }
  }
}
