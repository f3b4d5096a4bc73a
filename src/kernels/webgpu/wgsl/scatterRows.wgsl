// dx (rows, c), which begins at row0, += rows [n0, n1) of dy at index (n), added in their order; -1 goes nowhere. dy begins
// at row n0. `seen`: scatterCount.wgsl.
// A thread adds what belongs to one element of dx: it starts at the row's first source and looks for the others, if
// there are any. No barriers.
struct Args { rows: u32, row0: u32, c: u32, n: u32, n0: u32, n1: u32, dy_at: u32, index_at: u32, seen_at: u32, dx_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read> seen: array<u32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var e = id.x; e < args.rows * args.c; e += groups.x * 256u) {
    let row = args.row0 + e / args.c;
    var left = seen[args.seen_at + row * 2u];
    if (left == 0u) {
      continue;
    }
    var sum = dx[args.dx_at + e];
    for (var i = max(args.n0, args.n - seen[args.seen_at + row * 2u + 1u]); i < args.n1 && left > 0u; i++) {
      if (index[args.index_at + i] == i32(row)) {
        sum += dy[args.dy_at + (i - args.n0) * args.c + e % args.c];
        left--;
      }
    }
    dx[args.dx_at + e] = sum;
  }
}
