/** Threads that decode, resample and look for tissue: as many as the machine has cores, started when there is work, idle at no cost. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { built } from '../built.ts';
import { startBuilt } from '../built-worker.ts';
import type { TileWindow } from './decode.ts';
import type { CutTask } from './resample.ts';
import type { Urgency } from './slide.ts';
import type { TileEncoding } from './tile-encoding.ts';
import type { TissueTask } from './tissue.ts';

export interface DecodeTask {
  readonly kind: 'decode';
  readonly bytes: Uint8Array;
  readonly encoding: TileEncoding;
  readonly window: TileWindow;
  /** Shared memory to decode into; without it the answer brings a buffer of its own. */
  readonly into: SharedArrayBuffer | null;
}

export type Task = DecodeTask | CutTask | TissueTask;

/** What a thread is sent: tasks to do one after the other. Waking a thread costs as much as a small tile, so they travel together. */
export type Order = readonly { readonly id: number; readonly task: Task }[];
/** One per task of an order. */
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
  /** Jobs of the next order. */
  readonly next: number[];
  /** The id of the task that the thread is at. */
  readonly at: Int32Array;
  /** What the watchdog last saw it at, and when it first did (milliseconds). */
  seen: number;
  since: number;
  watchdog: NodeJS.Timeout | undefined;
}

/** Whoever waits for room. */
interface Waiting {
  readonly share: number;
  readonly enter: () => void;
}

/** Of so many that are let in while both wait, one is for later: the encoder will want that as well. */
const turnsPerLater = 4;

/** Full shares in a thread's hands: one to do, one to do next, and one being read from disk. */
const sharesPerThread = 3;
/** A tile of 1024 x 512 or more is a full share; small ones count by their pixels, down to this. */
const smallestShare = 1 / 8;
const fullSharePixels = 1024 * 512;

/** What a tile of so many pixels takes of a thread's room. */
export function shareOf(pixels: number): number {
  return Math.min(1, Math.max(smallestShare, pixels / fullSharePixels));
}

/** A tile takes milliseconds; what takes this long is a damaged one that the decoder cannot leave. */
const stuckAfterMs = 4000;

export class DecodePool {
  readonly size: number;
  readonly #stuckAfterMs: number;
  readonly #threads: Thread[] = [];
  readonly #waiting: Record<Urgency, Waiting[]> = { now: [], later: [] };
  #turns = 0;
  #shares = 0;
  #nextId = 0;
  #closed = false;

  /** @param stuckAfter milliseconds after which a task is given up. */
  constructor(size = availableParallelism(), stuckAfter = stuckAfterMs) {
    this.size = size;
    this.#stuckAfterMs = stuckAfter;
  }

  /**
   * Does one task. `prepare` makes it, usually by reading bytes, and is called only when there is room:
   * however many callers wait, only a few tiles' bytes are in memory.
   *
   * @param share see `shareOf`.
   * @param urgency within it, who comes first is served first.
   * @returns the decoded buffer; null if the task had memory to write into, or if `prepare` gave null: nothing to do.
   * @throws what `prepare` throws, the decoder's reason, or the signal's.
   */
  async run(
    prepare: () => Promise<Task | null> | Task | null,
    signal?: AbortSignal,
    share = 1,
    urgency: Urgency = 'now',
  ): Promise<ArrayBuffer | null> {
    signal?.throwIfAborted();
    if (this.#next() !== null || !this.#hasRoom(share)) {
      await new Promise<void>((enter) => this.#waiting[urgency].push({ share, enter }));
    } else this.#shares += share;
    try {
      signal?.throwIfAborted();
      const task = await prepare();
      if (this.#closed) throw new PoolUnavailable('the decoder threads have been closed');
      return task === null ? null : await this.#post(task);
    } finally {
      this.#shares -= share;
      // The room goes straight to those who wait.
      for (let next = this.#next(); next && this.#hasRoom(next[0]!.share); next = this.#next()) {
        const { share, enter } = next.shift()!;
        this.#turns++;
        this.#shares += share;
        enter();
      }
    }
  }

  /** Ends the threads; tasks under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#threads.splice(0).map((thread) => this.#end(thread, 'the decoder threads were closed')));
  }

  /** Who is let in next, the first of these; null if nobody waits. */
  #next(): Waiting[] | null {
    const { now, later } = this.#waiting;
    if (now.length === 0) return later.length === 0 ? null : later;
    return later.length > 0 && this.#turns % turnsPerLater === 0 ? later : now;
  }

  #hasRoom(share: number): boolean {
    return this.#shares + share <= this.size * sharesPerThread + 1e-9;
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
    thread.next.push(id);
    if (thread.next.length === 1) setImmediate(() => this.#send(thread));
  }

  /** What has come together in this turn of the event loop. */
  #send(thread: Thread): void {
    const order = thread.next.splice(0).flatMap((id) => {
      const job = thread.jobs.get(id);
      return job ? [{ id, task: job.task }] : [];
    });
    if (order.length > 0) thread.worker.postMessage(order satisfies Order);
  }

  #start(): Thread {
    const script = built('./decode-worker.js', import.meta.url);
    if (!existsSync(script)) throw new PoolUnavailable(`${script.pathname} is missing: run npm run build`);
    const at = new Int32Array(new SharedArrayBuffer(4));
    const worker = startBuilt(script, { at });
    const thread: Thread = { worker, jobs: new Map(), next: [], at, seen: -1, since: 0, watchdog: undefined };
    worker.on('message', (answers: readonly Answer[]) => this.#finish(thread, answers));
    worker.on('error', (error) => this.#replace(thread, `the decoder thread ended: ${error.message}`));
    worker.unref();
    this.#threads.push(thread);
    return thread;
  }

  #finish(thread: Thread, answers: readonly Answer[]): void {
    for (const answer of answers) {
      const job = thread.jobs.get(answer.id);
      thread.jobs.delete(answer.id);
      if ('error' in answer) job?.reject(new Error(answer.error));
      else job?.resolve(answer.data);
    }
    if (thread.jobs.size > 0) return;
    thread.worker.unref();
    clearInterval(thread.watchdog);
  }

  /** Looks now and then whether a thread has been at one task for too long. */
  #watch(thread: Thread): void {
    thread.since = performance.now();
    thread.watchdog = setInterval(() => {
      const at = Atomics.load(thread.at, 0);
      const now = performance.now();
      if (at !== thread.seen) [thread.seen, thread.since] = [at, now];
      else if (now - thread.since > this.#stuckAfterMs) this.#replace(thread, 'the decoder did not come to an end');
    }, this.#stuckAfterMs / 8);
  }

  /** Gives up the job that a thread hangs at or died of, and its other jobs to another thread. */
  #replace(thread: Thread, reason: string): void {
    const place = this.#threads.indexOf(thread);
    if (place < 0) return;
    this.#threads.splice(place, 1);
    const jobs = [...thread.jobs.values()];
    const lost = thread.jobs.get(Atomics.load(thread.at, 0)) ?? jobs[0];
    thread.jobs.clear();
    lost?.reject(new Error(reason));
    for (const job of jobs) if (job !== lost) this.#give(this.#leastBusy(), job);
    void this.#end(thread, reason);
  }

  async #end(thread: Thread, reason: string): Promise<void> {
    clearInterval(thread.watchdog);
    for (const job of thread.jobs.values()) job.reject(new PoolUnavailable(reason));
    thread.jobs.clear();
    await thread.worker.terminate();
  }
}

let shared: DecodePool | undefined;
let threads: number | undefined;

/** The pool that all slides of the process share. Its idle threads do not keep the process alive. */
export function sharedDecodePool(): DecodePool {
  shared ??= new DecodePool(threads);
  return shared;
}

/** How many threads `sharedDecodePool` has; to be said before it is first asked for. */
export function useDecodeThreads(count: number): void {
  threads = count;
}
