// loss = sum_i w_i CE_i / sum_i w_i, w_i = weights[label_i] or 1; dlogits (b, c) = scale w_i (softmax - one-hot) / sum w.
// One workgroup of 64; a thread does every 64th row. Barriers: those of the two trees.
struct Args { b: u32, c: u32, scale: f32, logits_at: u32, labels_at: u32, weights_at: u32, loss_at: u32, dlogits_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
const has_weights: bool = true;
//! import numbers
//! import treeSum

fn weight(label: u32) -> f32 {
  if (has_weights) {
    return weights[args.weights_at + label];
  }
  return 1.0;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < args.b; i += 64u) {
    sum += weight(u32(labels[args.labels_at + i]));
  }
  let weights_sum = tree_sum(sum, lane);
  var losses = 0.0;
  for (var i = lane; i < args.b; i += 64u) {
    let label = u32(labels[args.labels_at + i]);
    let row = args.logits_at + i * args.c;
    var highest = logits[row];
    var top = 0u;
    for (var j = 1u; j < args.c; j++) {
      if (logits[row + j] > highest) {
        highest = logits[row + j];
        top = j;
      }
    }
    // 1 + others: kept apart, because the loss of a sure and right answer is about `others`.
    var others = 0.0;
    for (var j = 0u; j < args.c; j++) {
      if (j != top) {
        others += exp(logits[row + j] - highest);
      }
    }
    let share = weight(label) / weights_sum;
    var log_sum = log(1.0 + others);
    if (others <= 1.0) {
      log_sum = log1p_unit(others);
    }
    losses += share * (highest - logits[row + label] + log_sum);
    for (var j = 0u; j < args.c; j++) {
      var p = exp(logits[row + j] - highest) / (1.0 + others);
      if (j == label) {
        // p - 1 without cancellation when j is the top.
        p = select(p - 1.0, -others / (1.0 + others), j == top);
      }
      dlogits[args.dlogits_at + i * args.c + j] = args.scale * share * p;
    }
  }
  losses = tree_sum(losses, lane);
  if (lane == 0u) {
    loss[args.loss_at] = losses;
  }
}
