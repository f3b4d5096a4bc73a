/** A tensor: a shaped window into device storage. Plain data; the tape owns activations, `Parameters` owns weights. */
import type { Storage, View } from './device.ts';

export interface Tensor extends View {
  readonly shape: readonly number[];
  /** Whether the backward pass has to reach it. */
  readonly needsGradient: boolean;
}

export function tensor(storage: Storage, offset: number, shape: readonly number[], needsGradient = false): Tensor {
  return { storage, offset, length: sizeOf(shape), shape, needsGradient };
}

/** Elements of `t` from `offset` on, under another shape; no gradient flows through it. */
export function windowOf(t: Tensor, offset: number, shape: readonly number[]): Tensor {
  return { ...t, offset: t.offset + offset, length: sizeOf(shape), shape, needsGradient: false };
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** The same elements under another shape. */
export function reshape(t: Tensor, shape: readonly number[]): Tensor {
  if (sizeOf(shape) !== t.length) throw new Error(`cannot reshape [${t.shape}] to [${shape}]`);
  return { ...t, shape };
}
