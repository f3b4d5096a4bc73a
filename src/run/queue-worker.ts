/** A worker of the queue: takes slides, runs the line over them, writes into their run folders, until it is told to stop. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DelayedError, type Job, UnrecoverableError, Worker } from 'bullmq';
import { UserError } from '../errors.ts';
import { type OpenLine, openLine } from './line.ts';
import {
  connect,
  openQueue,
  parkedSlides,
  QUEUE_NAME,
  type SlideProgress,
  type SlideQueue,
  type SlideReport,
  type SlideTask,
} from './queue.ts';
import { type Failure, failureOf } from './slide-failure.ts';
import { runSlideOnce } from './slide-run.ts';
import { Stations } from './station.ts';
import { writeTables } from './tables.ts';
import { makeFolder } from './whole-file.ts';

export interface WorkerOptions {
  /** Slides on the line at a time. */
  readonly concurrency: number;
  /** A slide whose worker has not been heard of for so long goes to another. */
  readonly stalledAfterMs: number;
  /** Ends when nothing is queued any more, rather than waiting for more. */
  readonly untilEmpty: boolean;
  /** Aborted: takes no more slides, finishes those under way, and ends. */
  readonly drain: AbortSignal;
  readonly onEvent: (event: WorkerEvent) => void;
}

export type WorkerEvent =
  | { readonly kind: 'begin'; readonly slide: string }
  | { readonly kind: 'end'; readonly slide: string; readonly report: SlideReport }
  | { readonly kind: 'failed'; readonly slide: string; readonly failure: Failure; readonly parked: boolean }
  | { readonly kind: 'drain' };

type SlideWork = Job<SlideTask, SlideReport>;

/** A slide that another process is at is asked for again after so long. */
const LOCKED_MS = 5000;
const PROGRESS_MS = 1000;
const TABLES_MS = 30_000;
const POLL_MS = 500;
/** A slide over which so many workers died is parked. */
const MOST_DEATHS = 5;

/** @returns when it has drained. @throws UserError `no-queue` */
export async function runWorker(url: string, options: WorkerOptions): Promise<void> {
  const { concurrency, stalledAfterMs, untilEmpty, drain, onEvent } = options;
  const { queue, close } = await openQueue(url);
  const connection = await connect(url);
  const lines = new Lines();
  const tables = new RunTables(queue);
  const stations = new Stations();
  const worker = new Worker<SlideTask, SlideReport>(
    QUEUE_NAME,
    (job, token) => work(job, token!, { lines, tables, stations, onEvent }),
    {
      connection,
      concurrency,
      lockDuration: stalledAfterMs,
      stalledInterval: stalledAfterMs,
      maxStalledCount: MOST_DEATHS,
      drainDelay: 1,
    },
  );
  // A connection that is lost comes back; what could not be said by then is said by whoever gets the slide next.
  worker.on('error', () => {});
  try {
    await worker.waitUntilReady();
    while (!drain.aborted && !(untilEmpty && (await isEmpty(queue)))) {
      await sleep(POLL_MS, undefined, { signal: drain }).catch(() => {});
      await tables.write(TABLES_MS);
    }
    if (drain.aborted) onEvent({ kind: 'drain' });
    await worker.close();
    await tables.write(0);
  } finally {
    await lines.close();
    connection.disconnect();
    await close();
  }
}

async function isEmpty(queue: SlideQueue): Promise<boolean> {
  const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized');
  return Object.values(counts).every((count) => count === 0);
}

interface Workplace {
  readonly lines: Lines;
  readonly tables: RunTables;
  readonly stations: Stations;
  readonly onEvent: (event: WorkerEvent) => void;
}

/** @throws Error with the failure as JSON, which the queue keeps as the reason. */
async function work(
  job: SlideWork,
  token: string,
  { lines, tables, stations, onEvent }: Workplace,
): Promise<SlideReport> {
  const { input, out, slide } = job.data;
  onEvent({ kind: 'begin', slide: input.id });
  const fail = async (failure: Failure, again: boolean): Promise<never> => {
    if (failure.code === 'locked') {
      await job.moveToDelayed(Date.now() + LOCKED_MS, token);
      throw new DelayedError();
    }
    const parked = !again || job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
    onEvent({ kind: 'failed', slide: input.id, failure, parked });
    tables.note(out);
    throw new (again ? Error : UnrecoverableError)(JSON.stringify(failure));
  };
  let line: OpenLine;
  try {
    line = await lines.open(job.data);
    await makeFolder(join(out, 'slides'));
  } catch (error) {
    // Another machine may have what this one lacks: the shared folder, the model, a GPU.
    return await fail({ stage: 'open', ...failureOf(error) }, true);
  }
  const outcome = await runSlideOnce(input, line, stations, {
    ...slide,
    out,
    signal: new AbortController().signal,
    onProgress: throttled((progress) => void job.updateProgress(progress).catch(() => {})),
    live: true,
    waits: false,
  });
  if (outcome.failure) return await fail(outcome.failure, true);
  const { slide: record } = outcome.finished!;
  const status = outcome.status as SlideReport['status'];
  const report = { status, skipped: outcome.skipped, patches: record.nPatches, seconds: outcome.seconds };
  onEvent({ kind: 'end', slide: input.id, report });
  tables.note(out);
  return report;
}

function throttled(say: (progress: SlideProgress) => void): (done: number, patches: number) => void {
  let said = 0;
  return (done, patches) => {
    if (performance.now() - said < PROGRESS_MS) return;
    said = performance.now();
    say({ done, patches });
  };
}

/** The lines that the jobs ask for; usually one. */
class Lines {
  #key = '';
  #line: Promise<OpenLine> | null = null;
  readonly #before: Promise<OpenLine>[] = [];

  /** @throws UserError as `openLine`; `model-mismatch` when what is here is not what the job was submitted with. */
  async open({ line: options, encoder, model }: SlideTask): Promise<OpenLine> {
    const key = JSON.stringify(options);
    if (key !== this.#key || !this.#line) {
      if (this.#line) this.#before.push(this.#line);
      this.#key = key;
      this.#line = openLine(options);
      this.#line.catch(() => (this.#key = ''));
    }
    const line = await this.#line;
    const here = { encoder: line.encoder?.id ?? null, model: line.predictor?.model.hash ?? null };
    if (here.encoder === encoder && here.model === model) return line;
    const [wanted, found] = here.encoder === encoder ? [model, here.model] : [encoder, here.encoder];
    throw new UserError(
      'model-mismatch',
      `The slide was submitted for ${wanted}, and this worker has ${found}.`,
      'Give all machines the same model and version, and submit again.',
    );
  }

  async close(): Promise<void> {
    const open = [...this.#before, ...(this.#line ? [this.#line] : [])];
    await Promise.allSettled(open.map(async (line) => (await line).close()));
  }
}

/** The tables of the run folders that this worker wrote into: now and then, and at the end. */
class RunTables {
  readonly #queue: SlideQueue;
  readonly #changed = new Set<string>();
  #written = performance.now();

  constructor(queue: SlideQueue) {
    this.#queue = queue;
  }

  note(out: string): void {
    this.#changed.add(out);
  }

  /** Unless that was done less than so long ago. */
  async write(everyMs: number): Promise<void> {
    if (this.#changed.size === 0 || performance.now() - this.#written < everyMs) return;
    this.#written = performance.now();
    for (const out of [...this.#changed]) {
      this.#changed.delete(out);
      const parked = await parkedSlides(this.#queue, out);
      const news = parked.map(({ input, failure }) => ({ input, failure, finished: null }));
      // A table that cannot be written now is written with the next slide.
      await writeTables(out, news, null).catch(() => this.#changed.add(out));
    }
  }
}
