// y (c, r) = x (r, c) transposed. The strides are from row to row in memory.
// A workgroup of 32 x 8 moves a tile of 32 x 32 through workgroup memory, so that both sides are read and written along
// rows; the tile's rows are 33 apart against bank conflicts. One barrier, between filling and emptying the tile.
struct Args { r: u32, c: u32, x_stride: u32, y_stride: u32, x_at: u32, y_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 1056>;

@compute @workgroup_size(32, 8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  // Tiles in one row of workgroups of bounded length.
  let across = (args.c + 31u) / 32u;
  let number = group.x + group.y * groups.x;
  let left = (number % across) * 32u;
  let top = (number / across) * 32u;
  for (var j = local.y; j < 32u; j += 8u) {
    if (top + j < args.r && left + local.x < args.c) {
      tile[j * 33u + local.x] = x[args.x_at + (top + j) * args.x_stride + left + local.x];
    }
  }
  workgroupBarrier();
  for (var j = local.y; j < 32u; j += 8u) {
    if (left + j < args.c && top + local.x < args.r) {
      y[args.y_at + (left + j) * args.y_stride + top + local.x] = tile[local.x * 33u + j];
    }
  }
}
