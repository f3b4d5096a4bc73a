/** Any image network in an ONNX file as an encoder. */
import { createHash } from 'node:crypto';
import { built } from '../../built.ts';
import { UserError } from '../../errors.ts';
import { type BatchWorker, openBatchWorker } from '../batch-worker.ts';
import { type Encoder, type PatchBatch, requireWhole } from '../encoder.ts';
import { countFeatures, encodeBatch } from './network.ts';
import { inspectOnnx } from './onnx-file.ts';
import type { Question } from './onnx-worker.ts';
import type { PixelData } from './picture-input.ts';
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
  /** Computes there instead of on the CPU. */
  readonly gpu?: GPUDevice | null;
}

interface Opened {
  readonly dimension: number;
  encode(batch: PatchBatch, signal?: AbortSignal): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * @throws UserError as `inspectOnnx` and `planGraph`; `onnx-load`, `onnx-run`, `encoder-width`
 */
export async function openOnnxEncoder(options: OnnxOptions): Promise<Encoder> {
  const { name, path, recipe, dimension, gpu = null } = options;
  const { hash } = await inspectOnnx(path);
  const worker = openBatchWorker(built('./onnx-worker.js', import.meta.url), name);
  try {
    const opened = await (gpu ? openOnGpu(worker, options, gpu) : openInWorker(worker, options));
    if (dimension !== null && opened.dimension !== dimension) {
      const problem = `${path}: it gives ${opened.dimension} features a patch, ${name} has ${dimension}.`;
      const hint = `Export ${name} as docs/encoders.md says, without a classifier; or leave --weights and name the file with --encoder.`;
      throw new UserError('encoder-width', problem, hint);
    }
    const { patchPx, mpp, mean, std } = recipe;
    return {
      id: `${name}@${idHash(hash, recipe)}`,
      dimension: opened.dimension,
      input: { size: patchPx, mpp, mean, std },
      async encode(batch, signal) {
        requireWhole(batch);
        return batch.count === 0 ? new Float32Array(0) : await opened.encode(batch, signal);
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

/** The worker prepares a batch while the GPU computes the one before. */
async function openOnGpu(worker: BatchWorker, { path, recipe }: OnnxOptions, gpu: GPUDevice): Promise<Opened> {
  const { openGpuSession } = await import('./webgpu-session.ts');
  const session = await openGpuSession(path, recipe, gpu);
  await worker.ask({ kind: 'plan', plan: session.plan, recipe } satisfies Question);
  const input = {
    fill: (batch: PatchBatch, first: number, count: number) =>
      worker.ask<PixelData>({ kind: 'prepare', batch, first, count } satisfies Question),
  };
  const network = { path, recipe, session, input };
  return {
    dimension: await countFeatures(network),
    async encode(batch, signal) {
      signal?.throwIfAborted();
      const features = await encodeBatch(network, batch);
      signal?.throwIfAborted();
      return features;
    },
    async close() {
      await session.close();
      await worker.close();
    },
  };
}

/** Of the weights and of what is done to pictures and tokens: other features, another id. */
function idHash(weights: string, { size, resize, mean, std, interpolation, tokens, output }: Recipe): string {
  const rule = JSON.stringify([size, resize, mean, std, interpolation, tokens.pool, tokens.skip, output]);
  return createHash('sha256').update(weights).update(rule).digest('hex').slice(0, 12);
}
