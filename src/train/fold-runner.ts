/**
 * Folds side by side: each worker thread trains one at a time on a device of its own. Small bags leave no room for more than one
 * thread in a model, so the cores are shared out between folds; what is left of them goes to the threads of each. Sums over long
 * bags are cut into as many parts as a device has threads, so the last bits of a model depend on their number.
 */
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { built } from '../built.ts';
import { startBuilt } from '../built-worker.ts';
import { UserError } from '../errors.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { openBagSource, type SourceSpec } from './bag-files.ts';
import { checkpointFile } from './checkpoint.ts';
import { type EpochRecord, type FoldOutcome, type FoldTask, trainFold } from './fold-training.ts';

export interface FoldRun extends FoldTask {
  /** Where the state is kept, and what it belongs to; null: nowhere. */
  readonly checkpoint: { readonly path: string; readonly key: string } | null;
  readonly checkpointSeconds?: number;
}

export interface RunnerOptions {
  readonly device: DeviceChoice;
  /** Threads in all; the cores unless given. */
  readonly threads?: number;
  /** Folds that are trained side by side on a CPU; one a thread unless given. */
  readonly atOnce?: number;
  /** Of each fold; all threads are shared out among the folds side by side unless given. */
  readonly threadsPerFold?: number;
  readonly signal?: AbortSignal;
  readonly onEpoch?: (run: number, record: EpochRecord) => void;
  /** Hears of each fold when it is done, before the others are. */
  readonly onDone?: (run: number, outcome: FoldOutcome) => void | Promise<void>;
}

export type ToWorker = { readonly number: number; readonly run: FoldRun };
export type FromWorker =
  | { readonly kind: 'epoch'; readonly number: number; readonly record: EpochRecord }
  | { readonly kind: 'done'; readonly number: number; readonly outcome: FoldOutcome }
  | { readonly kind: 'failed'; readonly code: string | null; readonly message: string; readonly hint: string };

export interface WorkerPlace {
  readonly source: SourceSpec;
  readonly threads: number;
}

/** @returns one outcome a run, in their order. @throws what the first failing fold throws; the signal's reason. */
export async function runFolds(
  source: SourceSpec,
  runs: readonly FoldRun[],
  options: RunnerOptions,
): Promise<FoldOutcome[]> {
  const { device, threads = availableParallelism(), signal } = options;
  signal?.throwIfAborted();
  if (runs.length === 0) return [];
  if (device !== 'wasm') {
    const opened = await openDevice(device, { threads });
    const onGpu = opened.kind === 'webgpu';
    try {
      if (onGpu) return await oneByOne(opened, source, runs, options);
    } finally {
      await opened.close();
    }
  }
  return inWorkers(source, runs, { ...options, threads });
}

/** On a GPU: it has one queue. */
async function oneByOne(
  device: Awaited<ReturnType<typeof openDevice>>,
  source: SourceSpec,
  runs: readonly FoldRun[],
  { signal, onEpoch, onDone }: RunnerOptions,
): Promise<FoldOutcome[]> {
  const bags = openBagSource(source);
  const outcomes: FoldOutcome[] = [];
  for (const [number, run] of runs.entries()) {
    const outcome = await trainFold(device, bags, run, {
      ...hooksOf(run),
      signal,
      onEpoch: (record) => onEpoch?.(number, record),
    });
    outcomes.push(outcome);
    await onDone?.(number, outcome);
  }
  return outcomes;
}

export function hooksOf({ checkpoint, checkpointSeconds }: FoldRun) {
  return {
    ...(checkpoint && { checkpoint: checkpointFile(checkpoint.path, checkpoint.key) }),
    ...(checkpointSeconds !== undefined && { checkpointSeconds }),
  };
}

async function inWorkers(
  source: SourceSpec,
  runs: readonly FoldRun[],
  options: RunnerOptions & { readonly threads: number },
): Promise<FoldOutcome[]> {
  const { threads, signal } = options;
  const count = Math.max(1, Math.min(options.atOnce ?? threads, runs.length));
  const place: WorkerPlace = { source, threads: options.threadsPerFold ?? threadsOfEach(threads, count) };
  const outcomes: FoldOutcome[] = [];
  const waiting = [...runs.entries()];
  const workers = Array.from({ length: count }, () => startBuilt(built('./fold-worker.js', import.meta.url), place));
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
  const serve = async (worker: Worker) => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [number, run] = next;
      outcomes[number] = await runOn(worker, { number, run }, options.onEpoch);
      await options.onDone?.(number, outcomes[number]);
    }
  };
  try {
    await Promise.race([aborted, Promise.all(workers.map(serve))]);
    return outcomes;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Of so many threads in all. */
export function threadsOfEach(threads: number, folds: number): number {
  return Math.max(1, Math.floor(threads / folds));
}

function runOn(worker: Worker, task: ToWorker, onEpoch: RunnerOptions['onEpoch']): Promise<FoldOutcome> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: FromWorker) => {
      if (message.kind === 'epoch') return onEpoch?.(message.number, message.record);
      end();
      if (message.kind === 'done') resolve(message.outcome);
      else reject(errorOf(message));
    };
    const onError = (error: Error) => {
      end();
      reject(error);
    };
    const onExit = (code: number) => onError(new Error(`a training thread ended with code ${code}`));
    // By name: a worker has listeners of its own, without which it never says that it ended.
    const end = () => worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(task);
  });
}

function errorOf({ code, message, hint }: Extract<FromWorker, { kind: 'failed' }>): Error {
  return code === null ? new Error(message) : new UserError(code, message, hint);
}
