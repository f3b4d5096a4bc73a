// Softmax weights of a further piece of a bag. state = running maximum, sum of weights, weighted sum of h (d).
// weights (L + 1) = exp(score - new maximum), and last the factor that brings the old sums to the new maximum.
// One workgroup of LANES. Barriers: those of the two trees (the old maximum is read before the first, replaced after).
struct Args { L: u32, scores_at: u32, state_at: u32, weights_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
//! import treeSum

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let before = state[args.state_at];
  var highest = before;
  for (var i = lane; i < args.L; i += LANES) {
    highest = max(highest, scores[args.scores_at + i]);
  }
  highest = tree_max(highest, lane);
  var sum = 0.0;
  for (var i = lane; i < args.L; i += LANES) {
    let weight = exp(scores[args.scores_at + i] - highest);
    weights[args.weights_at + i] = weight;
    sum += weight;
  }
  sum = tree_sum(sum, lane);
  if (lane == 0u) {
    let factor = exp(before - highest);
    weights[args.weights_at + args.L] = factor;
    state[args.state_at] = highest;
    state[args.state_at + 1u] = state[args.state_at + 1u] * factor + sum;
  }
}
