/** Element-wise ops on the tape. */
import { type Activation, activations } from './kernels.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** y = f(x). */
export function activate(tape: Tape, x: Tensor, f: Activation): Tensor {
  const kind = activations.indexOf(f);
  const y = tape.create(x.shape, x.needsGradient);
  tape.run('activation', [x, y], [x.length, kind]);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    tape.run('activationBackward', [x, y, tape.gradientOf(y)!, view], [x.length, kind, accumulate]);
  });
  return y;
}

/** y = alpha a + beta b. */
export function add(tape: Tape, a: Tensor, b: Tensor, alpha = 1, beta = 1): Tensor {
  if (a.length !== b.length) throw new Error(`add of [${a.shape}] and [${b.shape}]`);
  const needsGradient = a.needsGradient || b.needsGradient;
  const y = a.half ? tape.createPassing(a.shape) : tape.create(a.shape, needsGradient);
  tape.run('add', [a, b, y], [a.length, alpha, beta]);
  tape.record([y], [], () => {
    const dy = tape.gradientOf(y)!;
    if (a.needsGradient) addScaled(tape, dy, alpha, a);
    if (b.needsGradient) addScaled(tape, dy, beta, b);
  });
  return y;
}

/** y = alpha x. */
export function scale(tape: Tape, x: Tensor, alpha: number): Tensor {
  const y = tape.create(x.shape, x.needsGradient);
  tape.run('add', [x, null, y], [x.length, alpha, 0]);
  tape.record([y], [], () => addScaled(tape, tape.gradientOf(y)!, alpha, x));
  return y;
}

/** y = a b, element by element. */
export function multiply(tape: Tape, a: Tensor, b: Tensor): Tensor {
  if (a.length !== b.length) throw new Error(`multiply of [${a.shape}] and [${b.shape}]`);
  const y = tape.create(a.shape, a.needsGradient || b.needsGradient);
  tape.run('multiply', [a, b, y], [a.length, 0]);
  tape.record([y], [], () => {
    const dy = tape.gradientOf(y)!;
    for (const [x, other] of [
      [a, b],
      [b, a],
    ] as const) {
      if (!x.needsGradient) continue;
      const { view, accumulate } = tape.gradientSlot(x);
      tape.run('multiply', [dy, other, view], [x.length, accumulate]);
    }
  });
  return y;
}

/** While training, drops elements with probability p and scales the others by 1 / (1 - p); the tape's seed makes the mask. */
export function dropout(tape: Tape, x: Tensor, p: number): Tensor {
  if (!tape.dropping || p === 0) return x;
  const seed = tape.nextSeed();
  const y = tape.create(x.shape, x.needsGradient);
  tape.run('dropout', [x, y], [x.length, p, seed, 0]);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    tape.run('dropout', [tape.gradientOf(y)!, view], [x.length, p, seed, accumulate]);
  });
  return y;
}

/** y (c, r) = x (r, c) transposed. */
export function transpose(tape: Tape, x: Tensor): Tensor {
  const [r, c] = [x.shape[0]!, x.shape[1]!];
  const y = tape.create([c, r], x.needsGradient);
  tape.run('transpose', [x, y], [r, c]);
  tape.record([y], [], () => {
    const back = tape.create([r, c]);
    tape.run('transpose', [tape.gradientOf(y)!, back], [c, r]);
    addScaled(tape, back, 1, x);
    tape.discard(back);
  });
  return y;
}

/** gradient of x (+)= alpha dy. */
export function addScaled(tape: Tape, dy: Tensor, alpha: number, x: Tensor): void {
  const { view, accumulate } = tape.gradientSlot(x);
  if (accumulate) tape.run('add', [view, dy, view], [x.length, 1, alpha]);
  else tape.run('add', [dy, null, view], [x.length, alpha, 0]);
}
