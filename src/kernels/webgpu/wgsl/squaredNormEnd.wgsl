// out (1) += the parts of squaredNorm.wgsl in their order; infinite as soon as one of them is. One thread.
struct Args { parts: u32, part_at: u32, out_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> part: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
const INFINITE: u32 = 0x7f800000;

@compute @workgroup_size(1)
fn main() {
  var bits = out[args.out_at];
  var sum = 0.0;
  var wrong = (bits & INFINITE) == INFINITE;
  for (var p = 0u; p < args.parts; p++) {
    let next = part[args.part_at + p];
    wrong = wrong || (next & INFINITE) == INFINITE;
    sum += bitcast<f32>(next);
  }
  sum += bitcast<f32>(bits);
  out[args.out_at] = select(bitcast<u32>(sum), INFINITE, wrong);
}
