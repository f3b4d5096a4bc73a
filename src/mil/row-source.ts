/** Where a model's rows of features come from: memory, a file, or the model's own device. */
import type { View } from '../kernels/device.ts';
import type { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import type { RowRun } from './row-store.ts';

export interface RowSource {
  readonly count: number;
  readonly dimension: number;
  /** Rows first to first + count - 1, one after another. */
  read(first: number, count: number): Promise<Float32Array>;
  /** All of them, count x dimension, where they lie on the device of the model already. */
  readonly onDevice?: View | null;
}

/** Rows as a tensor: what lies on the device is used where it lies, and stays its owner's. */
export async function loadRows(tape: Tape, source: RowSource, { first, count }: RowRun): Promise<Tensor> {
  const { dimension, onDevice } = source;
  if (onDevice) return tensor(onDevice.storage, onDevice.offset + first * dimension, [count, dimension]);
  return tape.constant(await source.read(first, count), [count, dimension]);
}
