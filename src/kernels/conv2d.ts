/** Depthwise 2-D convolution with zero padding that keeps the size, on the tape (TransMIL's position encoding). */
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** y (C, H, W) of x (C, H, W) and weight (C, 1, kh, kw), kh and kw odd; bias (C) or null. */
export function conv2d(tape: Tape, x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const [C, H, W] = [x.shape[0]!, x.shape[1]!, x.shape[2]!];
  const params = [C, H, W, weight.shape.at(-2)!, weight.shape.at(-1)!];
  const y = tape.create(x.shape, x.needsGradient || weight.needsGradient);
  tape.run('conv2d', [x, weight, bias, y], params);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    const dweight = tape.zeroedSlot(weight);
    const dbias = bias && tape.zeroedSlot(bias);
    tape.run('conv2dBackward', [x, weight, tape.gradientOf(y)!, view, dweight, dbias], [...params, accumulate]);
  });
  return y;
}
