// Sums over a part of the rows: part p of x (r, c) -> part (parts, c); sumParts.wgsl adds the parts.
// A thread adds up one column, neighbours neighbouring columns; workgroup (i, p) columns 64 i ... of part p. No barriers.
struct Args { r: u32, c: u32, x_at: u32, part_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> part: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= args.c) {
    return;
  }
  let rows = (args.r + groups.y - 1u) / groups.y;
  var sum = 0.0;
  for (var i = id.y * rows; i < min(args.r, (id.y + 1u) * rows); i++) {
    sum += x[args.x_at + i * args.c + id.x];
  }
  part[args.part_at + id.y * args.c + id.x] = sum;
}
