/** Encodes batches of patches for `stain-texture.ts`, one after another. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import type { PatchBatch } from './encoder.ts';
import { encodeStains } from './stain-vector.ts';

export type StainReply =
  | { readonly features: Float32Array<ArrayBuffer>; readonly error: null }
  | { readonly features: null; readonly error: string };

parentPort!.on('message', (batch: PatchBatch) => {
  try {
    const features = encodeStains(batch);
    parentPort!.postMessage({ features, error: null } satisfies StainReply, [features.buffer]);
  } catch (error) {
    parentPort!.postMessage({ features: null, error: messageOf(error) } satisfies StainReply);
  }
});
