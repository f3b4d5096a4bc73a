/**
 * A Mamba block with several scans of the same tokens, each in an order of its own (LocalMamba, localmamba.md): shared
 * projections in and out, a branch of weights an order. SCAttn weighs the channels of each branch, and its tokens if wanted,
 * before they are summed; in a search of orders, a softmax weighs the branches as wholes.
 */
import { transpose } from '../kernels/elementwise.ts';
import { concatRows, gatherRows, reorderColumns } from '../kernels/gather.ts';
import { type BranchWeights, mambaBranch } from '../kernels/mamba-branch.ts';
import { addMatmul, matmul } from '../kernels/matmul.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { softmaxRows } from '../kernels/pool.ts';
import type { SegmentLength, Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { inverseOrder } from '../row-order.ts';
import { type BlockDimensions, branchShapes, branchWeights } from './mamba-block.ts';
import { gatedSum, type ScAttn, scAttnOf, scAttnShapes } from './scattn.ts';

/** SCAttn by channel, or by channel and token; `search`: differentiable, to find out which orders a layer needs. */
export const branchMerges = ['scattn', 'scattn-token', 'search'] as const;
export type BranchMerge = (typeof branchMerges)[number];

export interface LocalBlockWeights {
  /** (2E, d) */
  readonly inProj: Tensor;
  /** (d, E) */
  readonly outProj: Tensor;
  /** One for each order. */
  readonly branches: readonly BranchWeights[];
  /** SCAttn, shared by the branches; null in a search. */
  readonly gate: ScAttn | null;
  /** (branches): logits of their weights in a search; null otherwise. */
  readonly alpha: Tensor | null;
}

/** Names, after `prefix`, and shapes of the parameters, as LocalMamba's code saves them. */
export function localBlockShapes(
  prefix: string,
  branches: number,
  merge: BranchMerge,
  dimensions: BlockDimensions,
): [string, readonly number[]][] {
  const E = dimensions.width * dimensions.expand;
  const shapes: [string, readonly number[]][] = [
    ...Array.from({ length: branches }, (_, i) => branchShapes(`_${i}`, dimensions)).flat(),
    ...(merge === 'search'
      ? ([['alpha', [branches]]] as [string, readonly number[]][])
      : scAttnShapes(E, merge === 'scattn-token')),
    ['in_proj.weight', [2 * E, dimensions.width]],
    ['out_proj.weight', [dimensions.width, E]],
  ];
  return shapes.map(([name, shape]) => [prefix + name, shape]);
}

export function localBlockWeights(
  parameters: Parameters,
  prefix: string,
  branches: number,
  merge: BranchMerge,
): LocalBlockWeights {
  return {
    inProj: parameters.get(`${prefix}in_proj.weight`),
    outProj: parameters.get(`${prefix}out_proj.weight`),
    branches: Array.from({ length: branches }, (_, i) => branchWeights(parameters, prefix, `_${i}`)),
    gate: merge === 'search' ? null : scAttnOf(parameters, prefix, merge === 'scattn-token'),
    alpha: merge === 'search' ? parameters.get(`${prefix}alpha`) : null,
  };
}

export interface LocalBlockOptions {
  readonly K: SegmentLength;
  readonly reversed: boolean;
}

/** residual (L, d) + the block of x (L, d). @param orders for each branch a permutation of the rows, within their bags. */
export function localMambaBlock(
  tape: Tape,
  x: Tensor,
  residual: Tensor,
  w: LocalBlockWeights,
  sequence: Sequence,
  orders: readonly Int32Array[],
  options: LocalBlockOptions,
): Tensor {
  const xz = matmul(tape, w.inProj, x, { transB: true });
  const branches = w.branches.map((weights, i) => {
    const read = reorderColumns(tape, xz, orders[i]!);
    const y = mambaBranch(tape, read, weights, sequence, options);
    tape.done(read);
    return inRowOrder(tape, y, orders[i]!);
  });
  tape.done(xz);
  const y = w.alpha ? weighted(tape, branches, w.alpha) : gatedSum(tape, branches, w.gate!, sequence);
  const sum = addMatmul(tape, residual, y, w.outProj, { transB: true });
  tape.done(y);
  return sum;
}

/** (L, E) in the order of the rows of y (E, L) in the order of a scan. */
function inRowOrder(tape: Tape, y: Tensor, order: Int32Array): Tensor {
  const rows = transpose(tape, y);
  tape.done(y);
  const back = gatherRows(tape, rows, tape.constant(inverseOrder(order), [order.length]));
  tape.done(rows);
  return back;
}

/** sum_s softmax(alpha)_s LN(o_s): without the norm, which has no parameters, alpha would compete with the size of a branch. */
function weighted(tape: Tape, branches: readonly Tensor[], alpha: Tensor): Tensor {
  const [L, E] = branches[0]!.shape as [number, number];
  const ones = tape.constant(new Float32Array(E).fill(1), [E]);
  const zeros = tape.zeros([E]);
  const flat = branches.map((o) => tape.view(layerNorm(tape, o, ones, zeros), 0, [1, L * E]));
  const stacked = concatRows(tape, flat);
  tape.done(...branches, ...flat);
  const shares = softmaxRows(tape, tape.view(alpha, 0, [1, alpha.length]));
  const sum = matmul(tape, shares, stacked);
  tape.done(stacked, shares);
  return tape.view(sum, 0, [L, E]);
}
