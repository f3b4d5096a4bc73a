/** Attention-based MIL with gated attention (Ilse et al. 2018). */
import { dropout } from '../kernels/elementwise.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionPool } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import { gatedAttentionScores } from './attention.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { BagModel, ModelKind } from './model.ts';
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

export function createGated(config: ModelConfig, parameters: Parameters, names: GatedNames): BagModel {
  const feature = denseOf(parameters, names.feature);
  const [V, U, w] = [denseOf(parameters, names.V), denseOf(parameters, names.U), denseOf(parameters, names.w)];
  const classifier = denseOf(parameters, names.classifier);
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance: 4 * (config.input + config.width + 3 * config.attention + 2),
    forward(tape, bags) {
      parameters.attach(tape);
      const instances = dropout(tape, dense(tape, bags.features, feature, 'relu'), config.dropout);
      const scores = tape.keep(gatedAttentionScores(tape, instances, V, U, w));
      const { attention, pooled } = attentionPool(tape, instances, scores, new Sequence(tape, bags.offsets));
      tape.done(instances);
      const logits = tape.keep(dense(tape, pooled, classifier));
      tape.keep(pooled);
      return { logits, scores, attention, pooled, instanceLogits: null, instances: tape.training ? instances : null };
    },
  };
}
