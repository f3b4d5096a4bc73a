/** Starts worker threads out of the build. */
import { Worker } from 'node:worker_threads';

/**
 * @param file as `built` gives it: plain JavaScript. So it needs none of the loaders that this process may have been started with
 * (tsx, vitest), which would start again in every thread, with threads of their own.
 */
export function startBuilt(file: URL, workerData: unknown): Worker {
  return new Worker(file, { workerData, execArgv: [] });
}
