/** The contract of a patch encoder: a batch of pictures in, one feature vector per picture out. */
import type { Mpp } from '../units.ts';

export interface PatchBatch {
  /** RGB, 8 bits, patch by patch, row by row: count x size x size x 3. */
  readonly pixels: Uint8Array;
  readonly count: number;
  /** Side of a patch in pixels. */
  readonly size: number;
}

export interface EncoderInput {
  /** Side in pixels; null if any size is taken. */
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
  /** Features of a batch, count x dimension. */
  encode(batch: PatchBatch, signal?: AbortSignal): Promise<Float32Array>;
  close(): Promise<void>;
}
