/** Mean and max pooling of instance logits: the baselines without attention. */
import { dropout } from '../kernels/elementwise.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { ModelKind, PoolingModel } from './model.ts';
import type { ModelConfig } from './model-card.ts';

/** logits = mean over the instances of Linear(ReLU(Linear x)) */
export const meanPooling: ModelKind = kindOf('mean');

/** logits = maximum over the instances, class by class */
export const maxPooling: ModelKind = kindOf('max');

function kindOf(pooling: PoolingModel['pooling']): ModelKind {
  return {
    shapes: ({ input, width, classes }) =>
      new Map([...denseShapes('head.0', width, input), ...denseShapes('head.3', classes.length, width)]),
    create: (config, parameters) => createPooling(pooling, config, parameters),
  };
}

function createPooling(pooling: PoolingModel['pooling'], config: ModelConfig, parameters: Parameters): PoolingModel {
  const hiddenLayer = denseOf(parameters, 'head.0');
  const outLayer = denseOf(parameters, 'head.3');
  const classifyInstances = (tape: Tape, features: Tensor): Tensor => {
    const hidden = dropout(tape, dense(tape, features, hiddenLayer, 'relu'), config.dropout);
    const logits = dense(tape, hidden, outLayer);
    tape.done(hidden);
    return logits;
  };
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance: 4 * (config.input + config.width + config.classes.length),
    pooling,
    classifyInstances,
    forward(tape, bags) {
      parameters.attach(tape);
      const instanceLogits = tape.keep(classifyInstances(tape, bags.features));
      const logits = tape.keep(poolRows(tape, instanceLogits, new Sequence(tape, bags.offsets), pooling));
      return { logits, scores: null, attention: null, pooled: null, instanceLogits, instances: null };
    },
  };
}
