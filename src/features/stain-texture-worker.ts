/** Encodes batches of patches for `stain-texture.ts`, one after another. */
import { answerQuestions } from './batch-worker.ts';
import type { PatchBatch } from './encoder.ts';
import { encodeStains } from './stain-vector.ts';

answerQuestions((batch: PatchBatch) => {
  const features = encodeStains(batch);
  return { value: features, transfer: [features.buffer] };
});
