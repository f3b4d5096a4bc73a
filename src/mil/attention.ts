/** Attention scores of instances, plain and gated (mambamil.md); `attentionPool` turns them into weights. */
import { multiply } from '../kernels/elementwise.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { type Dense, dense } from './dense.ts';

/** scores (L) = w tanh(V h), h (L, d) */
export function attentionScores(tape: Tape, h: Tensor, V: Dense, w: Dense): Tensor {
  const hidden = dense(tape, h, V, 'tanh');
  const scores = dense(tape, hidden, w);
  tape.done(hidden);
  return tape.view(scores, 0, [scores.length]);
}

/** scores (L) = w (tanh(V h) sigmoid(U h)), h (L, d) */
export function gatedAttentionScores(tape: Tape, h: Tensor, V: Dense, U: Dense, w: Dense): Tensor {
  const content = dense(tape, h, V, 'tanh');
  const gate = dense(tape, h, U, 'sigmoid');
  const hidden = multiply(tape, content, gate);
  tape.done(content, gate);
  const scores = dense(tape, hidden, w);
  tape.done(hidden);
  return tape.view(scores, 0, [scores.length]);
}
