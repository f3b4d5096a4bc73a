// state_{2+i} = factor state_{2+i} + sum over parts of part (parts, d); factor is weights_L. A thread per column.
struct Args { L: u32, d: u32, parts: u32, part_at: u32, weights_at: u32, state_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> part: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= args.d) {
    return;
  }
  let at = args.state_at + 2u + id.x;
  var sum = state[at] * weights[args.weights_at + args.L];
  for (var p = 0u; p < args.parts; p++) {
    sum += part[args.part_at + p * args.d + id.x];
  }
  state[at] = sum;
}
