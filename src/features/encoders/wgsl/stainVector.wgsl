// The 128 numbers of `stain-vector.ts`, in its order, out of the facts about a patch. A thread for each patch; no barriers.
struct Args { items: u32, fine: u32, coarse: u32, tables_at: u32, facts_at: u32, features_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> tables: array<f32>;
@group(0) @binding(2) var<storage, read> facts: array<f32>;
@group(0) @binding(3) var<storage, read_write> features: array<f32>;
//! import stainTables

fn log10(x: f32) -> f32 {
  return log2(x) * 0.30102999566;
}

fn cbrt(x: f32) -> f32 {
  return select(sign(x) * pow(abs(x), 1.0 / 3.0), 0.0, x == 0.0);
}

var<private> own: u32;
var<private> made: u32;
var<private> row: u32;

fn fact(at: u32) -> f32 {
  return facts[own + at];
}

fn table(at: u32) -> f32 {
  return tables[args.tables_at + at];
}

fn put(value: f32) {
  let scaled = (value - table(MEANS_AT + made)) / table(DEVIATIONS_AT + made);
  features[row + made] = clamp(scaled, -table(LIMIT_AT), table(LIMIT_AT));
  made++;
}

// Where the pixels at or above a level have become fewer than all but `share`.
fn quantile(stain: u32, share: f32) -> f32 {
  let n = f32(args.fine * args.fine);
  let wanted = 1.0 - share;
  var above = 0.0;
  var t = 63u;
  // Down from the highest level to the last one that has not more than wanted; `area` is that of the level below it.
  var area = fact(LEVELS_AT + 64u * stain + 63u) / n;
  var count = fact(LEVELS_AT + 64u * stain + 63u);
  while (t > 0u && area <= wanted) {
    above = area;
    t--;
    count += fact(LEVELS_AT + 64u * stain + t);
    area = count / n;
  }
  let step = area - above;
  let within = select(0.0, (area - wanted) / step, step > 0.0);
  let range = RANGES_AT + 3u * stain;
  return table(range) + (table(range + 1u) - table(range)) * (f32(t) + within) / 64.0;
}

// Shares of pixels, sides without pairs, and pieces less holes, at or above a level.
fn shape(kind: u32, t: u32) -> vec3f {
  let at = SHAPE_COUNTS_AT + 256u * kind;
  var sums = vec4f();
  for (var k = t; k < 64u; k++) {
    sums += vec4f(fact(at + k), fact(at + 64u + k), fact(at + 128u + k), fact(at + 192u + k));
  }
  let inner = select(args.fine, args.coarse, kind == 1u) - 1u;
  return vec3f(sums.x, sums.w - sums.y, (sums.x - sums.y) + sums.z) / f32(inner * inner);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= args.items) {
    return;
  }
  own = args.facts_at + id.x * FACTS;
  row = args.features_at + id.x * 128u;
  for (var stain = 0u; stain < 3u; stain++) {
    put(fact(MOMENTS_AT + stain));
    put(fact(MOMENTS_AT + 3u + stain));
    for (var k = 0u; k < 5u; k++) {
      put(quantile(stain, table(QUANTILES_AT + k)));
    }
  }
  for (var k = 0u; k < 36u; k++) {
    put(log10(fact(BANDS_AT + k) + 1e-6));
  }
  for (var k = 0u; k < 12u; k++) {
    let found = shape(u32(table(SHAPES_AT + 2u * k)), u32(table(SHAPES_AT + 2u * k + 1u)));
    put(sqrt(found.x));
    put(sqrt(found.y));
    put(cbrt(found.z));
  }
  let inner = args.fine - 2u;
  for (var k = 0u; k < 20u; k++) {
    put(sqrt(fact(PATTERNS_AT + k) / f32(inner * inner)));
  }
  for (var k = 0u; k < 3u; k++) {
    put(fact(MOMENTS_AT + 6u + k));
  }
  for (var k = 0u; k < 3u; k++) {
    put(fact(MOMENTS_AT + 14u + 6u + k));
  }
  for (var stain = 0u; stain < 2u; stain++) {
    let at = GRADIENTS_AT + 4u * stain;
    let along = fact(at) - fact(at + 1u);
    let across = 2.0 * fact(at + 2u);
    let energy = fact(at) + fact(at + 1u) + 1e-9;
    put(sqrt(along * along + across * across) / energy);
    put(fact(at + 3u) / energy);
  }
  // A few pseudo-pixels at the threshold, so that patches without nuclei have numbers too.
  let nucleus = table(NUCLEUS_AT);
  let members = MOMENTS_AT + 9u;
  let n = fact(members) + 16.0;
  let mean = (fact(members + 1u) + 16.0 * nucleus) / n;
  put(mean);
  put(sqrt(max(0.0, (fact(members + 2u) + 16.0 * nucleus * nucleus) / n - mean * mean)));
  put(fact(members + 3u) / n);
  put(fact(members + 4u) / n);
  let pieces = shape(0u, u32(table(NUCLEUS_AT + 1u)));
  put(log10((pieces.x + 1e-3) / (max(0.0, pieces.z) + 1e-4)));
}
