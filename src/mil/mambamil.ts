/** MambaMIL with layers of type Mamba, LBMamba, BiMamba or SRMamba (mambamil.md). */
import { add, dropout } from '../kernels/elementwise.ts';
import { gatherRows } from '../kernels/gather.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionPool } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { inverseOrder } from '../row-order.ts';
import { attentionScores } from './attention.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';
import { type BlockOptions, type BlockWeights, blockShapes, blockWeights, mambaBlock } from './mamba-block.ts';
import type { BagModel, BagOutput, ModelKind, PackedBags } from './model.ts';
import type { MambaMilConfig } from './model-card.ts';

export interface MambaLayer {
  readonly norm: Dense;
  readonly block: BlockWeights;
  readonly reversed: boolean;
}

/** The parts of the forward pass by themselves, for `stream.ts`, which runs them on pieces of a bag. */
export interface MambaMil extends BagModel {
  readonly config: MambaMilConfig;
  readonly layers: readonly MambaLayer[];
  /** h (L, width) of features (L, input). */
  embed(tape: Tape, features: Tensor): Tensor;
  /** The last norm of h, and the attention scores of its rows. Without training, h is given back. */
  score(tape: Tape, h: Tensor): { instances: Tensor; scores: Tensor };
  /** logits (bags, classes) of pooled (bags, width) */
  classify(tape: Tape, pooled: Tensor): Tensor;
}

export const mambaMil: ModelKind = {
  shapes(config) {
    const { input, width, attention, classes, layers, type, ...dimensions } = config as MambaMilConfig;
    const shapes = new Map<string, readonly number[]>(denseShapes('_fc1.0', width, input));
    const add = (entries: [string, readonly number[]][]) => {
      for (const [name, shape] of entries) shapes.set(name, shape);
    };
    for (let i = 0; i < layers; i++) {
      add(normShapes(`layers.${i}.0`, width));
      add(blockShapes(`layers.${i}.1.`, type, { width, ...dimensions }));
    }
    add(normShapes('norm', width));
    add(denseShapes('attention.0', attention, width));
    add(denseShapes('attention.2', 1, attention));
    add(denseShapes('classifier', classes.length, width));
    return shapes;
  },
  create: (config, parameters) => createMambaMil(config as MambaMilConfig, parameters),
};

export function createMambaMil(config: MambaMilConfig, parameters: Parameters): MambaMil {
  const { type, K, rate, width, expand, input } = config;
  const layers = Array.from(
    { length: config.layers },
    (_, i): MambaLayer => ({
      norm: denseOf(parameters, `layers.${i}.0`),
      block: blockWeights(parameters, `layers.${i}.1.`, type),
      reversed: config.flip === 'alternate' && i % 2 === 1,
    }),
  );
  const first = denseOf(parameters, '_fc1.0');
  const norm = denseOf(parameters, 'norm');
  const [V, w] = [denseOf(parameters, 'attention.0'), denseOf(parameters, 'attention.2')];
  const classifier = denseOf(parameters, 'classifier');

  const embed = (tape: Tape, features: Tensor): Tensor =>
    dropout(tape, dense(tape, features, first, config.activation), config.dropout);

  const score = (tape: Tape, h: Tensor) => {
    const instances = layerNorm(tape, h, norm.weight, norm.bias);
    tape.done(h);
    return { instances, scores: attentionScores(tape, instances, V, w) };
  };

  const classify = (tape: Tape, pooled: Tensor): Tensor => dense(tape, pooled, classifier);

  const forward = (tape: Tape, bags: PackedBags): BagOutput => {
    parameters.attach(tape);
    const sequence = new Sequence(tape, bags.offsets);
    let h = embed(tape, bags.features);
    for (const [i, { norm, block, reversed }] of layers.entries()) {
      const before = h;
      const shuffle = bags.shuffles?.[i] ?? null;
      h = tape.checkpoint([before], () => {
        const x = layerNorm(tape, before, norm.weight, norm.bias);
        const options = { type, K, rate, reversed };
        const after = shuffle
          ? shuffledBlock(tape, x, before, block, sequence, options, shuffle)
          : mambaBlock(tape, x, before, block, sequence, options);
        tape.done(x);
        return after;
      });
    }
    const { instances, scores } = score(tape, h);
    const { attention, pooled } = attentionPool(tape, instances, scores, sequence);
    tape.done(instances);
    return {
      logits: tape.keep(classify(tape, pooled)),
      scores: tape.keep(scores),
      attention,
      pooled: tape.keep(pooled),
      instanceLogits: null,
      instances: tape.training ? instances : null,
    };
  };

  // At the peak: features, h, and of the block (E, L) six times: xz (twice), u, delta, y, and one to spare; then rows of x_proj.
  const bytesPerInstance = 4 * (input + 2 * width + 6 * width * expand + Math.ceil(width / 16) + 2 * config.state);
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance,
    layers,
    embed,
    score,
    classify,
    forward,
  };
}

/** residual + the block of x with its rows in another order, which is undone afterwards. */
function shuffledBlock(
  tape: Tape,
  x: Tensor,
  residual: Tensor,
  block: BlockWeights,
  sequence: Sequence,
  options: BlockOptions,
  order: Int32Array,
): Tensor {
  const index = (rows: Int32Array) => tape.constant(rows, [rows.length]);
  const read = gatherRows(tape, x, index(order));
  const after = mambaBlock(tape, read, null, block, sequence, options);
  tape.done(read);
  const back = gatherRows(tape, after, index(inverseOrder(order)));
  tape.done(after);
  const sum = add(tape, residual, back);
  tape.done(residual, back);
  return sum;
}
