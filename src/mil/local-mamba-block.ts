/**
 * A Mamba block with several scans of the same tokens, each in an order of its own (LocalMamba, localmamba.md): shared
 * projections in and out, a branch of weights an order. SCAttn weighs the channels of each branch before they are summed; in a
 * search of orders, a softmax weighs the branches as wholes.
 */
import { add, multiply, transpose } from '../kernels/elementwise.ts';
import { concatRows, gatherRows, reorderColumns } from '../kernels/gather.ts';
import { type BranchWeights, mambaBranch } from '../kernels/mamba-branch.ts';
import { addMatmul, matmul } from '../kernels/matmul.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows, softmaxRows } from '../kernels/pool.ts';
import type { SegmentLength, Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { inverseOrder } from '../row-order.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';
import { type BlockDimensions, branchShapes, branchWeights } from './mamba-block.ts';

/** `search`: differentiable, to find out which orders a layer needs. */
export type BranchMerge = 'scattn' | 'search';

export interface LocalBlockWeights {
  /** (2E, d) */
  readonly inProj: Tensor;
  /** (d, E) */
  readonly outProj: Tensor;
  /** One for each order. */
  readonly branches: readonly BranchWeights[];
  /** SCAttn, shared by the branches; null in a search. */
  readonly gate: { readonly norm: Dense; readonly reduce: Dense; readonly select: Dense } | null;
  /** (branches): logits of their weights in a search; null otherwise. */
  readonly alpha: Tensor | null;
}

/** r of SCAttn. */
const REDUCTION = 8;

/** Names, after `prefix`, and shapes of the parameters, as LocalMamba's code saves them. */
export function localBlockShapes(
  prefix: string,
  branches: number,
  merge: BranchMerge,
  dimensions: BlockDimensions,
): [string, readonly number[]][] {
  const E = dimensions.width * dimensions.expand;
  const reduced = Math.max(1, Math.floor(E / REDUCTION));
  const shapes: [string, readonly number[]][] = [
    ...Array.from({ length: branches }, (_, i) => branchShapes(`_${i}`, dimensions)).flat(),
    ...(merge === 'search'
      ? ([['alpha', [branches]]] as [string, readonly number[]][])
      : [
          ...normShapes('attn.norm', E),
          ...denseShapes('attn.global_reduce', reduced, E),
          ...denseShapes('attn.channel_select', E, reduced),
        ]),
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
    gate:
      merge === 'search'
        ? null
        : {
            norm: denseOf(parameters, `${prefix}attn.norm`),
            reduce: denseOf(parameters, `${prefix}attn.global_reduce`),
            select: denseOf(parameters, `${prefix}attn.channel_select`),
          },
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

/** sum_s o_s c_s with c_s = sigmoid(W2 GELU(W1 mean_t LN(o_s))), by channel and bag. */
function gatedSum(
  tape: Tape,
  branches: readonly Tensor[],
  gate: NonNullable<LocalBlockWeights['gate']>,
  sequence: Sequence,
): Tensor {
  const bagOfRow = new Int32Array(sequence.tokens);
  for (let bag = 0; bag < sequence.bags; bag++) {
    bagOfRow.fill(bag, sequence.offsets[bag], sequence.offsets[bag + 1]);
  }
  const index = tape.constant(bagOfRow, [bagOfRow.length]);
  let sum: Tensor | null = null;
  for (const o of branches) {
    const normed = layerNorm(tape, o, gate.norm.weight, gate.norm.bias);
    const mean = poolRows(tape, normed, sequence, 'mean');
    const reduced = dense(tape, mean, gate.reduce, 'gelu');
    const channels = dense(tape, reduced, gate.select, 'sigmoid');
    const everywhere = gatherRows(tape, channels, index);
    const gated = multiply(tape, o, everywhere);
    tape.done(o, normed, mean, reduced, channels, everywhere);
    const next: Tensor = sum ? add(tape, sum, gated) : gated;
    if (sum) tape.done(sum, gated);
    sum = next;
  }
  return sum!;
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
