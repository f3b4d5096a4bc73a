/** Causal depthwise convolution along tokens, optionally followed by SiLU; channel-major. mamba-block.md. */
import type { Sequence } from './sequence.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

export interface Conv1dOptions {
  readonly silu: boolean;
  /** Runs from the end of each bag to its start. */
  readonly reversed?: boolean;
  /** (D, W-1): tokens before the first, in scan order; inference over pieces of one bag. */
  readonly tail?: Tensor | null;
}

/** y (D, L) of x (D, L), weight (D, W) or (D, 1, W), bias (D) or null. */
export function conv1d(
  tape: Tape,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  sequence: Sequence,
  options: Conv1dOptions,
): Tensor {
  const y = tape.create(x.shape, x.needsGradient || weight.needsGradient);
  runConv1d(tape, x, weight, bias, sequence, options, y);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    runConv1dBackward(tape, x, weight, bias, sequence, options, tape.gradientOf(y)!, view, accumulate);
  });
  return y;
}

export function runConv1d(
  tape: Tape,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  sequence: Sequence,
  options: Conv1dOptions,
  y: Tensor,
): void {
  tape.run(
    'conv1d',
    [x, weight, bias, sequence.offsetsOnDevice, options.tail ?? null, y],
    convParams(x, weight, sequence, options),
  );
}

export function runConv1dBackward(
  tape: Tape,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  sequence: Sequence,
  options: Conv1dOptions,
  dy: Tensor,
  dx: Tensor,
  accumulate: 0 | 1,
): void {
  const dweight = tape.zeroedSlot(weight);
  const dbias = bias && tape.zeroedSlot(bias);
  tape.run(
    'conv1dBackward',
    [x, weight, bias, sequence.offsetsOnDevice, dy, dx, dweight, dbias],
    [...convParams(x, weight, sequence, options), accumulate],
  );
}

function convParams(x: Tensor, weight: Tensor, sequence: Sequence, options: Conv1dOptions): number[] {
  const [D, L] = [x.shape[0]!, x.shape[1]!];
  if (L !== sequence.tokens) throw new Error(`convolution of ${L} tokens in bags of ${sequence.tokens}`);
  return [D, L, weight.shape.at(-1)!, sequence.bags, Number(options.silu), Number(options.reversed ?? false)];
}
