/**
 * The contract of a device: memory, and kernels that run on it in the order they were given.
 *
 * Two implementations, `webgpu/device.ts` (WGSL) and `wasm/device.ts` (AssemblyScript SIMD), run the same kernels by the
 * same names with the same arguments; `kernels.ts` is the list. `run` may return before the work is done; only `read` waits.
 * Storage is counted in 32 bits: f32 unless a kernel says i32. A device that has f16 (`half`) also takes views of that.
 */
import type { KernelName } from './kernels.ts';

/** A piece of device memory. Opaque: each device has its own. */
export interface Storage {
  /** Number of 32-bit elements. */
  readonly length: number;
  /** Given back: no kernel may see it any more. */
  readonly released: boolean;
}

/** A window into storage, the argument of a kernel. */
export interface View {
  readonly storage: Storage;
  /** First element. */
  readonly offset: number;
  /** Number of elements. */
  readonly length: number;
  /** Elements are f16, two in 32 bits of storage; offset and length count f16. Kernels compute in f32 all the same. */
  readonly half?: boolean;
}

export type DeviceKind = 'webgpu' | 'wasm';

export interface Device {
  readonly kind: DeviceKind;
  /** Human name: adapter and driver, or `wasm, 2 threads`. */
  readonly name: string;
  /** Whether activations that only pass from kernel to kernel are stored as f16, in inference. */
  readonly half: boolean;
  /** Largest storage in bytes that one `create` can give. */
  readonly maxStorageBytes: number;
  /** Longest segment that the scan takes whole; longer ones come to it in pieces of this many tokens (`sequence.ts`). */
  readonly scanPiece: number;
  /** The scan saves its state at the start of every so many rows of the table of segments, for the backward pass. */
  readonly scanChunk: number;
  /** Whether it is gone for good (a GPU may be), and all it held with it. */
  readonly lost?: boolean;
  /** Allocates. Contents are undefined. Throws a UserError when the memory is not there. */
  create(length: number): Storage;
  /** Copies data into storage at `offset` elements, in order with the kernels. */
  write(storage: Storage, data: Float32Array | Int32Array, offset?: number): void;
  /** Queues a kernel. Views are the tensors in the kernel's order (null: absent), params its numbers. */
  run(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void;
  /** Waits for everything queued and copies a window of f32 back. */
  read(view: View): Promise<Float32Array>;
  /** Gives storage back to the pool; kernels already queued still see it. */
  release(storage: Storage): void;
  /** Bytes in live storage now and at most so far. */
  memory(): { live: number; peak: number };
  /** Waits for everything queued. */
  finish(): Promise<void>;
  close(): Promise<void>;
}
