// y_i (+)= x_i / (1 - p), or 0 if it is dropped: hash(seed, first + i) < p 2^32. Element by element as in fill.wgsl.
struct Args { n: u32, p: f32, seed: u32, accumulate: u32, threshold: u32, first: u32, x_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn hash(seed: u32, i: u32) -> u32 {
  var h = i * 0x9E3779B9u + seed;
  h = (h ^ (h >> 16u)) * 0x7FEB352Du;
  h = (h ^ (h >> 15u)) * 0x846CA68Bu;
  return h ^ (h >> 16u);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    var kept = select(x[args.x_at + i] * (1.0 / (1.0 - args.p)), 0.0, hash(args.seed, args.first + i) < args.threshold);
    if (args.accumulate != 0u) {
      kept += y[args.y_at + i];
    }
    y[args.y_at + i] = kept;
  }
}
