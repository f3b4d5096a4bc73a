/**
 * The built-in encoder: classical colour and texture features, no weights to fetch, the same numbers on every machine.
 * `stain-vector.ts` says what they mean. It runs in a worker of its own, so that reading and aggregating go on meanwhile.
 */
import { Worker } from 'node:worker_threads';
import { built } from '../built.ts';
import { UserError } from '../errors.ts';
import type { Encoder, PatchBatch } from './encoder.ts';
import type { StainReply } from './stain-texture-worker.ts';
import { DIMENSION, SMALLEST_PATCH } from './stain-vector.ts';

/** The number changes whenever the features do. */
const ID = 'stain-texture@1';

export function createStainTexture(): Encoder {
  const worker = new Worker(built('./stain-texture-worker.js', import.meta.url), { workerData: {} });
  const waiting: { resolve: (features: Float32Array) => void; reject: (error: unknown) => void }[] = [];
  let ended: Error | null = null;

  function fail(error: Error): void {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  }
  // Batches are answered in the order in which they were given.
  worker.on('message', ({ features, error }: StainReply) => {
    const { resolve, reject } = waiting.shift()!;
    if (waiting.length === 0) worker.unref();
    if (error === null) resolve(features);
    else reject(new Error(error));
  });
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`the stain-texture worker ended (${code})`)));
  // An encoder that nobody waits for keeps no process alive.
  worker.unref();

  return {
    id: ID,
    dimension: DIMENSION,
    input: { size: null, mpp: 0.5, mean: [0, 0, 0], std: [1, 1, 1] },
    async encode(batch, signal) {
      requireFit(batch);
      signal?.throwIfAborted();
      if (ended) throw ended;
      const features = new Promise<Float32Array>((resolve, reject) => waiting.push({ resolve, reject }));
      worker.ref();
      worker.postMessage(batch);
      return await abortable(features, signal);
    },
    async close() {
      await worker.terminate();
    },
  };
}

function requireFit({ pixels, count, size }: PatchBatch): void {
  if (pixels.length !== count * size * size * 3) {
    throw new RangeError(`${pixels.length} bytes are not ${count} RGB patches of ${size} px`);
  }
  if (size < SMALLEST_PATCH) {
    const hint = `Use patches of ${SMALLEST_PATCH} px or more (--patch-size 256).`;
    throw new UserError('patch-too-small', `stain-texture cannot describe patches of ${size} px.`, hint);
  }
}

/** The worker finishes what it has begun; only the waiting ends. */
async function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return await work;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => {});
  }
}
