// Means, deviations and correlations of the stains of a plane, and sums over its nuclear mask. Values are counted from that of the
// first pixel, so that little is lost of a small deviation. A workgroup for each patch. Barriers: the tree's.
struct Args { items: u32, side: u32, scale: u32, tables_at: u32, planes_at: u32, facts_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> planes: array<f32>;
@group(0) @binding(3) var<storage, read_write> facts: array<f32>;
//! import treeSum
//! import stainTables

// 0 where the variance is below the share of the mean square that `texture.ts` takes for rounding.
fn deviation(sums: array<f32, 14>, stain: u32, n: f32, origin: vec3f) -> f32 {
  let shift = sums[stain] / n;
  let mean = origin[stain] + shift;
  let variance = sums[3u + stain] / n - shift * shift;
  return select(0.0, sqrt(max(0.0, variance)), variance > 1e-6 * (variance + mean * mean));
}

fn correlation(sums: array<f32, 14>, a: u32, b: u32, product: u32, n: f32, origin: vec3f) -> f32 {
  let spread = deviation(sums, a, n, origin) * deviation(sums, b, n, origin);
  let shared_part = sums[product] / n - (sums[a] / n) * (sums[b] / n);
  return select(0.0, shared_part / spread, spread > 1e-6);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = group.x + group.y * groups.x;
  if (item >= args.items) {
    return;
  }
  let n = args.side * args.side;
  let first = args.planes_at + item * 3u * n;
  let origin = vec3f(planes[first], planes[first + n], planes[first + 2u * n]);
  let nucleus = tables[args.tables_at + NUCLEUS_AT];
  // h, e, r, their squares, h e, h r, e r; members, of them h, h h, e, r.
  var sums: array<f32, 14>;
  for (var i = lane; i < n; i += LANES) {
    let value = vec3f(planes[first + i], planes[first + n + i], planes[first + 2u * n + i]);
    let v = value - origin;
    let products = v * v;
    sums[0] += v.x;
    sums[1] += v.y;
    sums[2] += v.z;
    sums[3] += products.x;
    sums[4] += products.y;
    sums[5] += products.z;
    sums[6] += v.x * v.y;
    sums[7] += v.x * v.z;
    sums[8] += v.y * v.z;
    if (value.x >= nucleus) {
      sums[9] += 1.0;
      sums[10] += value.x;
      sums[11] += value.x * value.x;
      sums[12] += value.y;
      sums[13] += value.z;
    }
  }
  for (var k = 0u; k < 14u; k++) {
    sums[k] = tree_sum(sums[k], lane);
  }
  if (lane == 0u) {
    let at = args.facts_at + item * FACTS + MOMENTS_AT + 14u * args.scale;
    for (var stain = 0u; stain < 3u; stain++) {
      facts[at + stain] = origin[stain] + sums[stain] / f32(n);
      facts[at + 3u + stain] = deviation(sums, stain, f32(n), origin);
    }
    facts[at + 6u] = correlation(sums, 0u, 1u, 6u, f32(n), origin);
    facts[at + 7u] = correlation(sums, 0u, 2u, 7u, f32(n), origin);
    facts[at + 8u] = correlation(sums, 1u, 2u, 8u, f32(n), origin);
    for (var k = 9u; k < 14u; k++) {
      facts[at + k] = sums[k];
    }
  }
}
