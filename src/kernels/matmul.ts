/** Matrix products on the tape. */

import { activate, addScaled } from './elementwise.ts';
import { type Activation, activations, slopeFromResult } from './kernels.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

export interface MatmulOptions {
  /** A is stored (k, m). */
  readonly transA?: boolean;
  /** B is stored (n, k). */
  readonly transB?: boolean;
  /** (n), added to every row. */
  readonly bias?: Tensor | null;
  readonly activation?: Activation | null;
  /** C only passes to the next kernel (`Tape.createPassing`). */
  readonly passing?: boolean;
}

/** C (m, n) = activation(op(A) op(B) + bias). */
export function matmul(tape: Tape, A: Tensor, B: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, bias = null, activation = null, passing = false } = options;
  const [m, k] = transA ? [A.shape[1]!, A.shape[0]!] : [A.shape[0]!, A.shape[1]!];
  const [kB, n] = transB ? [B.shape[1]!, B.shape[0]!] : [B.shape[0]!, B.shape[1]!];
  if (k !== kB) throw new Error(`matmul of [${A.shape}]${transA ? "'" : ''} and [${B.shape}]${transB ? "'" : ''}`);
  if (bias && bias.length !== n) throw new Error(`matmul bias has ${bias.length} elements, the product ${n} columns`);

  const needsGradient = A.needsGradient || B.needsGradient || bias?.needsGradient === true;
  // The way back through some activations needs what went in; those are fused in inference alone.
  const fused =
    activation && (slopeFromResult.has(activation) || !(tape.recording && needsGradient)) ? activation : null;
  const C = passing ? tape.createPassing([m, n], needsGradient) : tape.create([m, n], needsGradient);
  product(tape, A, B, bias, C, { m, n, k, transA, transB, accumulate: 0, activation: fused });

  tape.record([C], [], () => {
    const dC = fused ? beforeActivation(tape, C, fused) : tape.gradientOf(C)!;
    addFactorGradients(tape, A, B, dC, { m, n, k, transA, transB });
    if (bias?.needsGradient) addColumnSums(tape, dC, bias);
    if (fused) tape.discard(dC);
  });
  return activation && !fused ? activate(tape, C, activation) : C;
}

/**
 * C (m, n) = residual + op(A) op(B). Without training the sum is written over the residual itself, which is returned: the
 * residual's old contents are gone.
 */
export function addMatmul(
  tape: Tape,
  residual: Tensor,
  A: Tensor,
  B: Tensor,
  options: Pick<MatmulOptions, 'transA' | 'transB'> = {},
): Tensor {
  const { transA = false, transB = false } = options;
  const [m, k] = transA ? [A.shape[1]!, A.shape[0]!] : [A.shape[0]!, A.shape[1]!];
  const n = transB ? B.shape[0]! : B.shape[1]!;
  if (residual.length !== m * n) throw new Error(`product [${m},${n}] added to [${residual.shape}]`);
  const dims = { m, n, k, transA, transB };
  if (tape.mayOverwrite(residual)) {
    product(tape, A, B, null, residual, { ...dims, accumulate: 1 });
    return residual;
  }
  const C = tape.create([m, n], residual.needsGradient || A.needsGradient || B.needsGradient);
  tape.run('add', [residual, null, C], [C.length, 1, 0]);
  product(tape, A, B, null, C, { ...dims, accumulate: 1 });
  tape.record([C], [], () => {
    const dC = tape.gradientOf(C)!;
    addFactorGradients(tape, A, B, dC, dims);
    if (residual.needsGradient) addScaled(tape, dC, 1, residual);
  });
  return C;
}

/** y (rows, out) = x (rows, in) W^T + b with W (out, in), as PyTorch's Linear. */
export function linear(
  tape: Tape,
  x: Tensor,
  W: Tensor,
  b: Tensor | null,
  activation: Activation | null = null,
): Tensor {
  return matmul(tape, x, W, { transB: true, bias: b, activation });
}

interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly accumulate: 0 | 1;
  readonly activation?: Activation | null;
}

/** The bare kernel: C (+)= op(A) op(B) + bias. */
export function product(tape: Tape, A: Tensor, B: Tensor, bias: Tensor | null, C: Tensor, p: Product): void {
  if (p.m === 0 || p.n === 0) return;
  tape.run(
    'matmul',
    [A, B, bias, C],
    [
      p.m,
      p.n,
      p.k,
      Number(p.transA),
      Number(p.transB),
      p.accumulate,
      p.activation ? activations.indexOf(p.activation) : -1,
    ],
  );
}

/** The gradient of what went into an activation with the result C. */
function beforeActivation(tape: Tape, C: Tensor, f: Activation): Tensor {
  const gradient = tape.create(C.shape);
  tape.run('activationBackward', [C, C, tape.gradientOf(C)!, gradient], [C.length, activations.indexOf(f), 0]);
  return gradient;
}

/** What a product C = op(A) op(B) sends back to its factors. */
function addFactorGradients(tape: Tape, A: Tensor, B: Tensor, dC: Tensor, dims: Omit<Product, 'accumulate'>): void {
  const { m, n, k, transA, transB } = dims;
  if (A.needsGradient) {
    const { view, accumulate } = tape.gradientSlot(A);
    if (transA) product(tape, B, dC, null, view, { m: k, n: m, k: n, transA: transB, transB: true, accumulate });
    else product(tape, dC, B, null, view, { m, n: k, k: n, transA: false, transB: !transB, accumulate });
  }
  if (B.needsGradient) {
    const { view, accumulate } = tape.gradientSlot(B);
    if (transB) product(tape, dC, A, null, view, { m: n, n: k, k: m, transA: true, transB: transA, accumulate });
    else product(tape, A, dC, null, view, { m: k, n, k: m, transA: !transA, transB: false, accumulate });
  }
}

/** The gradient of a bias: column sums of dC (rows, n). */
function addColumnSums(tape: Tape, dC: Tensor, bias: Tensor): void {
  const slot = tape.gradientSlot(bias);
  if (!slot.accumulate) tape.run('fill', [slot.view], [bias.length, 0]);
  tape.run('sumRows', [dC, slot.view], [dC.shape[0]!, dC.shape[1]!]);
}
