/** Any image network in an ONNX file as an encoder. */
import { createHash } from 'node:crypto';
import { built } from '../../built.ts';
import { UserError } from '../../errors.ts';
import type { Device } from '../../kernels/device.ts';
import { WebGpuDevice } from '../../kernels/webgpu/device.ts';
import { type BatchWorker, openBatchWorker } from '../batch-worker.ts';
import { type Encoder, requireWhole } from '../encoder.ts';
import { inspectOnnx } from './onnx-file.ts';
import { openOnDevice } from './onnx-on-device.ts';
import type { Question } from './onnx-worker.ts';
import type { Recipe } from './recipe.ts';

export interface OnnxOptions {
  /** The first part of the id. */
  readonly name: string;
  readonly path: string;
  readonly recipe: Recipe;
  /** How many features there must be; null takes any number. */
  readonly dimension: number | null;
  /** Null leaves the number to onnxruntime. */
  readonly threads: number | null;
  /** Where this is a GPU, it computes there instead of on the CPU. */
  readonly device?: Device | null;
}

type Opened = Pick<Encoder, 'dimension' | 'encode' | 'onDevice' | 'close'>;

/**
 * @throws UserError as `inspectOnnx` and `planGraph`; `onnx-load`, `onnx-run`, `encoder-width`
 */
export async function openOnnxEncoder(options: OnnxOptions): Promise<Encoder> {
  const { name, path, recipe, dimension, device = null } = options;
  const { hash } = await inspectOnnx(path);
  const worker = openBatchWorker(built('./onnx-worker.js', import.meta.url), name);
  try {
    const opened = await (device instanceof WebGpuDevice
      ? openOnDevice(worker, path, recipe, device)
      : openInWorker(worker, options));
    if (dimension !== null && opened.dimension !== dimension) {
      const problem = `${path}: it gives ${opened.dimension} features a patch, ${name} has ${dimension}.`;
      const hint = `Export ${name} as docs/encoders.md says, without a classifier; or leave --weights and name the file with --encoder.`;
      throw new UserError('encoder-width', problem, hint);
    }
    const { patchPx, mpp, mean, std } = recipe;
    const { onDevice } = opened;
    return {
      id: `${name}@${idHash(hash, recipe)}`,
      dimension: opened.dimension,
      input: { size: patchPx, mpp, mean, std },
      async encode(batch, signal) {
        requireWhole(batch);
        return batch.count === 0 ? new Float32Array(0) : await opened.encode(batch, signal);
      },
      onDevice: onDevice && {
        ...onDevice,
        async encode(batch, target, signal) {
          requireWhole(batch);
          await onDevice.encode(batch, target, signal);
        },
      },
      close: opened.close,
    };
  } catch (error) {
    await worker.close();
    throw error;
  }
}

async function openInWorker(worker: BatchWorker, { path, recipe, threads }: OnnxOptions): Promise<Opened> {
  const dimension = await worker.ask<number>({ kind: 'open', path, recipe, threads } satisfies Question);
  return {
    dimension,
    encode: (batch, signal) => worker.ask({ kind: 'encode', batch } satisfies Question, signal),
    close: worker.close,
  };
}

/** Of the weights and of what is done to pictures and tokens: other features, another id. */
function idHash(weights: string, { size, resize, mean, std, interpolation, tokens, output, map }: Recipe): string {
  const said = map === null ? [] : [map];
  const rule = JSON.stringify([size, resize, mean, std, interpolation, tokens.pool, tokens.skip, output, ...said]);
  return createHash('sha256').update(weights).update(rule).digest('hex').slice(0, 12);
}
