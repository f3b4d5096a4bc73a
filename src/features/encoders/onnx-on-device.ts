/**
 * An ONNX network on the WebGPU device of the kernels: the worker prepares a batch while the GPU computes the one before, and the
 * features stay where the model will want them.
 */
import type { View } from '../../kernels/device.ts';
import type { WebGpuDevice } from '../../kernels/webgpu/device.ts';
import type { BatchWorker } from '../batch-worker.ts';
import type { Encoder, PatchBatch } from '../encoder.ts';
import { encodeAndRead } from './encode-and-read.ts';
import { picturesARun, requireFinite } from './network.ts';
import type { Question } from './onnx-worker.ts';
import type { PixelData } from './picture-input.ts';
import { poolOnDevice } from './pool-on-device.ts';
import { poolTokens } from './pool-tokens.ts';
import type { Recipe } from './recipe.ts';
import { openGpuSession } from './webgpu-session.ts';

/** @throws UserError as `openGpuSession` and `poolTokens`; `not-finite` */
export async function openOnDevice(
  worker: BatchWorker,
  path: string,
  recipe: Recipe,
  device: WebGpuDevice,
): Promise<Pick<Encoder, 'dimension' | 'encode' | 'onDevice' | 'close'>> {
  const session = await openGpuSession(path, recipe, device);
  const { plan, trial } = session;
  const pooled = poolTokens(path, trial.values, trial.shape, recipe.tokens, plan.map);
  requireFinite(path, pooled);
  const [pictures, ...shape] = trial.shape as [number, ...number[]];
  const dimension = pooled.length / pictures;
  await worker.ask({ kind: 'plan', plan, recipe } satisfies Question);

  async function encodeInto(batch: PatchBatch, target: View, signal?: AbortSignal): Promise<void> {
    const perRun = picturesARun(plan, batch.count);
    for (let first = 0; first < batch.count; first += perRun) {
      signal?.throwIfAborted();
      const rows = Math.min(perRun, batch.count - first);
      const count = plan.batch ?? rows;
      const data = await worker.ask<PixelData>({ kind: 'prepare', batch, first, count } satisfies Question);
      const length = count * (trial.values.length / pictures);
      const storage = device.create(length);
      try {
        await session.run(data, count, storage);
        const place = { storage: target.storage, offset: target.offset + first * dimension, length: rows * dimension };
        poolOnDevice(device, { storage, offset: 0, length }, shape, rows, recipe.tokens, plan.map, place);
      } finally {
        device.release(storage);
      }
    }
    signal?.throwIfAborted();
  }

  const onDevice = { device, encode: encodeInto };
  return {
    dimension,
    onDevice,
    async encode(batch, signal) {
      const features = await encodeAndRead(onDevice, dimension, batch, signal);
      requireFinite(path, features);
      return features;
    },
    async close() {
      await session.close();
      await worker.close();
    },
  };
}
