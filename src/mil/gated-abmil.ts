/** Attention-based MIL with gated attention (Ilse et al. 2018). */
import { dropout } from '../kernels/elementwise.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionModel, gatedAttentionScores } from './attention.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { AttentionModel, ModelKind } from './model.ts';
import type { ModelConfig } from './model-card.ts';

/** What the layers of a gated attention model are called in its checkpoints. */
export interface GatedNames {
  readonly feature: string;
  readonly V: string;
  readonly U: string;
  readonly w: string;
  readonly classifier: string;
}

const names: GatedNames = {
  feature: 'feature.0',
  V: 'attention_V.0',
  U: 'attention_U.0',
  w: 'attention_weights',
  classifier: 'classifier.0',
};

export const gatedAbmil: ModelKind = {
  shapes: (config) => gatedShapes(config, names),
  create: (config, parameters) => createGated(config, parameters, names),
};

export function gatedShapes(config: ModelConfig, names: GatedNames): Map<string, readonly number[]> {
  const { input, width, attention, classes } = config;
  return new Map([
    ...denseShapes(names.feature, width, input),
    ...denseShapes(names.V, attention, width),
    ...denseShapes(names.U, attention, width),
    ...denseShapes(names.w, 1, attention),
    ...denseShapes(names.classifier, classes.length, width),
  ]);
}

export function createGated(config: ModelConfig, parameters: Parameters, names: GatedNames): AttentionModel {
  const feature = denseOf(parameters, names.feature);
  const [V, U, w] = [denseOf(parameters, names.V), denseOf(parameters, names.U), denseOf(parameters, names.w)];
  const classifier = denseOf(parameters, names.classifier);
  const bytesPerInstance = 4 * (config.input + config.width + 3 * config.attention + 2);
  return attentionModel({ config, bytesPerInstance }, parameters, {
    embed: (tape, features) => dropout(tape, dense(tape, features, feature, 'relu'), config.dropout),
    score: (tape, h) => ({ instances: h, scores: gatedAttentionScores(tape, h, V, U, w) }),
    classify: (tape, pooled) => dense(tape, pooled, classifier),
  });
}
