// dscores_t (+)= attention_t (centred_t - its weighted mean over the bag). The mean is zero but for the rounding of `pooled`;
// taking it off makes the scores' gradients add up to zero. A workgroup of LANES computes one bag. Barriers: those of the trees.
struct Args { bags: u32, accumulateScores: u32, attention_at: u32, offsets_at: u32, centred_at: u32, dscores_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> attention: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@group(0) @binding(3) var<storage, read> centred: array<f32>;
@group(0) @binding(4) var<storage, read_write> dscores: array<f32>;
//! import bags
//! import treeSum

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let bag = group.x + group.y * groups.x;
  if (bag >= args.bags) {
    return;
  }
  let rows = bag_range(bag);
  var weighted = 0.0;
  var weights = 0.0;
  for (var i = rows.x + lane; i < rows.y; i += LANES) {
    let weight = attention[args.attention_at + i];
    weighted += weight * centred[args.centred_at + i];
    weights += weight;
  }
  weighted = tree_sum(weighted, lane);
  weights = tree_sum(weights, lane);
  let mean = weighted / weights;
  for (var i = rows.x + lane; i < rows.y; i += LANES) {
    var value = attention[args.attention_at + i] * (centred[args.centred_at + i] - mean);
    if (args.accumulateScores != 0u) {
      value += dscores[args.dscores_at + i];
    }
    dscores[args.dscores_at + i] = value;
  }
}
