/** Losses and their gradients: a handful of numbers, so plain scalar code in f64. */

export function crossEntropy(
  logits: usize, labels: usize, weights: usize, loss: usize, dlogits: usize, b: i32, c: i32, scale: f32,
): void {
  let totalWeight: f64 = 0.0;
  for (let i = 0; i < b; i++) totalWeight += weightOf(weights, load<i32>(labels + (<usize>i << 2)));
  let total: f64 = 0.0;
  for (let i = 0; i < b; i++) {
    const row = logits + (<usize>(i * c) << 2);
    const out = dlogits + (<usize>(i * c) << 2);
    const label = load<i32>(labels + (<usize>i << 2));
    const w = weightOf(weights, label) / totalWeight;
    let most: f64 = -Infinity;
    for (let j = 0; j < c; j++) most = max<f64>(most, <f64>load<f32>(row + (<usize>j << 2)));
    let sum: f64 = 0.0;
    for (let j = 0; j < c; j++) sum += Math.exp(<f64>load<f32>(row + (<usize>j << 2)) - most);
    total += w * (Math.log(sum) + most - <f64>load<f32>(row + (<usize>label << 2)));
    for (let j = 0; j < c; j++) {
      const q = Math.exp(<f64>load<f32>(row + (<usize>j << 2)) - most) / sum;
      store<f32>(out + (<usize>j << 2), <f32>(<f64>scale * w * (q - (j == label ? 1.0 : 0.0))));
    }
  }
  store<f32>(loss, <f32>total);
}

// @ts-ignore: decorator
@inline
function weightOf(weights: usize, label: i32): f64 {
  return weights != 0 ? <f64>load<f32>(weights + (<usize>label << 2)) : 1.0;
}

/** Logs are clamped at 1e-7 as in the spec; where a clamp holds, the gradient through it is zero. */
export function survivalLoss(
  logits: usize, bins: usize, censored: usize, loss: usize, dlogits: usize, hazards: usize, survival: usize, risk: usize,
  b: i32, c: i32, alpha: f32, scale: f32,
): void {
  let total: f64 = 0.0;
  for (let i = 0; i < b; i++) {
    const row = <usize>(i * c) << 2;
    const bin = load<i32>(bins + (<usize>i << 2));
    const cens = <f64>load<i32>(censored + (<usize>i << 2));
    let S: f64 = 1.0;
    let sum: f64 = 0.0;
    let before: f64 = 1.0;
    let at: f64 = 1.0;
    let hazard: f64 = 0.0;
    for (let j = 0; j < c; j++) {
      const h = 1.0 / (1.0 + Math.exp(-(<f64>load<f32>(logits + row + (<usize>j << 2)))));
      if (j == bin) {
        before = S;
        hazard = h;
      }
      S *= 1.0 - h;
      if (j == bin) at = S;
      sum += S;
      store<f32>(hazards + row + (<usize>j << 2), <f32>h);
      store<f32>(survival + row + (<usize>j << 2), <f32>S);
    }
    store<f32>(risk + (<usize>i << 2), <f32>-sum);
    // loss = -(1-alpha) c log S_y - (1-c) (log S_{y-1} + log h_y); d log S_j / d logit_k = -h_k for k <= j.
    const least = 1e-7;
    const wAt = (1.0 - <f64>alpha) * cens;
    const wEvent = 1.0 - cens;
    total -= wAt * Math.log(max<f64>(at, least)) + wEvent * (Math.log(max<f64>(before, least)) + Math.log(max<f64>(hazard, least)));
    for (let j = 0; j < c; j++) {
      const h = 1.0 / (1.0 + Math.exp(-(<f64>load<f32>(logits + row + (<usize>j << 2)))));
      let g: f64 = 0.0;
      if (j <= bin && at > least) g += wAt * h;
      if (j < bin && before > least) g += wEvent * h;
      if (j == bin && hazard > least) g -= wEvent * (1.0 - h);
      store<f32>(dlogits + row + (<usize>j << 2), <f32>(<f64>scale * g / <f64>b));
    }
  }
  store<f32>(loss, <f32>(total / <f64>b));
}
