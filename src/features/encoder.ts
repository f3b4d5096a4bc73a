/** The contract of a patch encoder: a batch of pictures in, one feature vector per picture out. */
import type { Device, View } from '../kernels/device.ts';
import type { Mpp } from '../units.ts';
import type { Recolouring } from './stain.ts';
import type { StainPlan } from './stain-normalise.ts';

export interface PatchBatch {
  /** RGB, 8 bits, patch by patch, row by row: count x size x size x 3. */
  readonly pixels: Uint8Array;
  readonly count: number;
  /** Side of a patch in pixels. */
  readonly size: number;
  /** How the colours are changed before anything else; none where it is missing or null. */
  readonly recolouring?: Recolouring | null;
}

export interface EncoderInput {
  /** Side in pixels; null if any size is taken. Patches of another size are resized. */
  readonly size: number | null;
  /** The physical scale the encoder was made for. */
  readonly mpp: Mpp;
  /** Per channel, of values in 0..1; (0, 0, 0) and (1, 1, 1) when the encoder takes raw pixels. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

export interface Encoder {
  /** Name and hash of the weights, `stain-texture@1`: bags of different ids must not be mixed. */
  readonly id: string;
  readonly dimension: number;
  readonly input: EncoderInput;
  /** What is done to the colours of each slide; its batches come with the `recolouring` that was fitted to it. */
  readonly stain?: StainPlan | null;
  /** Features of a batch, count x dimension. */
  encode(batch: PatchBatch, signal?: AbortSignal): Promise<Float32Array>;
  /** Of an encoder that computes on a device of the kernels, which can leave the features there. */
  readonly onDevice?: DeviceEncoding | null;
  close(): Promise<void>;
}

export interface DeviceEncoding {
  readonly device: Device;
  /**
   * Features of a batch, count x dimension, into memory of the device, in order with its kernels; nothing is read back. Nobody has
   * looked whether they are finite.
   */
  encode(batch: PatchBatch, target: View, signal?: AbortSignal): Promise<void>;
}

/** @throws RangeError if the pixels are not what the batch says: a fault of the program. */
export function requireWhole({ pixels, count, size }: PatchBatch): void {
  if (pixels.length === count * size * size * 3) return;
  throw new RangeError(`${pixels.length} bytes are not ${count} RGB patches of ${size} px`);
}
