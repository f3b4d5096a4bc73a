// tailOut (D, W-1) = the last W-1 tokens in scan order of tailIn (absent: zeros) followed by x (D, L).
// A thread copies one element. No barriers.
struct Args { D: u32, L: u32, W: u32, reversed: u32, x_at: u32, tailIn_at: u32, tailOut_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> tailIn: array<f32>;
@group(0) @binding(3) var<storage, read_write> tailOut: array<f32>;
const has_tailIn: bool = true;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let kept = args.W - 1u;
  if (id.x >= args.D * kept) {
    return;
  }
  let channel = id.x / kept;
  // Place in x, in scan order, shifted by `kept`.
  let place = args.L + id.x % kept;
  var value = 0.0;
  if (place >= kept) {
    let t = place - kept;
    value = x[args.x_at + channel * args.L + select(t, args.L - 1u - t, args.reversed != 0u)];
  } else if (has_tailIn) {
    value = tailIn[args.tailIn_at + channel * kept + place];
  }
  tailOut[args.tailOut_at + id.x] = value;
}
