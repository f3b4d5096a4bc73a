/**
 * The built-in encoder: classical colour and texture features, no weights to fetch, the same numbers on every machine.
 * `stain-vector.ts` says what they mean. It runs in a worker of its own, so that reading and aggregating go on meanwhile.
 */
import { built } from '../built.ts';
import { UserError } from '../errors.ts';
import { openBatchWorker } from './batch-worker.ts';
import { type Encoder, requireWhole } from './encoder.ts';
import { DIMENSION, SMALLEST_PATCH } from './stain-vector.ts';

/** The number changes whenever the features do. */
const ID = 'stain-texture@1';

export function createStainTexture(): Encoder {
  const worker = openBatchWorker(built('./stain-texture-worker.js', import.meta.url), 'stain-texture');
  return {
    id: ID,
    dimension: DIMENSION,
    input: { size: null, mpp: 0.5, mean: [0, 0, 0], std: [1, 1, 1] },
    async encode(batch, signal) {
      requireWhole(batch);
      if (batch.size < SMALLEST_PATCH) {
        const hint = `Use patches of ${SMALLEST_PATCH} px or more (--patch-size 256).`;
        throw new UserError('patch-too-small', `stain-texture cannot describe patches of ${batch.size} px.`, hint);
      }
      return await worker.ask<Float32Array>(batch, signal);
    },
    close: worker.close,
  };
}
