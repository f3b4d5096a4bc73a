/** Attention-based MIL (Ilse et al. 2018): softmax attention over the instances, plain. */
import { dropout } from '../kernels/elementwise.ts';
import { attentionModel, attentionScores } from './attention.ts';
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
    const bytesPerInstance = 4 * (config.input + config.width + config.attention + 2);
    return attentionModel({ config, bytesPerInstance }, parameters, {
      embed: (tape, features) => dropout(tape, dense(tape, features, feature, 'relu'), config.dropout),
      score: (tape, h) => ({ instances: h, scores: attentionScores(tape, h, V, w) }),
      classify: (tape, pooled) => dense(tape, pooled, classifier),
    });
  },
};
