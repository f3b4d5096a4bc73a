/** The contract of a bag model: what aggregators look like to training, evaluation and the command line. */
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';

export interface BagOutput {
  /** Bags x classes. */
  readonly logits: Tensor;
  /** Raw attention score of each instance before the softmax, in row order; null for models without attention. */
  readonly scores: Tensor | null;
  /** Attention: softmax of the scores over the instances of a bag; null likewise. */
  readonly attention: Tensor | null;
  /** Pooled slide vectors, bags x width; null likewise. */
  readonly pooled: Tensor | null;
}

/** Several bags one after another in one sequence; every bag is computed as if it were alone. */
export interface PackedBags {
  /** Rows of all bags: instances x feature width. */
  readonly features: Tensor;
  /** Row at which each bag starts, and the total at the end: `[0, 37, 74]`. */
  readonly offsets: readonly number[];
}

export interface BagModel {
  /** Parameters under PyTorch's names, in a fixed order. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Records on the tape; the same code serves inference (`tape.training` false) and training. */
  forward(tape: Tape, bags: PackedBags): BagOutput;
}
