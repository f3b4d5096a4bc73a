/**
 * Slides as jobs of a queue in Redis, for more machines than one: submitted here, done by `queue-worker.ts`, counted here.
 *
 * A slide may be handed out twice, when a worker dies or loses its connection; what it is made of and with is hashed, so the
 * second time finds it finished. A slide that fails comes back with growing pauses and is parked with its reason in the end.
 */
import { createHash } from 'node:crypto';
import { type Job, type JobType, Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { messageOf, UserError } from '../errors.ts';
import { VERSION } from '../version.ts';
import type { LineOptions } from './line.ts';
import type { Failure } from './slide-failure.ts';
import { slideFolder } from './slide-folder.ts';
import type { SlideInput } from './slide-inputs.ts';
import type { Line, SlideOptions } from './slide-job.ts';
import { readFinished } from './slide-record.ts';
import { configurationHash } from './slide-run.ts';

/** All that a worker needs to know of a slide. Paths are absolute and the same on every machine. */
export interface SlideTask {
  readonly input: SlideInput;
  /** The run folder. */
  readonly out: string;
  readonly line: LineOptions;
  readonly slide: Omit<SlideOptions, 'configuration'>;
  /** What whoever submitted it had: a worker of another version or with other weights must not do it. */
  readonly version: string;
  readonly encoder: string | null;
  readonly model: string | null;
}

export interface SlideProgress {
  readonly done: number;
  readonly patches: number;
}

/** What a worker says of a slide that is done. */
export interface SlideReport {
  readonly status: 'done' | 'no-tissue';
  readonly skipped: boolean;
  readonly patches: number;
  readonly seconds: number;
}

export type SlideQueue = Queue<SlideTask, SlideReport>;

export const QUEUE_NAME = 'lamina-slides';
const ATTEMPTS = 3;
const BACK_OFF_MS = 5000;
/** Jobs looked at or sent together. */
const AT_ONCE = 500;

/** @throws UserError `no-queue` if nothing answers there. */
export async function openQueue(url: string): Promise<{ queue: SlideQueue; close(): Promise<void> }> {
  const connection = await connect(url);
  const queue: SlideQueue = new Queue(QUEUE_NAME, { connection });
  queue.on('error', () => {});
  return {
    queue,
    async close() {
      await queue.close();
      connection.disconnect();
    },
  };
}

/** A connection that waits for a queue that is away for a while, but not for one that was never there. @throws UserError `no-queue` */
export async function connect(url: string): Promise<Redis> {
  const wrong = (why: string) =>
    new UserError(
      'no-queue',
      `${withoutPassword(url)}: ${why}.`,
      'Start Redis there, or correct --queue redis://host:port.',
    );
  if (!/^rediss?:\/\//.test(url)) throw wrong('no address of a Redis');
  const redis = new Redis(url, { maxRetriesPerRequest: null, lazyConnect: true, retryStrategy: () => null });
  let reason: unknown;
  redis.on('error', (error) => (reason = error));
  await redis.connect().catch((error) => {
    redis.disconnect();
    throw wrong(`no Redis answers (${messageOf(reason ?? error)})`);
  });
  redis.options.retryStrategy = (times) => Math.min(2000, 100 * times);
  return redis;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}

export interface Submitted {
  readonly queued: number;
  /** Finished in the run folder. */
  readonly finished: number;
  /** Waiting or under way since an earlier `submit`. */
  readonly already: number;
  /** Of the queued ones, those that had been parked. */
  readonly revived: number;
  /** Taken out of the queue: the same slides for the same run folder, with other options, another model or version. */
  readonly replaced: number;
}

/**
 * Queues the slides that are neither finished nor queued. Said again, it changes nothing, except that a parked slide gets another
 * chance; said with other options, it replaces what waits.
 */
export async function submitSlides(
  queue: SlideQueue,
  inputs: readonly SlideInput[],
  line: Line,
  task: Pick<SlideTask, 'out' | 'line' | 'slide'>,
): Promise<Submitted> {
  const counts = { queued: 0, finished: 0, already: 0, revived: 0, replaced: 0 };
  const waiting = await jobsOf(queue, ['waiting', 'delayed']);
  const wanted = new Map<string, string>();
  const revived = await removeParked(queue, task.out, new Set(inputs.map(({ id }) => id)));
  for (let first = 0; first < inputs.length; first += AT_ONCE) {
    const some = inputs.slice(first, first + AT_ONCE);
    const jobs = await Promise.all(
      some.map(async (input) => {
        const configuration = await configurationHash(input, line, task.slide);
        const folder = slideFolder(task.out, input.id);
        const jobId = jobIdOf(task, input.id, configuration);
        wanted.set(input.id, jobId);
        if (await readFinished(folder, input.source, configuration)) return 'finished';
        const state = await queue.getJobState(jobId);
        if (state !== 'unknown' && state !== 'completed' && state !== 'failed') return 'already';
        // Done once, and its files are gone.
        if (state !== 'unknown') await queue.remove(jobId);
        const data = { ...task, input, version: VERSION, ...idsOf(line) };
        const backoff = { type: 'exponential', delay: BACK_OFF_MS, jitter: 0.5 };
        return { name: input.id, data, opts: { jobId, attempts: ATTEMPTS, backoff } };
      }),
    );
    const fresh = jobs.filter((job) => typeof job === 'object');
    if (fresh.length > 0) await queue.addBulk(fresh as Parameters<SlideQueue['addBulk']>[0]);
    counts.queued += fresh.length;
    counts.revived += fresh.filter(({ name }) => revived.has(name)).length;
    counts.finished += jobs.filter((job) => job === 'finished').length;
    counts.already += jobs.filter((job) => job === 'already').length;
  }
  const outdated = waiting.filter(
    ({ id, data }) => data.out === task.out && wanted.has(data.input.id) && wanted.get(data.input.id) !== id,
  );
  // A worker may have taken one just then.
  const removed = await Promise.all(outdated.map(({ id }) => queue.remove(id!)));
  counts.replaced = removed.filter((count) => count > 0).length;
  return counts;
}

/** What the slides of a line are made with. */
export function idsOf({ encoder, predictor }: Line): Pick<SlideTask, 'encoder' | 'model'> {
  return { encoder: encoder?.id ?? null, model: predictor?.model.hash ?? null };
}

/** The same slide into the same folder with the same options and the same model is the same job. */
function jobIdOf(task: Pick<SlideTask, 'out' | 'line' | 'slide'>, id: string, configuration: string): string {
  return createHash('sha256')
    .update(JSON.stringify([task, id, configuration]))
    .digest('hex');
}

async function removeParked(queue: SlideQueue, out: string, ids: ReadonlySet<string>): Promise<Set<string>> {
  const parked = (await jobsOf(queue, ['failed'])).filter(({ data }) => data.out === out && ids.has(data.input.id));
  await Promise.all(parked.map((job) => job.remove()));
  return new Set(parked.map(({ data }) => data.input.id));
}

async function jobsOf(queue: SlideQueue, states: JobType[]): Promise<Job<SlideTask, SlideReport>[]> {
  return (await queue.getJobs(states)).filter(Boolean) as Job<SlideTask, SlideReport>[];
}

export interface Parked {
  readonly input: SlideInput;
  readonly out: string;
  readonly attempts: number;
  readonly failure: Failure;
}

/** Slides that were given up, and why. @param out of one run folder only. */
export async function parkedSlides(queue: SlideQueue, out?: string): Promise<Parked[]> {
  const jobs = await jobsOf(queue, ['failed']);
  return jobs
    .filter(({ data }) => out === undefined || data.out === out)
    .map((job) => {
      const { input, out } = job.data;
      return { input, out, attempts: job.attemptsMade, failure: reasonOf(job) };
    });
}

/** Workers give a reason as JSON; the queue itself knows only that a worker died over the slide, again and again. */
function reasonOf({ failedReason, data }: Job<SlideTask, SlideReport>): Failure {
  try {
    return JSON.parse(failedReason) as Failure;
  } catch {
    const message = `${data.input.source}: the workers that had it ended in the middle of it (${failedReason}).`;
    return { stage: 'open', code: 'worker-died', message, hint: 'Run this slide alone with lamina run --verbose.' };
  }
}

export interface QueueStatus {
  readonly waiting: number;
  readonly active: number;
  /** Failed, and waiting for the next try. */
  readonly delayed: number;
  readonly done: number;
  readonly parked: readonly Parked[];
  readonly workers: number;
  readonly underWay: readonly (SlideProgress & { readonly slide: string })[];
}

export async function queueStatus(queue: SlideQueue): Promise<QueueStatus> {
  const [counts, active, parked, workers] = await Promise.all([
    queue.getJobCounts('waiting', 'active', 'delayed', 'completed'),
    jobsOf(queue, ['active']),
    parkedSlides(queue),
    queue.getWorkersCount(),
  ]);
  const underWay = active.map(({ data, progress }) => {
    const { done = 0, patches = 0 } = (typeof progress === 'object' ? progress : {}) as Partial<SlideProgress>;
    return { slide: data.input.id, done, patches };
  });
  const { waiting = 0, active: count = 0, delayed = 0, completed = 0 } = counts;
  return { waiting, active: count, delayed, done: completed, parked, workers, underWay };
}
