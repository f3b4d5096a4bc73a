// Discrete-time survival, for bin y and censored c in {0, 1}: hazards = sigmoid(logits), S_k = prod_{j<=k} (1 - hazard_j),
// S_{-1} = 1, risk = -sum_k S_k, logs of at least 1e-7:
//   unc = -(1-c) (log S_{y-1} + log hazard_y), cen = -c log S_y, loss = mean over bags of (1-alpha) (cen + unc) + alpha unc
// dlogits = scale times its gradient: d log S_k / d logit_j = -hazard_j for j <= k, d log hazard_y / d logit_y = 1 - hazard_y,
// and 0 where a log is at its bound. One workgroup of 64; a thread does every 64th row. Barriers: those of the tree.
struct Args { b: u32, c: u32, alpha: f32, scale: f32, logits_at: u32, bins_at: u32, censored_at: u32, loss_at: u32, dlogits_at: u32, hazards_at: u32, survival_at: u32, risk_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> bins: array<i32>;
@group(0) @binding(3) var<storage, read> censored: array<i32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(6) var<storage, read_write> hazards: array<f32>;
@group(0) @binding(7) var<storage, read_write> survival: array<f32>;
@group(0) @binding(8) var<storage, read_write> risk: array<f32>;
//! import numbers
//! import treeSum
const LEAST: f32 = 1e-7;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var losses = 0.0;
  for (var i = lane; i < args.b; i += 64u) {
    let row = i * args.c;
    let bin = u32(bins[args.bins_at + i]);
    let is_censored = censored[args.censored_at + i] != 0;
    var alive = 1.0;
    var alive_before = 1.0;
    var alive_after = 1.0;
    var total = 0.0;
    for (var j = 0u; j < args.c; j++) {
      if (j == bin) {
        alive_before = alive;
      }
      // 1 - sigmoid(x) = sigmoid(-x) without cancellation.
      alive *= sigmoid(-logits[args.logits_at + row + j]);
      if (j == bin) {
        alive_after = alive;
      }
      total += alive;
      hazards[args.hazards_at + row + j] = sigmoid(logits[args.logits_at + row + j]);
      survival[args.survival_at + row + j] = alive;
    }
    risk[args.risk_at + i] = -total;

    let hazard = sigmoid(logits[args.logits_at + row + bin]);
    let weight = select(1.0, 1.0 - args.alpha, is_censored);
    if (is_censored) {
      losses -= weight * log(max(alive_after, LEAST));
    } else {
      losses -= log(max(alive_before, LEAST)) + log(max(hazard, LEAST));
    }
    let kept = select(alive_before, alive_after, is_censored) >= LEAST;
    for (var j = 0u; j < args.c; j++) {
      let logit = logits[args.logits_at + row + j];
      var d = 0.0;
      if (kept && (j < bin || (is_censored && j == bin))) {
        d = weight * sigmoid(logit);
      } else if (!is_censored && j == bin && hazard >= LEAST) {
        d = -sigmoid(-logit);
      }
      dlogits[args.dlogits_at + row + j] = d * args.scale / f32(args.b);
    }
  }
  losses = tree_sum(losses, lane);
  if (lane == 0u) {
    loss[args.loss_at] = losses / f32(args.b);
  }
}
