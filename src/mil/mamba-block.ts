/**
 * The Mamba block and its variants (mamba-block.md): token-major (L, d) in and out, channel-major (E, L) inside.
 *
 * `mamba` scans forwards, `lbmamba` adds the local backward scan of segments of K, `bimamba` a second branch over the
 * reversed tokens, `srmamba` a second branch over the strided reordering. Packed bags are computed each as if alone.
 */
import { add } from '../kernels/elementwise.ts';
import { inverseOf, reorderColumns } from '../kernels/gather.ts';
import { type BranchCarry, type BranchWeights, mambaBranch } from '../kernels/mamba-branch.ts';
import { addMatmul, matmul } from '../kernels/matmul.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { type SegmentLength, Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { stridedOrder } from '../row-order.ts';

export const blockTypes = ['mamba', 'lbmamba', 'bimamba', 'srmamba'] as const;
export type BlockType = (typeof blockTypes)[number];

export interface BlockDimensions {
  /** d: features of a token outside the block; inside it has `expand` times as many, E. */
  readonly width: number;
  /** N: states per channel. */
  readonly state: number;
  /** W: length of the causal convolution. */
  readonly conv: number;
  readonly expand: number;
}

export interface BlockWeights {
  /** (2E, d) */
  readonly inProj: Tensor;
  /** (d, E) */
  readonly outProj: Tensor;
  readonly branch: BranchWeights;
  /** The branch over the second order of tokens: `bimamba` and `srmamba`. */
  readonly second: BranchWeights | null;
}

export interface BlockOptions {
  readonly type: BlockType;
  /** Segment length of `lbmamba`. */
  readonly K: SegmentLength;
  /** Stride of `srmamba`. */
  readonly rate: number;
  /** Reads every bag from its end to its start: `mamba` and `lbmamba`. */
  readonly reversed?: boolean;
}

function hasSecondBranch(type: BlockType): boolean {
  return type === 'bimamba' || type === 'srmamba';
}

/** Names and shapes of one branch's parameters; the suffix tells branches of a block apart. */
export function branchShapes(suffix: string, dimensions: BlockDimensions): [string, readonly number[]][] {
  const { width, state: N, conv: W } = dimensions;
  const E = width * dimensions.expand;
  const R = Math.ceil(width / 16);
  return [
    [decayName(suffix), [E, N]],
    [`D${suffix}`, [E]],
    [`conv1d${suffix}.weight`, [E, 1, W]],
    [`conv1d${suffix}.bias`, [E]],
    [`x_proj${suffix}.weight`, [R + 2 * N, E]],
    [`dt_proj${suffix}.weight`, [E, R]],
    [`dt_proj${suffix}.bias`, [E]],
  ];
}

export function branchWeights(parameters: Parameters, prefix: string, suffix: string): BranchWeights {
  const get = (name: string) => parameters.get(prefix + name);
  return {
    convWeight: get(`conv1d${suffix}.weight`),
    convBias: get(`conv1d${suffix}.bias`),
    xProj: get(`x_proj${suffix}.weight`),
    dtProj: get(`dt_proj${suffix}.weight`),
    dtBias: get(`dt_proj${suffix}.bias`),
    ALog: get(decayName(suffix)),
    D: get(`D${suffix}`),
  };
}

/** The original's second branch is `_b`, and its name of A differs. */
function decayName(suffix: string): string {
  return suffix === '_b' ? 'A_b_log' : `A_log${suffix}`;
}

/** Names, after `prefix`, and shapes of a block's parameters, as PyTorch saves them. */
export function blockShapes(
  prefix: string,
  type: BlockType,
  dimensions: BlockDimensions,
): [string, readonly number[]][] {
  const E = dimensions.width * dimensions.expand;
  const shapes: [string, readonly number[]][] = [
    ...branchShapes('', dimensions),
    ...(hasSecondBranch(type) ? branchShapes('_b', dimensions) : []),
    ['in_proj.weight', [2 * E, dimensions.width]],
    ['out_proj.weight', [dimensions.width, E]],
  ];
  return shapes.map(([name, shape]) => [prefix + name, shape]);
}

export function blockWeights(parameters: Parameters, prefix: string, type: BlockType): BlockWeights {
  return {
    inProj: parameters.get(`${prefix}in_proj.weight`),
    outProj: parameters.get(`${prefix}out_proj.weight`),
    branch: branchWeights(parameters, prefix, ''),
    second: hasSecondBranch(type) ? branchWeights(parameters, prefix, '_b') : null,
  };
}

/** residual (L, d) + the block of x (L, d). Where nothing is recorded the sum may be written over the residual. */
export function mambaBlock(
  tape: Tape,
  x: Tensor,
  residual: Tensor | null,
  w: BlockWeights,
  sequence: Sequence,
  options: BlockOptions,
): Tensor {
  const { type, rate, reversed = false } = options;
  const xz = matmul(tape, w.inProj, x, { transB: true, passing: true });
  let y = mambaBranch(tape, xz, w.branch, sequence, { K: type === 'lbmamba' ? options.K : 0, reversed });
  if (w.second) {
    const back =
      type === 'bimamba'
        ? mambaBranch(tape, xz, w.second, sequence, { K: 0, reversed: true })
        : stridedBranch(tape, xz, w.second, sequence, rate);
    const sum = add(tape, y, back);
    tape.done(y, back);
    y = sum;
  }
  tape.done(xz);
  const out = project(tape, y, residual, w.outProj);
  tape.done(y);
  return out;
}

function project(tape: Tape, y: Tensor, residual: Tensor | null, outProj: Tensor): Tensor {
  const options = { transA: true, transB: true };
  return residual ? addMatmul(tape, residual, y, outProj, options) : matmul(tape, y, outProj, options);
}

/** The second branch of `srmamba`. The padding is zero in xz, but not after the convolution: it changes the state. */
function stridedBranch(tape: Tape, xz: Tensor, w: BranchWeights, sequence: Sequence, rate: number): Tensor {
  const order: number[] = [];
  const offsets = [0];
  for (let bag = 0; bag < sequence.bags; bag++) {
    const start = sequence.offsets[bag]!;
    const tokens = sequence.offsets[bag + 1]! - start;
    for (const position of stridedOrder(tokens, rate)) order.push(position < tokens ? start + position : -1);
    offsets.push(order.length);
  }
  const index = Int32Array.from(order);
  const strided = reorderColumns(tape, xz, index);
  const y = mambaBranch(tape, strided, w, new Sequence(tape, offsets), { K: 0 });
  tape.done(strided);
  const back = reorderColumns(tape, y, inverseOf(index, sequence.tokens));
  tape.done(y);
  return back;
}

export interface PieceOptions {
  readonly K: SegmentLength;
  readonly reversed: boolean;
  readonly carry: BranchCarry;
  /** Which tokens of the piece are padding, zero in xz. */
  readonly padding?: readonly number[];
}

/** One branch of a block over one piece of a bag (inference): residual + its share of the block's output. */
export function blockPiece(
  tape: Tape,
  x: Tensor,
  residual: Tensor | null,
  w: Pick<BlockWeights, 'inProj' | 'outProj' | 'branch'>,
  sequence: Sequence,
  options: PieceOptions,
): Tensor {
  const { padding = [], ...branchOptions } = options;
  let xz = matmul(tape, w.inProj, x, { transB: true, passing: true });
  if (padding.length) {
    const padded = reorderColumns(tape, xz, withoutPadding(sequence.tokens, padding));
    tape.done(xz);
    xz = padded;
  }
  const y = mambaBranch(tape, xz, w.branch, sequence, branchOptions);
  tape.done(xz);
  const out = project(tape, y, residual, w.outProj);
  tape.done(y);
  return out;
}

function withoutPadding(tokens: number, padding: readonly number[]): Int32Array {
  const index = Int32Array.from({ length: tokens }, (_, i) => i);
  for (const i of padding) index[i] = -1;
  return index;
}
