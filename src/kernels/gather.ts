/** Reordering and picking rows or columns. An index of -1 gives zeros. */
import { addScaled } from './elementwise.ts';
import type { Tape } from './tape.ts';
import { type Tensor, tensor } from './tensor.ts';

/** y (n, c) = rows `index` of x (r, c); an index may repeat. `index` is i32 on the device. */
export function gatherRows(tape: Tape, x: Tensor, index: Tensor): Tensor {
  const [n, c] = [index.length, x.shape[1]!];
  const y = tape.create([n, c], x.needsGradient);
  tape.run('gatherRows', [x, index, y], [n, c, 0]);
  tape.record([y], [], () => {
    const { view, accumulate } = tape.gradientSlot(x);
    if (!accumulate) tape.run('fill', [view], [view.length, 0]);
    tape.run('scatterRows', [tape.gradientOf(y)!, index, view], [n, c]);
  });
  return y;
}

/** y (r, n) = columns `index` of x (r, L), where every column of x is taken exactly once (n may be larger: -1 pads). */
export function reorderColumns(tape: Tape, x: Tensor, index: Int32Array): Tensor {
  const [r, L] = [x.shape[0]!, x.shape[1]!];
  const n = index.length;
  const forward = tape.constant(index, [n]);
  const y = x.half ? tape.createPassing([r, n]) : tape.create([r, n], x.needsGradient);
  tape.run('gatherColumns', [x, forward, y], [r, L, n, 0]);
  tape.discard(forward);
  tape.record([y], [], () => {
    const inverse = tape.constant(inverseOf(index, L), [L]);
    const { view, accumulate } = tape.gradientSlot(x);
    tape.run('gatherColumns', [tape.gradientOf(y)!, inverse, view], [r, n, L, accumulate]);
    tape.discard(inverse);
  });
  return y;
}

/** The rows of several (r_i, c) one after another. */
export function concatRows(tape: Tape, parts: readonly Tensor[]): Tensor {
  const c = parts[0]!.shape[1]!;
  const rows = parts.reduce((sum, part) => sum + part.shape[0]!, 0);
  const y = tape.create(
    [rows, c],
    parts.some((part) => part.needsGradient),
  );
  const window = (whole: Tensor, index: number) => {
    const before = parts.slice(0, index).reduce((sum, part) => sum + part.length, 0);
    return tensor(whole.storage, whole.offset + before, parts[index]!.shape);
  };
  parts.forEach((part, i) => {
    tape.run('add', [part, null, window(y, i)], [part.length, 1, 0]);
  });
  tape.record([y], [], () => {
    const dy = tape.gradientOf(y)!;
    parts.forEach((part, i) => {
      if (part.needsGradient) addScaled(tape, window(dy, i), 1, part);
    });
  });
  return y;
}

/** Where each of the `length` old positions went; -1 if nowhere. */
export function inverseOf(index: Int32Array, length: number): Int32Array {
  const inverse = new Int32Array(length).fill(-1);
  index.forEach((from, to) => {
    if (from >= 0) inverse[from] = to;
  });
  return inverse;
}
