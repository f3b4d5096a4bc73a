// halves: means of 2 x 2 of a plane of side x side, which is a plane given or, where pixels are, a stain of RGB bytes; and the mean
// squares of the detail lost. A workgroup for each stain of each patch. Barriers: the tree's.
struct Args { items: u32, side: u32, octave: u32, pixels_at: u32, tables_at: u32, planes_at: u32, halves_at: u32, facts_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read> tables: array<f32>;
@group(0) @binding(3) var<storage, read> planes: array<f32>;
@group(0) @binding(4) var<storage, read_write> halves: array<f32>;
@group(0) @binding(5) var<storage, read_write> facts: array<f32>;
const has_pixels: bool = true;
//! import treeSum
//! import stainTables

fn density(byte: u32) -> f32 {
  let word = pixels[args.pixels_at + (byte >> 2u)];
  return tables[args.tables_at + ((word >> (8u * (byte & 3u))) & 255u)];
}

fn amount(plane: u32, x: u32, y: u32) -> f32 {
  if (!has_pixels) {
    return planes[args.planes_at + (plane * args.side + y) * args.side + x];
  }
  let byte = 3u * (((plane / 3u) * args.side + y) * args.side + x);
  let unmix = args.tables_at + UNMIX_AT + plane % 3u;
  return density(byte) * tables[unmix]
    + (density(byte + 1u) * tables[unmix + 3u] + density(byte + 2u) * tables[unmix + 6u]);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let plane = group.x + group.y * groups.x;
  if (plane >= args.items) {
    return;
  }
  let side = args.side / 2u;
  var edge = 0.0;
  var corner = 0.0;
  for (var i = lane; i < side * side; i += LANES) {
    let x = 2u * (i % side);
    let y = 2u * (i / side);
    let a = amount(plane, x, y);
    let b = amount(plane, x + 1u, y);
    let c = amount(plane, x, y + 1u);
    let d = amount(plane, x + 1u, y + 1u);
    halves[args.halves_at + plane * side * side + i] = 0.25 * ((a + b) + (c + d));
    edge += (a - d) * (a - d) + (b - c) * (b - c);
    let crossing = (a - b) - (c - d);
    corner += crossing * crossing;
  }
  edge = tree_sum(edge, lane);
  corner = tree_sum(corner, lane);
  if (lane == 0u) {
    let at = args.facts_at + (plane / 3u) * FACTS + BANDS_AT + 6u * args.octave + 2u * (plane % 3u);
    facts[at] = edge / (8.0 * f32(side * side));
    facts[at + 1u] = corner / (16.0 * f32(side * side));
  }
}
