/** Attention-based MIL (Ilse et al. 2018): softmax attention over the instances, plain. */
import { dropout } from '../kernels/elementwise.ts';
import { attentionPool } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import { attentionScores } from './attention.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { ModelKind } from './model.ts';

export const abmil: ModelKind = {
  shapes: ({ input, width, attention, classes }) =>
    new Map([
      ...denseShapes('feature.0', width, input),
      ...denseShapes('attention.0', attention, width),
      ...denseShapes('attention.2', 1, attention),
      ...denseShapes('classifier.0', classes.length, width),
    ]),

  create(config, parameters) {
    const feature = denseOf(parameters, 'feature.0');
    const [V, w] = [denseOf(parameters, 'attention.0'), denseOf(parameters, 'attention.2')];
    const classifier = denseOf(parameters, 'classifier.0');
    return {
      config,
      parameters: parameters.tensors,
      bytesPerInstance: 4 * (config.input + config.width + config.attention + 2),
      forward(tape, bags) {
        parameters.attach(tape);
        const instances = dropout(tape, dense(tape, bags.features, feature, 'relu'), config.dropout);
        const scores = tape.keep(attentionScores(tape, instances, V, w));
        const { attention, pooled } = attentionPool(tape, instances, scores, new Sequence(tape, bags.offsets));
        tape.done(instances);
        const logits = tape.keep(dense(tape, pooled, classifier));
        tape.keep(pooled);
        return {
          logits,
          scores,
          attention,
          pooled,
          instanceLogits: null,
          instances: tape.training ? instances : null,
        };
      },
    };
  },
};
