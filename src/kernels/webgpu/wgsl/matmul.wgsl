// C (m, n) (+)= op(A) (m, k) op(B) (k, n), then + bias (n), then activation. The strides are from row to row in memory.
// A workgroup of S x S threads computes a square block of C of 4 S Q rows; a thread 4 Q rows times Q quads of 4 columns,
// in registers: one block of 4 x 4 (a row of C to a column of the matrix), or 2 x 2 of them, named and not in an array, which
// some compilers leave in memory. Slices of DEPTH columns of op(A) and rows of op(B) go through workgroup memory as quads of
// 4 rows (columns) of C; slices are one quad longer than needed, against bank conflicts. Two barriers a slice: after
// filling it, and before it is overwritten. With SPLIT, workgroup z adds up only its part of k into `part` z of C (scratch);
// sumParts.wgsl adds the parts and does what comes after.
//! import numbers
struct Args { m: u32, n: u32, k: u32, accumulate: u32, depth: u32, A_stride: u32, B_stride: u32, C_stride: u32, A_at: u32, B_at: u32, bias_at: u32, C_at: u32 }
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
  return A[args.A_at + select(row * args.A_stride + k, k * args.A_stride + row, TRANS_A)];
}

fn load_b(column: u32, k: u32, end: u32) -> f32 {
  if (column >= args.n || k >= end) {
    return 0.0;
  }
  return B[args.B_at + select(k * args.B_stride + column, column * args.B_stride + k, TRANS_B)];
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

  var c00: mat4x4f;
  var c01: mat4x4f;
  var c10: mat4x4f;
  var c11: mat4x4f;
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
      let a = slice_a[k * (QUADS + 1u) + local.y];
      let b = slice_b[k * (QUADS + 1u) + local.x];
      c00 = add_products(c00, a, b);
      if (Q == 2u) {
        let a1 = slice_a[k * (QUADS + 1u) + S + local.y];
        let b1 = slice_b[k * (QUADS + 1u) + S + local.x];
        c01 = add_products(c01, a, b1);
        c10 = add_products(c10, a1, b);
        c11 = add_products(c11, a1, b1);
      }
    }
    workgroupBarrier();
  }

  let row0 = top + local.y * 4u;
  let column0 = left + local.x * 4u;
  store_block(c00, row0, column0, group.z);
  if (Q == 2u) {
    store_block(c01, row0, column0 + 4u * S, group.z);
    store_block(c10, row0 + 4u * S, column0, group.z);
    store_block(c11, row0 + 4u * S, column0 + 4u * S, group.z);
  }
}

// block + a b'
fn add_products(block: mat4x4f, a: vec4f, b: vec4f) -> mat4x4f {
  return mat4x4f(block[0] + a.x * b, block[1] + a.y * b, block[2] + a.z * b, block[3] + a.w * b);
}

fn store_block(block: mat4x4f, row: u32, column: u32, part: u32) {
  for (var r = 0u; r < 4u; r++) {
    for (var c = 0u; c < 4u; c++) {
      store(row + r, column + c, part, block[r][c]);
    }
  }
}

fn store(row: u32, column: u32, part: u32, product: f32) {
  if (row >= args.m || column >= args.n) {
    return;
  }
  let at = args.C_at + (part * args.m + row) * args.C_stride + column;
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
