/**
 * DSMIL (Li et al. 2021): an instance classifier picks the critical instance of each class; the others are attended to by
 * their likeness to it.
 */
import { add, dropout, scale } from '../kernels/elementwise.ts';
import { concatRows, gatherRows } from '../kernels/gather.ts';
import { crossEntropy } from '../kernels/loss.ts';
import { matmul } from '../kernels/matmul.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows, softmaxRows } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { dense, denseOf, denseShapes } from './dense.ts';
import type { BagModel, ModelKind } from './model.ts';
import type { ModelConfig } from './model-card.ts';

export const dsmil: ModelKind = {
  shapes: ({ input, attention, classes }) =>
    new Map([
      ...denseShapes('i_classifier.fc.0', classes.length, input),
      ...denseShapes('b_classifier.q.0', attention, input),
      ...denseShapes('b_classifier.q.2', attention, attention),
      ...denseShapes('b_classifier.v.1', input, input),
      ['b_classifier.fcc.weight', [classes.length, classes.length, input]],
      ['b_classifier.fcc.bias', [classes.length]],
    ]),
  create: createDsmil,
};

function createDsmil(config: ModelConfig, parameters: Parameters): BagModel {
  const { input, attention: queryWidth } = config;
  const classes = config.classes.length;
  const classifier = denseOf(parameters, 'i_classifier.fc.0');
  const [q0, q2] = [denseOf(parameters, 'b_classifier.q.0'), denseOf(parameters, 'b_classifier.q.2')];
  const value = denseOf(parameters, 'b_classifier.v.1');
  const fcc = denseOf(parameters, 'b_classifier.fcc');

  const queries = (tape: Tape, x: Tensor): Tensor => {
    const hidden = dense(tape, x, q0, 'relu');
    const q = dense(tape, hidden, q2, 'tanh');
    tape.done(hidden);
    return q;
  };

  /** attention (classes, n) and pooled (1, classes * input) of one bag */
  const aggregate = (tape: Tape, x: Tensor, logits: Tensor): { attention: Tensor; pooled: Tensor } => {
    const critical = queries(tape, gatherRows(tape, x, criticalInstances(tape, logits)));
    const Q = queries(tape, x);
    const likeness = matmul(tape, scale(tape, critical, 1 / Math.sqrt(queryWidth)), Q, { transB: true });
    tape.done(Q);
    const attention = softmaxRows(tape, likeness);
    tape.done(likeness);
    const V = dense(tape, dropout(tape, x, config.dropout), value, 'relu');
    const pooled = matmul(tape, attention, V);
    tape.done(V);
    return { attention, pooled: tape.view(pooled, 0, [1, classes * input]) };
  };

  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance: 4 * (2 * input + 2 * queryWidth + 4 * classes),
    forward(tape, bags) {
      parameters.attach(tape);
      const instanceLogits = dense(tape, bags.features, classifier);
      const pools = bags.offsets.slice(1).map((end, bag) => {
        const first = bags.offsets[bag]!;
        const rows = (t: Tensor, width: number) => tape.view(t, first * width, [end - first, width]);
        return aggregate(tape, rows(bags.features, input), rows(instanceLogits, classes));
      });
      const pooled = concatRows(
        tape,
        pools.map((pool) => pool.pooled),
      );
      const weight = tape.view(fcc.weight, 0, [classes, classes * input]);
      const logits = tape.keep(dense(tape, pooled, { weight, bias: fcc.bias }));
      const attention = tape.create([bags.offsets.at(-1)!, classes]);
      pools.forEach((pool, bag) => {
        const [first, end] = [bags.offsets[bag]!, bags.offsets[bag + 1]!];
        const rows = tensor(attention.storage, first * classes, [end - first, classes]);
        tape.run('transpose', [pool.attention, rows], [classes, end - first]);
      });
      tape.keep(instanceLogits);
      return {
        logits,
        scores: null,
        attention: tape.keep(attention),
        pooled: tape.keep(pooled),
        instanceLogits,
        instances: null,
      };
    },
    /** Half the loss of the bag's logits, half that of the strongest instance logits. */
    loss(tape, bags, output, labels, { classWeights = null, scale: factor = 1 }) {
      const strongest = poolRows(tape, output.instanceLogits!, new Sequence(tape, bags.offsets), 'max');
      const [bagLoss, instanceLoss] = [output.logits, strongest].map((logits) =>
        crossEntropy(tape, logits, labels, classWeights, factor / 2),
      ) as [Tensor, Tensor];
      return tape.keep(add(tape, bagLoss, instanceLoss, 0.5, 0.5));
    },
  };
}

/** For each class the index of the instance with the highest logit, of logits (n, classes). */
function criticalInstances(tape: Tape, logits: Tensor): Tensor {
  const [n, classes] = [logits.shape[0]!, logits.shape[1]!];
  const byClass = tape.create([classes, n]);
  const index = tape.create([classes]);
  tape.run('transpose', [logits, byClass], [n, classes]);
  tape.run('argmaxRows', [byClass, index], [classes, n]);
  tape.discard(byClass);
  return index;
}
