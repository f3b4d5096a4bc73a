// attention (L) = softmax of scores (L) within each bag. A workgroup of LANES computes one bag: maximum, sum of
// exponentials, quotient. Barriers: those of the two trees.
struct Args { bags: u32, scores_at: u32, offsets_at: u32, attention_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@group(0) @binding(3) var<storage, read_write> attention: array<f32>;
//! import bags
//! import treeSum

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let bag = group.x + group.y * groups.x;
  if (bag >= args.bags) {
    return;
  }
  let rows = bag_range(bag);
  var highest = -3.4e38;
  for (var i = rows.x + lane; i < rows.y; i += LANES) {
    highest = max(highest, scores[args.scores_at + i]);
  }
  highest = tree_max(highest, lane);
  var sum = 0.0;
  for (var i = rows.x + lane; i < rows.y; i += LANES) {
    sum += exp(scores[args.scores_at + i] - highest);
  }
  sum = tree_sum(sum, lane);
  for (var i = rows.x + lane; i < rows.y; i += LANES) {
    attention[args.attention_at + i] = exp(scores[args.scores_at + i] - highest) / sum;
  }
}
