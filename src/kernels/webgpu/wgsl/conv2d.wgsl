// Depthwise 2-D convolution, zero padding kh/2, kw/2: y (C, H, W), weight (C, kh, kw). FLIPPED turns the kernel round,
// which makes it the gradient of x. A thread computes one element after another, neighbours along W. No barriers.
struct Args { C: u32, H: u32, W: u32, kh: u32, kw: u32, accumulate: u32, x_at: u32, weight_at: u32, bias_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
const has_bias: bool = true;
const FLIPPED: bool = false;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let area = args.H * args.W;
  for (var i = id.x; i < args.C * area; i += groups.x * 256u) {
    let channel = i / area;
    let row = i32(i % area / args.W);
    let column = i32(i % args.W);
    var sum = 0.0;
    if (has_bias) {
      sum = bias[args.bias_at + channel];
    }
    if (args.accumulate != 0u) {
      sum += y[args.y_at + i];
    }
    for (var p = 0u; p < args.kh; p++) {
      // Row of x under row p of the kernel; even kernels are not symmetric, hence the turn on both sides.
      let from_row = select(row + i32(p) - i32(args.kh / 2u), row - i32(p) + i32(args.kh / 2u), FLIPPED);
      if (from_row < 0 || from_row >= i32(args.H)) {
        continue;
      }
      for (var q = 0u; q < args.kw; q++) {
        let from_column = select(column + i32(q) - i32(args.kw / 2u), column - i32(q) + i32(args.kw / 2u), FLIPPED);
        if (from_column >= 0 && from_column < i32(args.W)) {
          sum += weight[args.weight_at + (channel * args.kh + p) * args.kw + q]
            * x[args.x_at + channel * area + u32(from_row) * args.W + u32(from_column)];
        }
      }
    }
    y[args.y_at + i] = sum;
  }
}
