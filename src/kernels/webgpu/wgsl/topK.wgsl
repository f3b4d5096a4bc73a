// index (k) of the k largest (SIGN 1) or smallest (SIGN -1) of x (n), best first, ties by position.
// One workgroup of LANES looks k times through x for the best after the last one found. Barriers: those of the tree.
struct Args { n: u32, k: u32, x_at: u32, index_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> index: array<i32>;
const SIGN: f32 = 1.0;
//! import best

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  var last = -1;
  for (var j = 0u; j < args.k; j++) {
    var last_key = 0.0;
    if (last >= 0) {
      last_key = SIGN * x[args.x_at + u32(last)];
    }
    var key = 0.0;
    var position = -1;
    for (var i = lane; i < args.n; i += LANES) {
      let v = SIGN * x[args.x_at + i];
      let free = last < 0 || better(last_key, last, v, i32(i));
      if (free && better(v, i32(i), key, position)) {
        key = v;
        position = i32(i);
      }
    }
    let found = best_of(key, position, lane);
    if (lane == 0u) {
      index[args.index_at + j] = found;
    }
    last = select(last, found, found >= 0);
  }
}
