/**
 * A worker of the queue: takes slides, runs the line over them, writes into their run folders, until it is told to stop.
 *
 * What a slide is to blame for counts against it, and parks it in the end. What the machine is to blame for (no run folder, no
 * model, no GPU, other weights, another version, a full disk) gives the slide back to the others, and ends the worker.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DelayedError, type Job, Worker } from 'bullmq';
import { UserError } from '../errors.ts';
import type { OnDownload } from '../features/encoders/hub.ts';
import { VERSION } from '../version.ts';
import { type OpenLine, openLine } from './line.ts';
import {
  connect,
  idsOf,
  openQueue,
  parkedSlides,
  QUEUE_NAME,
  type SlideProgress,
  type SlideQueue,
  type SlideReport,
  type SlideTask,
} from './queue.ts';
import type { Failure } from './slide-failure.ts';
import { runSlideOnce } from './slide-run.ts';
import { Stations } from './station.ts';
import { writeTables } from './tables.ts';

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
  readonly onDownload?: OnDownload;
}

export type WorkerEvent =
  | { readonly kind: 'begin'; readonly slide: string }
  | { readonly kind: 'end'; readonly slide: string; readonly report: SlideReport }
  | { readonly kind: 'failed'; readonly slide: string; readonly failure: Failure; readonly parked: boolean }
  | { readonly kind: 'drain' };

type SlideWork = Job<SlideTask, SlideReport>;

/** A slide that is given back, because another process is at it or this machine cannot do it, is handed out again after so long. */
const GIVEN_BACK_MS = 5000;
const PROGRESS_MS = 1000;
const TABLES_MS = 30_000;
const POLL_MS = 500;
/** A slide over which so many workers died is parked. */
const MOST_DEATHS = 5;
/** Two runs that take turns in the queue keep theirs. */
const LINES_KEPT = 2;

/**
 * @returns when it has drained.
 * @throws UserError `no-queue`; when it has drained, what this machine lacks for a slide: `no-run-folder`, `version-mismatch`,
 * `model-mismatch`, `disk-full`, and as `openLine`.
 */
export async function runWorker(url: string, options: WorkerOptions): Promise<void> {
  const { concurrency, stalledAfterMs, untilEmpty, onEvent, onDownload } = options;
  const { queue, close } = await openQueue(url);
  const connection = await connect(url);
  const lines = new Lines(onDownload);
  const tables = new RunTables(queue);
  const stations = new Stations();
  /** Aborted with what this machine lacks. */
  const lacks = new AbortController();
  const drain = AbortSignal.any([options.drain, lacks.signal]);
  const worker: Worker<SlideTask, SlideReport> = new Worker(
    QUEUE_NAME,
    async (job, token) => {
      try {
        lacks.signal.throwIfAborted();
        return await work(job, token!, { lines, tables, stations, onEvent });
      } catch (error) {
        if (!(error instanceof Unfit)) throw error;
        lacks.abort(error);
        // It takes no more from here on; else it would ask for the next slide before it is closed.
        void worker.pause(true);
        return await giveBack(job, token!);
      }
    },
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
    if (lacks.signal.aborted) throw (lacks.signal.reason as Unfit).cause;
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

/** This machine cannot do the slide, and another one may: the cause is for the person who started the worker. */
class Unfit extends Error {
  constructor(cause: unknown) {
    super('This machine cannot do the slide.', { cause });
  }
}

/** Another worker gets the slide, and no attempt is counted. */
async function giveBack(job: SlideWork, token: string): Promise<never> {
  await job.moveToDelayed(Date.now() + GIVEN_BACK_MS, token);
  throw new DelayedError();
}

interface Workplace {
  readonly lines: Lines;
  readonly tables: RunTables;
  readonly stations: Stations;
  readonly onEvent: (event: WorkerEvent) => void;
}

/** @throws Unfit; an Error with the failure as JSON, which the queue keeps as the reason. */
async function work(job: SlideWork, token: string, place: Workplace): Promise<SlideReport> {
  const { lines, tables, stations, onEvent } = place;
  const { input, out, slide } = job.data;
  const line = await lines.take(job.data);
  try {
    onEvent({ kind: 'begin', slide: input.id });
    const outcome = await runSlideOnce(input, line, stations, {
      ...slide,
      out,
      signal: new AbortController().signal,
      onProgress: throttled((progress) => void job.updateProgress(progress).catch(() => {})),
      live: true,
      waits: false,
    });
    const { failure } = outcome;
    if (failure?.code === 'locked') return await giveBack(job, token);
    if (failure?.code === 'disk-full') throw new Unfit(outcome.error);
    tables.note(out);
    if (failure) {
      const parked = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
      onEvent({ kind: 'failed', slide: input.id, failure, parked });
      throw new Error(JSON.stringify(failure));
    }
    const { slide: record } = outcome.finished!;
    const status = outcome.status as SlideReport['status'];
    const report = { status, skipped: outcome.skipped, patches: record.nPatches, seconds: outcome.seconds };
    onEvent({ kind: 'end', slide: input.id, report });
    return report;
  } finally {
    lines.release(job.data);
  }
}

function throttled(say: (progress: SlideProgress) => void): (done: number, patches: number) => void {
  let said = 0;
  return (done, patches) => {
    if (performance.now() - said < PROGRESS_MS) return;
    said = performance.now();
    say({ done, patches });
  };
}

interface UsedLine {
  readonly line: Promise<OpenLine>;
  /** Slides on it. */
  slides: number;
}

/** The lines that the jobs ask for, by their options; usually one. */
class Lines {
  /** The one asked for last is the last. */
  readonly #lines = new Map<string, UsedLine>();
  readonly #onDownload: OnDownload | undefined;

  constructor(onDownload: OnDownload | undefined) {
    this.#onDownload = onDownload;
  }

  /** A line for a slide, until it is released. @throws Unfit */
  async take(task: SlideTask): Promise<OpenLine> {
    try {
      await requireRunFolder(task);
      requireVersion(task);
      const used = this.#used(task);
      used.slides++;
      try {
        return requireParts(task, await used.line);
      } catch (error) {
        used.slides--;
        throw error;
      }
    } catch (cause) {
      throw new Unfit(cause);
    }
  }

  #used(task: SlideTask): UsedLine {
    const key = keyOf(task);
    const used = this.#lines.get(key) ?? { line: this.#open(task), slides: 0 };
    this.#lines.delete(key);
    this.#lines.set(key, used);
    return used;
  }

  release(task: SlideTask): void {
    this.#lines.get(keyOf(task))!.slides--;
  }

  /** Once those that are too many, and have no slide, are closed. */
  async #open({ line: options }: SlideTask): Promise<OpenLine> {
    const idle = [...this.#lines].filter(([, { slides }]) => slides === 0);
    const tooMany = idle.slice(0, Math.max(0, this.#lines.size + 1 - LINES_KEPT));
    for (const [key] of tooMany) this.#lines.delete(key);
    await closeAll(tooMany.map(([, { line }]) => line));
    return await openLine(options, this.#onDownload);
  }

  async close(): Promise<void> {
    await closeAll([...this.#lines.values()].map(({ line }) => line));
  }
}

const keyOf = ({ line }: SlideTask) => JSON.stringify(line);

async function closeAll(lines: readonly Promise<OpenLine>[]): Promise<void> {
  await Promise.allSettled(lines.map(async (line) => (await line).close()));
}

/** `submit` made it: where it is not, the shared folder is not. @throws UserError `no-run-folder` */
async function requireRunFolder({ out }: SlideTask): Promise<void> {
  if (await stat(join(out, 'slides')).catch(() => null)) return;
  const problem = `${out}: the run folder that slides were submitted for is not on this machine.`;
  throw new UserError(
    'no-run-folder',
    problem,
    'Mount the shared folder at the same path, or submit the slides again.',
  );
}

/** @throws UserError `version-mismatch` */
function requireVersion({ version }: SlideTask): void {
  if (version === VERSION) return;
  const problem = `The slides were submitted by version ${version}, and this worker is version ${VERSION}.`;
  const hint = 'Take that version here, or submit the slides again with this one.';
  throw new UserError('version-mismatch', problem, hint);
}

/** @throws UserError `model-mismatch` when encoder or model are not those that the slide was submitted with. */
function requireParts({ encoder, model }: SlideTask, line: OpenLine): OpenLine {
  const here = idsOf(line);
  if (here.encoder === encoder && here.model === model) return line;
  const [wanted, found] = here.encoder === encoder ? [model, here.model] : [encoder, here.encoder];
  const problem = `The slides were submitted for ${wanted}, and this worker has ${found}.`;
  const hint = 'Give this machine the same model and encoder, or submit the slides again with these.';
  throw new UserError('model-mismatch', problem, hint);
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
