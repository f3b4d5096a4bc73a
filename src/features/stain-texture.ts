/**
 * The built-in encoder: classical colour and texture features, no weights to fetch, the same numbers on every machine.
 * `stain-vector.ts` says what they mean. It runs on the GPU of the kernels, or in a worker of its own, so that reading and
 * aggregating go on meanwhile.
 */
import { built } from '../built.ts';
import { UserError } from '../errors.ts';
import { openBatchWorker } from './batch-worker.ts';
import { type DeviceEncoding, type Encoder, type PatchBatch, requireWhole } from './encoder.ts';
import { encodeAndRead } from './encoders/encode-and-read.ts';
import { DIMENSION, SMALLEST_PATCH } from './stain-vector.ts';

/** The number changes whenever the features do. */
const ID = 'stain-texture@1';

/** @param gpu how a GPU does it; null for the CPU. */
export function createStainTexture(gpu: (DeviceEncoding & { close(): Promise<void> }) | null = null): Encoder {
  const onDevice: DeviceEncoding | null = gpu && {
    device: gpu.device,
    async encode(batch, target, signal) {
      requireDescribable(batch);
      await gpu.encode(batch, target, signal);
    },
  };
  const worker = gpu ? null : openBatchWorker(built('./stain-texture-worker.js', import.meta.url), 'stain-texture');
  return {
    id: ID,
    dimension: DIMENSION,
    input: { size: null, mpp: 0.5, mean: [0, 0, 0], std: [1, 1, 1] },
    onDevice,
    async encode(batch, signal) {
      if (onDevice) return await encodeAndRead(onDevice, DIMENSION, batch, signal);
      requireDescribable(batch);
      return await worker!.ask<Float32Array>(batch, signal);
    },
    async close() {
      await (gpu ?? worker)!.close();
    },
  };
}

function requireDescribable(batch: PatchBatch): void {
  requireWhole(batch);
  if (batch.size >= SMALLEST_PATCH) return;
  const hint = `Use patches of ${SMALLEST_PATCH} px or more (--patch-size 256).`;
  throw new UserError('patch-too-small', `stain-texture cannot describe patches of ${batch.size} px.`, hint);
}
