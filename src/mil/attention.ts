/** Attention over instances, plain and gated (mambamil.md): scores, and models that are nothing else. */
import { multiply } from '../kernels/elementwise.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionPool } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { type Dense, dense } from './dense.ts';
import type { AttentionModel, AttentionParts, BagModel } from './model.ts';

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

/** Embeds the instances, pools them by attention and classifies what comes out. */
export function attentionModel(
  { config, bytesPerInstance }: Pick<BagModel, 'config' | 'bytesPerInstance'>,
  parameters: Parameters,
  parts: AttentionParts,
): AttentionModel {
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance,
    ...parts,
    forward(tape, bags) {
      parameters.attach(tape);
      const { instances, scores } = parts.score(tape, parts.embed(tape, bags.features));
      tape.keep(scores);
      const { attention, pooled } = attentionPool(tape, instances, scores, new Sequence(tape, bags.offsets));
      tape.done(instances);
      const logits = tape.keep(parts.classify(tape, pooled));
      tape.keep(pooled);
      return { logits, scores, attention, pooled, instanceLogits: null, instances: tape.training ? instances : null };
    },
  };
}
