/** From the instances of a bag to one vector: attention, mean and maximum. mambamil.md. */
import type { Sequence } from './sequence.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** attention (L) = softmax of scores (L) inside each bag; pooled (bags, d) = its weighted mean of h (L, d). */
export function attentionPool(
  tape: Tape,
  h: Tensor,
  scores: Tensor,
  sequence: Sequence,
): { attention: Tensor; pooled: Tensor } {
  const [L, d] = [h.shape[0]!, h.shape[1]!];
  const offsets = sequence.offsetsOnDevice;
  const attention = tape.create([L]);
  const pooled = tape.create([sequence.bags, d], h.needsGradient || scores.needsGradient);
  tape.run('attentionPool', [h, scores, offsets, attention, pooled], [L, d, sequence.bags]);
  tape.keep(attention);
  tape.record([pooled], [], () => {
    const dh = tape.gradientSlot(h);
    const dscores = tape.gradientSlot(scores);
    tape.run(
      'attentionPoolBackward',
      [h, attention, offsets, pooled, tape.gradientOf(pooled)!, dh.view, dscores.view],
      [L, d, sequence.bags, dh.accumulate, dscores.accumulate],
    );
  });
  return { attention, pooled };
}

/** y (bags, c): mean or element-wise maximum over the rows x (L, c) of each bag. */
export function poolRows(tape: Tape, x: Tensor, sequence: Sequence, kind: 'mean' | 'max'): Tensor {
  const [L, c] = [x.shape[0]!, x.shape[1]!];
  const params = [L, c, sequence.bags, kind === 'mean' ? 0 : 1];
  const offsets = sequence.offsetsOnDevice;
  const y = tape.create([sequence.bags, c], x.needsGradient);
  const rows = kind === 'max' ? tape.create(y.shape) : null;
  tape.run('poolRows', [x, offsets, y, rows], params);
  tape.record([y], rows ? [rows] : [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    tape.run('poolRowsBackward', [tape.gradientOf(y)!, offsets, rows, view], [...params, accumulate]);
  });
  return y;
}

/** Softmax of each row of x (r, c). */
export function softmaxRows(tape: Tape, x: Tensor): Tensor {
  const params = [x.shape[0]!, x.shape[1]!];
  const y = tape.create(x.shape, x.needsGradient);
  tape.run('softmaxRows', [x, y], params);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    tape.run('softmaxRowsBackward', [y, tape.gradientOf(y)!, view], [...params, accumulate]);
  });
  return y;
}
