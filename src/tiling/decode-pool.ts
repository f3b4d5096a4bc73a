/** Threads that decode and resample: as many as the machine has cores, started when there is work, idle at no cost. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { built } from '../built.ts';
import type { TileWindow } from './decode.ts';
import type { CutTask } from './resample.ts';
import type { TileEncoding } from './tile-encoding.ts';

export interface DecodeTask {
  readonly kind: 'decode';
  readonly bytes: Uint8Array;
  readonly encoding: TileEncoding;
  readonly window: TileWindow;
  /** Shared memory to decode into; without it the answer brings a buffer of its own. */
  readonly into: SharedArrayBuffer | null;
}

export type Task = DecodeTask | CutTask;
export type Answer = { id: number; data: ArrayBuffer | null } | { id: number; error: string };

/** The threads themselves are missing, as opposed to a tile that cannot be decoded. */
export class PoolUnavailable extends Error {}

interface Job {
  readonly task: Task;
  readonly resolve: (data: ArrayBuffer | null) => void;
  readonly reject: (error: unknown) => void;
}

/** A thread and what it has been given, oldest first. */
interface Thread {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
  watchdog: NodeJS.Timeout | undefined;
}

/** Two in a thread's hands (one to do, one to do next) and one being read from disk. */
const jobsPerThread = 3;
/** A tile takes milliseconds; what takes this long is a damaged one that the decoder cannot leave. */
const stuckAfterMs = 4000;

export class DecodePool {
  readonly size: number;
  readonly #threads: Thread[] = [];
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #nextId = 0;
  #closed = false;

  constructor(size = availableParallelism()) {
    this.size = size;
  }

  /**
   * Does one task. `prepare` makes it, usually by reading bytes, and is called only when there is room:
   * however many callers wait, only a few tiles' bytes are in memory.
   *
   * @returns the decoded buffer; null if the task had memory to write into, or if `prepare` gave null: nothing to do.
   * @throws what `prepare` throws, the decoder's reason, or the signal's.
   */
  async run(prepare: () => Promise<Task | null> | Task | null, signal?: AbortSignal): Promise<ArrayBuffer | null> {
    signal?.throwIfAborted();
    if (this.#running >= this.size * jobsPerThread) await this.#room();
    else this.#running++;
    try {
      signal?.throwIfAborted();
      const task = await prepare();
      if (this.#closed) throw new PoolUnavailable('the decoder threads have been closed');
      return task === null ? null : await this.#post(task);
    } finally {
      // The place goes straight to the one who waits longest, or becomes free.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  /** Ends the threads; tasks under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#threads.splice(0).map((thread) => this.#end(thread, 'the decoder threads were closed')));
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #post(task: Task): Promise<ArrayBuffer | null> {
    return new Promise((resolve, reject) => this.#give(this.#leastBusy(), { task, resolve, reject }));
  }

  #leastBusy(): Thread {
    let best = this.#threads[0];
    for (const thread of this.#threads) if (thread.jobs.size < best!.jobs.size) best = thread;
    if (best === undefined || (best.jobs.size > 0 && this.#threads.length < this.size)) return this.#start();
    return best;
  }

  #give(thread: Thread, job: Job): void {
    const id = this.#nextId++;
    thread.jobs.set(id, job);
    if (thread.jobs.size === 1) {
      thread.worker.ref();
      this.#watch(thread);
    }
    thread.worker.postMessage({ id, task: job.task });
  }

  #start(): Thread {
    const script = built('./decode-worker.js', import.meta.url);
    if (!existsSync(script)) throw new PoolUnavailable(`${script.pathname} is missing: run npm run build`);
    // geotiff throws when imported in a thread without workerData; no decoder imports it, and none should fail if one does.
    const worker = new Worker(script, { workerData: {} });
    const thread: Thread = { worker, jobs: new Map(), watchdog: undefined };
    worker.on('message', (answer: Answer) => this.#finish(thread, answer));
    worker.on('error', (error) => this.#replace(thread, `the decoder thread ended: ${error.message}`));
    worker.unref();
    this.#threads.push(thread);
    return thread;
  }

  #finish(thread: Thread, answer: Answer): void {
    const job = thread.jobs.get(answer.id);
    thread.jobs.delete(answer.id);
    if (thread.jobs.size === 0) thread.worker.unref();
    this.#watch(thread);
    if ('error' in answer) job?.reject(new Error(answer.error));
    else job?.resolve(answer.data);
  }

  /** Times the oldest job of a thread. */
  #watch(thread: Thread): void {
    clearTimeout(thread.watchdog);
    if (thread.jobs.size === 0) return;
    thread.watchdog = setTimeout(() => this.#replace(thread, 'the decoder did not come to an end'), stuckAfterMs);
  }

  /** Gives up the oldest job of a thread that hangs or died, and its other jobs to another thread. */
  #replace(thread: Thread, reason: string): void {
    const at = this.#threads.indexOf(thread);
    if (at < 0) return;
    this.#threads.splice(at, 1);
    const [oldest, ...others] = thread.jobs.values();
    thread.jobs.clear();
    oldest?.reject(new Error(reason));
    for (const job of others) this.#give(this.#leastBusy(), job);
    void this.#end(thread, reason);
  }

  async #end(thread: Thread, reason: string): Promise<void> {
    clearTimeout(thread.watchdog);
    for (const job of thread.jobs.values()) job.reject(new PoolUnavailable(reason));
    thread.jobs.clear();
    await thread.worker.terminate();
  }
}

let shared: DecodePool | undefined;

/** The pool that all slides of the process share. Its idle threads do not keep the process alive. */
export function sharedDecodePool(): DecodePool {
  shared ??= new DecodePool();
  return shared;
}
