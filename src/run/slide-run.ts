/**
 * One slide of a run folder, once: skipped when it is finished, left alone while another process is at it, and what went wrong
 * is an outcome. A batch and a worker of a queue do the same here.
 */
import { type Lock, lockedError, tryLock, waitForLock } from '../lock.ts';
import { hashSlide } from '../tiling/slide-hash.ts';
import { VERSION } from '../version.ts';
import { type Failure, failureOf } from './slide-failure.ts';
import { attemptFolder, putInPlace, removeAttempt, removeLeftovers, slideFolder, slideLock } from './slide-folder.ts';
import type { SlideInput } from './slide-inputs.ts';
import { type Line, runSlide, type SlideOptions } from './slide-job.ts';
import { type FinishedSlide, hashOf, readFinished } from './slide-record.ts';
import { Stages } from './stages.ts';
import type { Stations } from './station.ts';
import { areasOf } from './survey.ts';

export interface SlideOutcome {
  readonly input: SlideInput;
  readonly status: 'done' | 'no-tissue' | 'failed';
  /** Finished before. */
  readonly skipped: boolean;
  /** Null when it failed. */
  readonly finished: FinishedSlide | null;
  readonly failure: Failure | null;
  /** Wall seconds in this run. */
  readonly seconds: number;
  /** By stage. */
  readonly stageSeconds: Readonly<Record<string, number>>;
  /** What was thrown, for `--verbose`. */
  readonly error: unknown;
}

export interface SlideRunOptions extends Omit<SlideOptions, 'configuration'> {
  /** The run folder; it has a folder `slides`. */
  readonly out: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, patches: number) => void;
  /** Whether a viewer can watch. */
  readonly live: boolean;
  /** When another process is at the slide: wait for it, rather than fail with `locked`. */
  readonly waits: boolean;
}

/** @throws the signal's reason, and nothing else. */
export async function runSlideOnce(
  input: SlideInput,
  line: Line,
  stations: Stations,
  options: SlideRunOptions,
): Promise<SlideOutcome> {
  const { out, signal, onProgress, live } = options;
  const { id } = input;
  const folder = slideFolder(out, id);
  const stages = new Stages();
  const start = performance.now();
  const times = () => ({ seconds: (performance.now() - start) / 1000, stageSeconds: stages.seconds });
  let lock: Lock | null = null;
  try {
    lock = await lockSlide(input, options);
    await removeLeftovers(out, id);
    const configuration = await configurationHash(input, line, options);
    const former = await readFinished(folder, input.source, configuration);
    if (former) return { ...finished(input, former), skipped: true, ...times() };
    const work = attemptFolder(out, id, lock.token);
    try {
      const control = { stages, stations, signal, onProgress, live };
      const made = await runSlide(input, work, line, { ...options, configuration }, control);
      await stages.run('write', async () => {
        await lock!.requireHeld(id);
        await putInPlace(work, folder);
      });
      return { ...finished(input, made), skipped: false, ...times() };
    } finally {
      await removeAttempt(work);
    }
  } catch (thrown) {
    signal.throwIfAborted();
    // Whoever took the lock over took the files away as well: what is thrown then does not say why.
    const error = (await lock?.requireHeld(id).catch((lost) => lost)) ?? thrown;
    const failure = { stage: stages.current, ...failureOf(error) };
    return { input, status: 'failed', skipped: false, finished: null, failure, error, ...times() };
  } finally {
    await lock?.release();
  }
}

async function lockSlide({ id }: SlideInput, { out, waits, signal }: SlideRunOptions): Promise<Lock> {
  const path = slideLock(out, id);
  const lock = waits ? await waitForLock(path, signal) : await tryLock(path);
  if (!lock) throw await lockedError(path, id);
  return lock;
}

function finished(input: SlideInput, made: FinishedSlide) {
  const status = made.slide.nPatches === 0 ? ('no-tissue' as const) : ('done' as const);
  return { input, status, finished: made, failure: null, error: null };
}

/** Everything that shapes the files of one slide; not what only shapes the speed, such as device, threads and batch. */
export async function configurationHash(
  input: SlideInput,
  { encoder, predictor }: Line,
  { mpp, tiling, dtype, keepBags }: Pick<SlideOptions, 'mpp' | 'tiling' | 'dtype' | 'keepBags'>,
): Promise<string> {
  return hashOf({
    version: VERSION,
    mpp: mpp ?? input.mpp,
    ...tiling,
    mask: await contentOf(tiling.mask, input),
    roi: await contentOf(tiling.roi, input),
    dtype,
    keepBags: keepBags || !predictor,
    encoder: encoder?.id ?? null,
    model: predictor?.model.hash ?? null,
    // Left out where there is none, so that runs from before there were any stay finished.
    explains: predictor?.explains.length ? predictor.explains : undefined,
    // The one device whose predictions are others by more than their rounding.
    half: predictor?.device.half || undefined,
    label: input.label,
  });
}

/** Hash of the areas of a slide, null without any; a file that cannot be read fails when it is needed. */
async function contentOf(path: string | null, { id }: SlideInput): Promise<string | null> {
  return path === null ? null : await hashSlide(await areasOf(path, id)).catch(() => null);
}
