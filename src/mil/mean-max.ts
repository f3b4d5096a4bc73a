/** Mean and max pooling of instance logits: the baselines without attention. */
import { dropout } from '../kernels/elementwise.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { BagModel, ModelKind } from './model.ts';
import type { ModelConfig } from './model-card.ts';

/** logits = mean over the instances of Linear(ReLU(Linear x)) */
export const meanPooling: ModelKind = pooling('mean');

/** logits = maximum over the instances, class by class */
export const maxPooling: ModelKind = pooling('max');

function pooling(kind: 'mean' | 'max'): ModelKind {
  return {
    shapes: ({ input, width, classes }) =>
      new Map([...denseShapes('head.0', width, input), ...denseShapes('head.3', classes.length, width)]),
    create: (config, parameters) => createPooling(kind, config, parameters),
  };
}

function createPooling(kind: 'mean' | 'max', config: ModelConfig, parameters: Parameters): BagModel {
  const hiddenLayer = denseOf(parameters, 'head.0');
  const outLayer = denseOf(parameters, 'head.3');
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance: 4 * (config.input + config.width + config.classes.length),
    forward(tape, bags) {
      parameters.attach(tape);
      const hidden = dropout(tape, dense(tape, bags.features, hiddenLayer, 'relu'), config.dropout);
      const instanceLogits = dense(tape, hidden, outLayer);
      tape.done(hidden);
      const logits = tape.keep(poolRows(tape, instanceLogits, new Sequence(tape, bags.offsets), kind));
      tape.keep(instanceLogits);
      return { logits, scores: null, attention: null, pooled: null, instanceLogits, instances: null };
    },
  };
}
