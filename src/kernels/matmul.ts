/** Matrix products on the tape. */

import { activate } from './elementwise.ts';
import { type Activation, activations } from './kernels.ts';
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
}

/** C (m, n) = activation(op(A) op(B) + bias). */
export function matmul(tape: Tape, A: Tensor, B: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, bias = null, activation = null } = options;
  const [m, k] = transA ? [A.shape[1]!, A.shape[0]!] : [A.shape[0]!, A.shape[1]!];
  const [kB, n] = transB ? [B.shape[1]!, B.shape[0]!] : [B.shape[0]!, B.shape[1]!];
  if (k !== kB) throw new Error(`matmul of [${A.shape}]${transA ? "'" : ''} and [${B.shape}]${transB ? "'" : ''}`);
  if (bias && bias.length !== n) throw new Error(`matmul bias has ${bias.length} elements, the product ${n} columns`);

  const needsGradient = A.needsGradient || B.needsGradient || bias?.needsGradient === true;
  // The way back through an activation needs what went into it, so only inference fuses it.
  const fused = activation && !(tape.training && needsGradient) ? activation : null;
  const C = tape.create([m, n], needsGradient);
  product(tape, A, B, bias, C, { m, n, k, transA, transB, accumulate: 0, activation: fused });

  tape.record([C], [], () => {
    const dC = tape.gradientOf(C)!;
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
    if (bias?.needsGradient) addColumnSums(tape, dC, bias);
  });
  return activation && !fused ? activate(tape, C, activation) : C;
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

/** The gradient of a bias: column sums of dC (rows, n). */
function addColumnSums(tape: Tape, dC: Tensor, bias: Tensor): void {
  const slot = tape.gradientSlot(bias);
  if (!slot.accumulate) tape.run('fill', [slot.view], [bias.length, 0]);
  tape.run('sumRows', [dC, slot.view], [dC.shape[0]!, dC.shape[1]!]);
}
