// C (m, n) (+)= op(A) (m, k) op(B) (k, n), then + bias (n), then activation.
// A workgroup of S x S threads computes a square block of C of 4 S Q rows; a thread 4 Q rows times Q quads of 4 columns,
// in registers. Slices of DEPTH columns of op(A) and rows of op(B) go through workgroup memory as quads of
// 4 rows (columns) of C; slices are one quad longer than needed, against bank conflicts. Two barriers a slice: after
// filling it, and before it is overwritten. With SPLIT, workgroup z adds up only its part of k into `part` z of C (scratch);
// sumParts.wgsl adds the parts and does what comes after.
//! import numbers
struct Args { m: u32, n: u32, k: u32, accumulate: u32, depth: u32, A_at: u32, B_at: u32, bias_at: u32, C_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> A: array<f32>;
@group(0) @binding(2) var<storage, read> B: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> C: array<f32>;
const has_bias: bool = true;
const TRANS_A: bool = false;
const TRANS_B: bool = false;
const ACTIVATION: i32 = -1;
const SPLIT: bool = false;
const S: u32 = 16;
const Q: u32 = 1;
const DEPTH: u32 = S / Q;
const QUADS: u32 = S * Q;
var<workgroup> slice_a: array<vec4f, (QUADS + 1) * DEPTH>;
var<workgroup> slice_b: array<vec4f, (QUADS + 1) * DEPTH>;

fn load_a(row: u32, k: u32, end: u32) -> f32 {
  if (row >= args.m || k >= end) {
    return 0.0;
  }
  return A[args.A_at + select(row * args.k + k, k * args.m + row, TRANS_A)];
}

fn load_b(column: u32, k: u32, end: u32) -> f32 {
  if (column >= args.n || k >= end) {
    return 0.0;
  }
  return B[args.B_at + select(k * args.n + column, column * args.k + k, TRANS_B)];
}

@compute @workgroup_size(S, S)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let top = group.y * QUADS * 4u;
  let left = group.x * QUADS * 4u;
  // Lanes run along whatever is contiguous in memory.
  let k_a = select(index % DEPTH, index / QUADS, TRANS_A);
  let quad_a = select(index / DEPTH, index % QUADS, TRANS_A);
  let k_b = select(index / QUADS, index % DEPTH, TRANS_B);
  let quad_b = select(index % QUADS, index / DEPTH, TRANS_B);
  let row = top + quad_a * 4u;
  let column = left + quad_b * 4u;

  var sum: array<vec4f, 4 * Q * Q>;
  let begin = group.z * args.depth;
  let end = min(args.k, begin + args.depth);
  for (var k0 = begin; k0 < end; k0 += DEPTH) {
    let ka = k0 + k_a;
    let kb = k0 + k_b;
    slice_a[k_a * (QUADS + 1u) + quad_a] =
      vec4f(load_a(row, ka, end), load_a(row + 1u, ka, end), load_a(row + 2u, ka, end), load_a(row + 3u, ka, end));
    slice_b[k_b * (QUADS + 1u) + quad_b] =
      vec4f(load_b(column, kb, end), load_b(column + 1u, kb, end), load_b(column + 2u, kb, end), load_b(column + 3u, kb, end));
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      for (var i = 0u; i < Q; i++) {
        let a = slice_a[k * (QUADS + 1u) + i * S + local.y];
        for (var j = 0u; j < Q; j++) {
          let b = slice_b[k * (QUADS + 1u) + j * S + local.x];
          let at = (i * Q + j) * 4u;
          sum[at] += a.x * b;
          sum[at + 1u] += a.y * b;
          sum[at + 2u] += a.z * b;
          sum[at + 3u] += a.w * b;
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < Q; i++) {
    for (var j = 0u; j < Q; j++) {
      for (var r = 0u; r < 4u; r++) {
        let values = sum[(i * Q + j) * 4u + r];
        for (var c = 0u; c < 4u; c++) {
          store(top + (i * S + local.y) * 4u + r, left + (j * S + local.x) * 4u + c, group.z, values[c]);
        }
      }
    }
  }
}

fn store(row: u32, column: u32, part: u32, product: f32) {
  if (row >= args.m || column >= args.n) {
    return;
  }
  let at = args.C_at + (part * args.m + row) * args.n + column;
  if (SPLIT) {
    C[at] = product;
    return;
  }
  var value = product;
  if (args.accumulate != 0u) {
    value += C[at];
  }
  if (has_bias) {
    value += bias[args.bias_at + column];
  }
  C[at] = activate(value, ACTIVATION);
}
