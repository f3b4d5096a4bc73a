/** Layer and root-mean-square normalisation on the tape. */
import { addScaled } from './elementwise.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Rows of x (r, d): (x - mean) / sqrt(variance + eps) weight + bias, with the biased variance. */
export function layerNorm(tape: Tape, x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5): Tensor {
  const [r, d] = [x.shape[0]!, x.shape[1]!];
  const y = tape.create(x.shape, x.needsGradient || weight.needsGradient);
  const stats = tape.create([r, 2]);
  tape.run('layerNorm', [x, weight, bias, y, stats], [r, d, eps]);
  tape.record([y], [stats], () => {
    // x that needs no gradient still gets one: the kernel computes it together with those of weight and bias.
    const { view, accumulate } = tape.gradientSlot(x);
    const dweight = tape.zeroedSlot(weight);
    const dbias = tape.zeroedSlot(bias);
    tape.run('layerNormBackward', [x, weight, tape.gradientOf(y)!, stats, view, dweight, dbias], [r, d, accumulate]);
  });
  return y;
}

/** sum = x + residual (or x); y = sum / sqrt(mean(sum^2) + eps) weight. lbvim.md. */
export function rmsNorm(
  tape: Tape,
  x: Tensor,
  residual: Tensor | null,
  weight: Tensor,
  eps = 1e-5,
): { y: Tensor; sum: Tensor } {
  const [r, d] = [x.shape[0]!, x.shape[1]!];
  const needsGradient = x.needsGradient || weight.needsGradient || residual?.needsGradient === true;
  const y = tape.create(x.shape, needsGradient);
  const sum = residual ? tape.create(x.shape, needsGradient) : x;
  const rstd = tape.create([r]);
  tape.run('rmsNorm', [x, residual, weight, y, residual ? sum : null, rstd], [r, d, eps]);
  tape.record(residual ? [y, sum] : [y], [rstd], () => {
    const dweight = tape.zeroedSlot(weight);
    const dy = tape.gradientOf(y) ?? tape.zeros(y.shape);
    const first = residual ?? x;
    const { view, accumulate } = tape.gradientSlot(first);
    if (!residual) {
      tape.run('rmsNormBackward', [x, weight, dy, null, rstd, view, dweight], [r, d, accumulate]);
      return;
    }
    const dsum = tape.create([r, d]);
    tape.run('rmsNormBackward', [sum, weight, dy, tape.gradientOf(sum), rstd, dsum, dweight], [r, d, 0]);
    if (accumulate) tape.run('add', [view, dsum, view], [dsum.length, 1, 1]);
    else tape.run('add', [dsum, null, view], [dsum.length, 1, 0]);
    if (x.needsGradient) addScaled(tape, dsum, 1, x);
    tape.discard(dsum);
  });
  return { y, sum };
}
