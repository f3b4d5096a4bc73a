/** Many slides, one after another: finished ones are skipped, failed ones are written down, the rest go on. */
import { join } from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import type { FeatureType } from '../features/store.ts';
import type { RunResult } from '../mil/result.ts';
import { hashSlide } from '../tiling/slide-hash.ts';
import type { Mpp } from '../units.ts';
import { VERSION } from '../version.ts';
import type { SlideInput } from './slide-inputs.ts';
import { type Line, runSlide } from './slide-job.ts';
import { type FinishedSlide, hashOf, readFinished } from './slide-record.ts';
import { type StageName, Stages } from './stages.ts';
import { areasOf, requireAreasPerSlide, type TilingOptions } from './survey.ts';
import { writeFailures, writeSummary } from './tables.ts';
import { makeFolder, writeJson } from './whole-file.ts';

export interface BatchOptions {
  /** The run folder. */
  readonly out: string;
  readonly mpp: Mpp | null;
  readonly tiling: TilingOptions;
  readonly batchSize: number;
  readonly dtype: FeatureType;
  /** What else the run was asked for, for `run.json`. */
  readonly asked: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  readonly onEvent: (event: BatchEvent) => void;
}

export type BatchEvent =
  | { readonly kind: 'begin'; readonly input: SlideInput; readonly index: number; readonly total: number }
  | { readonly kind: 'patches'; readonly input: SlideInput; readonly done: number; readonly patches: number }
  | { readonly kind: 'end'; readonly outcome: SlideOutcome; readonly index: number; readonly total: number };

export interface Failure {
  readonly stage: StageName;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface SlideOutcome {
  readonly input: SlideInput;
  readonly status: 'done' | 'no-tissue' | 'failed';
  /** Finished by a former run. */
  readonly skipped: boolean;
  /** Null when it failed. */
  readonly finished: FinishedSlide | null;
  readonly failure: Failure | null;
  /** Wall seconds in this run. */
  readonly seconds: number;
  /** What was thrown, for `--verbose`. */
  readonly error: unknown;
}

/**
 * Runs the slides and writes the run folder: `run.json` at the start and, with the tables, at the end; also when interrupted.
 *
 * @returns one outcome a slide, in the order of the inputs.
 * @throws UserError `cannot-write` if the folder cannot be made, `one-area-file`; the signal's reason. A bad slide is an outcome, not an error.
 */
export async function runBatch(
  inputs: readonly SlideInput[],
  line: Line,
  options: BatchOptions,
): Promise<SlideOutcome[]> {
  const { out, tiling, signal, onEvent } = options;
  await requireAreasPerSlide(tiling.mask, inputs.length);
  await requireAreasPerSlide(tiling.roi, inputs.length);
  await makeFolder(join(out, 'slides'));
  const startedAt = new Date().toISOString();
  const timings: Record<string, number> = {};
  const outcomes: SlideOutcome[] = [];
  const writeRun = (finishedAt: string | null) =>
    writeJson(join(out, 'run.json'), runResult(inputs, line, options, { startedAt, finishedAt, timings }));

  await writeRun(null);
  try {
    for (const [index, input] of inputs.entries()) {
      signal.throwIfAborted();
      onEvent({ kind: 'begin', input, index, total: inputs.length });
      const outcome = await runOne(input, line, options, timings);
      outcomes.push(outcome);
      onEvent({ kind: 'end', outcome, index, total: inputs.length });
    }
  } finally {
    await writeSummary(join(out, 'summary.csv'), outcomes, line.predictor?.model.classes ?? []);
    await writeFailures(join(out, 'failures.csv'), outcomes);
    await writeRun(signal.aborted ? null : new Date().toISOString());
  }
  return outcomes;
}

/** @throws the signal's reason, and nothing else. */
async function runOne(
  input: SlideInput,
  line: Line,
  options: BatchOptions,
  timings: Record<string, number>,
): Promise<SlideOutcome> {
  const { out, signal, onEvent } = options;
  const folder = join(out, 'slides', input.id);
  const stages = new Stages();
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  try {
    const configuration = await configurationHash(input, line, options);
    const former = await readFinished(folder, input.source, configuration);
    if (former) return { ...finished(input, former), skipped: true, seconds: seconds() };
    const onProgress = (done: number, patches: number) => onEvent({ kind: 'patches', input, done, patches });
    const made = await runSlide(input, folder, line, { ...options, configuration }, { stages, signal, onProgress });
    return { ...finished(input, made), skipped: false, seconds: seconds() };
  } catch (error) {
    signal.throwIfAborted();
    const failure = { stage: stages.current, ...failureOf(error) };
    return { input, status: 'failed', skipped: false, finished: null, failure, seconds: seconds(), error };
  } finally {
    for (const [stage, spent] of Object.entries(stages.seconds)) timings[stage] = (timings[stage] ?? 0) + spent;
  }
}

function finished(input: SlideInput, made: FinishedSlide) {
  const status = made.slide.nPatches === 0 ? ('no-tissue' as const) : ('done' as const);
  return { input, status, finished: made, failure: null, error: null };
}

/** What was thrown, in words for the person. */
export function failureOf(error: unknown): Omit<Failure, 'stage'> {
  if (error instanceof UserError) return { code: error.code, message: error.problem, hint: error.hint };
  return { code: 'fault', message: messageOf(error), hint: 'Run the slide again with --verbose and report it.' };
}

/** Everything that shapes the files of one slide; not what only shapes the speed, such as device, threads and batch. */
async function configurationHash(
  input: SlideInput,
  { encoder, predictor }: Line,
  { mpp, tiling, dtype }: BatchOptions,
): Promise<string> {
  return hashOf({
    version: VERSION,
    mpp: mpp ?? input.mpp,
    ...tiling,
    mask: await contentOf(tiling.mask, input),
    roi: await contentOf(tiling.roi, input),
    dtype,
    encoder: encoder?.id ?? null,
    model: predictor?.model.hash ?? null,
    label: input.label,
  });
}

/** Hash of the areas of a slide, null without any; a file that cannot be read fails when it is needed. */
async function contentOf(path: string | null, { id }: SlideInput): Promise<string | null> {
  return path === null ? null : await hashSlide(await areasOf(path, id)).catch(() => null);
}

function runResult(
  inputs: readonly SlideInput[],
  { encoder, predictor }: Line,
  { out, mpp, tiling, batchSize, dtype, asked }: BatchOptions,
  times: Pick<RunResult, 'startedAt' | 'finishedAt' | 'timings'>,
): RunResult {
  const settings = { out, mpp, ...tiling, batchSize, dtype, encoder: encoder?.id ?? null };
  return {
    version: VERSION,
    ...times,
    configuration: { ...asked, ...settings, slides: inputs.map(({ source }) => source) },
    device: predictor?.deviceName ?? 'none',
    model: predictor?.model ?? null,
    hashes: predictor ? { model: predictor.model.hash } : {},
  };
}
