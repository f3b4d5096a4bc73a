/** The contract of a bag model: what aggregators look like to training, evaluation and the command line. */
import { UserError } from '../errors.ts';
import type { Parameters } from '../kernels/parameters.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import type { ModelConfig } from './model-card.ts';

export interface BagOutput {
  /** Bags x classes. */
  readonly logits: Tensor;
  /** Raw attention score of each instance before the softmax, in row order; null for models without attention. */
  readonly scores: Tensor | null;
  /** Attention: softmax of the scores over the instances of a bag, in row order (instances x classes if it differs by class); null likewise. */
  readonly attention: Tensor | null;
  /** Pooled slide vectors, bags x width; null likewise. */
  readonly pooled: Tensor | null;
  /** Logits of single instances, instances x classes; null for models that do not make them. */
  readonly instanceLogits: Tensor | null;
  /** While training: the instance vectors that were pooled, instances x width; null otherwise. */
  readonly instances: Tensor | null;
}

/** Several bags one after another in one sequence; every bag is computed as if it were alone. */
export interface PackedBags {
  /** Rows of all bags: instances x feature width. */
  readonly features: Tensor;
  /** Row at which each bag starts, and the total at the end: `[0, 37, 74]`. */
  readonly offsets: readonly number[];
  /** Rows x 2: row and column of each instance on its slide's grid, for models that scan it in orders of their own. */
  readonly cells?: Int32Array | null;
  /**
   * While training, stochastic layer-wise shuffle: for each layer the order in which it reads the rows, which stay within
   * their bags, or null for the order as it is. Models without layers of a scan ignore it.
   */
  readonly shuffles?: readonly (Int32Array | null)[];
}

/**
 * A bag without rows has no logits: whatever came of it would be another bag's, or none.
 *
 * @throws UserError `empty-bag` naming the bag, counted from one.
 */
export function requireBags(offsets: readonly number[]): void {
  for (let bag = 1; bag < offsets.length; bag++) {
    const [first, end] = [offsets[bag - 1]!, offsets[bag]!];
    if (end > first) continue;
    const problem = `Bag ${bag} of ${offsets.length - 1} has no patches (rows ${first} to ${end}).`;
    throw new UserError('empty-bag', problem, 'Leave it out, or check the tissue mask of its slide.');
  }
}

export interface LossOptions {
  /** One weight a class; null: all alike. */
  readonly classWeights?: Tensor | null;
  /** Multiplies the gradient (accumulation over steps). */
  readonly scale?: number;
}

export interface BagModel {
  readonly config: ModelConfig;
  /** Parameters under PyTorch's names, in a fixed order. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Device memory at the peak of `forward` in inference, for each instance, its features included. */
  readonly bytesPerInstance: number;
  /** Records on the tape; the same code serves inference (`tape.training` false) and training. */
  forward(tape: Tape, bags: PackedBags): BagOutput;
  /** The model's own training loss, where it is more than the cross-entropy of its logits. Leaves gradients on the tape as `crossEntropy` does. */
  loss?(tape: Tape, bags: PackedBags, output: BagOutput, labels: readonly number[], options: LossOptions): Tensor;
}

/** A model with one attention over the instances, which pools them to one vector. */
export interface AttentionModel extends BagModel, AttentionParts {}

/** The parts of its forward pass by themselves, for `stream.ts`, which runs them on pieces of a bag. */
export interface AttentionParts {
  /** h (L, width) of features (L, input). */
  embed(tape: Tape, features: Tensor): Tensor;
  /** What is pooled, of h, and the attention scores of its rows. Without training, an h that is not pooled itself is given back. */
  score(tape: Tape, h: Tensor): { instances: Tensor; scores: Tensor };
  /** logits (bags, classes) of pooled (bags, width) */
  classify(tape: Tape, pooled: Tensor): Tensor;
}

/** A model that pools the logits of the instances. */
export interface PoolingModel extends BagModel {
  readonly pooling: 'mean' | 'max';
  /** logits (L, classes) of features (L, input) */
  classifyInstances(tape: Tape, features: Tensor): Tensor;
}

/** A kind of bag model: what it has to learn, and how it is made. */
export interface ModelKind {
  /** Names, as PyTorch saves them, and shapes of the parameters. */
  shapes(config: ModelConfig): Map<string, readonly number[]>;
  create(config: ModelConfig, parameters: Parameters): BagModel;
}
