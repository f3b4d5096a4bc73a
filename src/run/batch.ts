/**
 * Many slides: finished ones are skipped, failed ones are written down, the rest go on. Three are on the line at a time, so that
 * the encoder does not wait for the next one to open.
 */
import { join } from 'node:path';
import type { RunResult } from '../mil/result.ts';
import { VERSION } from '../version.ts';
import type { SlideInput } from './slide-inputs.ts';
import type { Line, SlideOptions } from './slide-job.ts';
import { runSlideOnce, type SlideOutcome } from './slide-run.ts';
import { SLIDES_AT_ONCE, Stations } from './station.ts';
import { requireAreasPerSlide } from './survey.ts';
import { writeTables } from './tables.ts';
import { makeFolder } from './whole-file.ts';

export interface BatchOptions extends Omit<SlideOptions, 'configuration'> {
  /** The run folder. */
  readonly out: string;
  /** How often a slide that failed is tried again, after all others. */
  readonly retries: number;
  /** Ends the batch with the first failure, rather than going on with the others. */
  readonly failFast: boolean;
  /** Whether a viewer can watch slides that are under way. */
  readonly live: boolean;
  /** What else the run was asked for, for `run.json`. */
  readonly asked: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  readonly onEvent: (event: BatchEvent) => void;
}

export type BatchEvent =
  | { readonly kind: 'begin'; readonly input: SlideInput; readonly index: number; readonly total: number }
  | { readonly kind: 'patches'; readonly input: SlideInput; readonly done: number; readonly patches: number }
  /** With `again`, the outcome is a failure and the slide is tried once more later. */
  | {
      readonly kind: 'end';
      readonly outcome: SlideOutcome;
      readonly index: number;
      readonly total: number;
      readonly again: boolean;
    };

/**
 * Runs the slides and writes the run folder: `run.json` at the start and, with the tables, at the end; also when interrupted.
 *
 * @returns one outcome a slide, in the order of the inputs; after a `failFast`, of those that came to an end.
 * @throws UserError `cannot-write` if the folder cannot be made, `disk-full`, `one-area-file`; the signal's reason. A bad slide is an outcome, not an error.
 */
export async function runBatch(
  inputs: readonly SlideInput[],
  line: Line,
  options: BatchOptions,
): Promise<SlideOutcome[]> {
  const { out, tiling, signal } = options;
  await requireAreasPerSlide(tiling.mask, inputs.length);
  await requireAreasPerSlide(tiling.roi, inputs.length);
  await makeFolder(join(out, 'slides'));
  const batch = new Batch(inputs, line, options);
  const startedAt = new Date().toISOString();
  const write = (finishedAt: string | null) => {
    const times = { startedAt, finishedAt, timings: batch.timings };
    return writeTables(out, batch.outcomes(), runResult(inputs, line, options, times));
  };
  await write(null);
  try {
    await batch.run();
  } finally {
    await write(signal.aborted ? null : new Date().toISOString());
  }
  return batch.outcomes();
}

class Batch {
  /** Wall seconds by stage, summed over slides. */
  readonly timings: Record<string, number> = {};
  readonly #inputs: readonly SlideInput[];
  readonly #line: Line;
  readonly #options: BatchOptions;
  readonly #stations = new Stations();
  readonly #outcomes = new Map<SlideInput, SlideOutcome>();
  /** Aborted when the person asks, and by the first failure of a `failFast`. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #places: ReadonlyMap<SlideInput, number>;
  /** How often each slide failed; that another process is at it is no failure of it. */
  readonly #failures = new Map<SlideInput, number>();

  constructor(inputs: readonly SlideInput[], line: Line, options: BatchOptions) {
    this.#inputs = inputs;
    this.#line = line;
    this.#options = options;
    this.#places = new Map(inputs.map((input, i) => [input, i]));
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
  }

  outcomes(): SlideOutcome[] {
    return this.#inputs.flatMap((input) => this.#outcomes.get(input) ?? []);
  }

  /** @throws the reason of the person's signal. */
  async run(): Promise<void> {
    let pending = this.#inputs;
    for (let pass = 0; pending.length > 0; pass++) pending = await this.#pass(pending, pass);
  }

  /** @returns those to be tried again. */
  async #pass(inputs: readonly SlideInput[], pass: number): Promise<SlideInput[]> {
    const again: SlideInput[] = [];
    const queue = inputs.values();
    const lane = async () => {
      for (const input of queue) {
        if (this.#signal.aborted) return;
        if (await this.#one(input, pass)) again.push(input);
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: SLIDES_AT_ONCE }, lane));
    this.#options.signal.throwIfAborted();
    if (this.#stop.signal.aborted) return [];
    for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
    return again;
  }

  /** @returns whether the slide is to be tried again. */
  async #one(input: SlideInput, pass: number): Promise<boolean> {
    const { onEvent, failFast, retries } = this.#options;
    const at = { index: this.#places.get(input)!, total: this.#inputs.length };
    onEvent({ kind: 'begin', input, ...at });
    const outcome = await runSlideOnce(input, this.#line, this.#stations, {
      ...this.#options,
      signal: this.#signal,
      onProgress: (done, patches) => onEvent({ kind: 'patches', input, done, patches }),
      // What another process works on comes after all others, and then waits for it.
      waits: pass > 0,
    });
    for (const [stage, spent] of Object.entries(outcome.stageSeconds)) {
      this.timings[stage] = (this.timings[stage] ?? 0) + spent;
    }
    this.#outcomes.set(input, outcome);
    const failed = outcome.status === 'failed';
    const isElsewhere = failed && ['locked', 'lock-lost'].includes(outcome.failure!.code);
    if (failed && !isElsewhere) this.#failures.set(input, (this.#failures.get(input) ?? 0) + 1);
    const again = isElsewhere || (failed && this.#failures.get(input)! <= retries);
    onEvent({ kind: 'end', outcome, ...at, again });
    if (failFast && failed && !again) this.#stop.abort();
    return again;
  }
}

/** `run.json` */
export function runResult(
  inputs: readonly SlideInput[],
  { encoder, predictor }: Line,
  {
    out,
    mpp,
    tiling,
    batchSize,
    dtype,
    keepBags,
    asked,
  }: Omit<BatchOptions, 'signal' | 'onEvent' | 'retries' | 'failFast' | 'live'>,
  times: Pick<RunResult, 'startedAt' | 'finishedAt' | 'timings'>,
): RunResult {
  const settings = { out, mpp, ...tiling, batchSize, dtype, keepBags, encoder: encoder?.id ?? null };
  return {
    version: VERSION,
    ...times,
    configuration: { ...asked, ...settings, slides: inputs.map(({ source }) => source) },
    device: predictor?.deviceName ?? 'none',
    encoder: encoder && { id: encoder.id, device: encoder.onDevice?.device.name ?? 'cpu' },
    model: predictor?.model ?? null,
    hashes: predictor ? { model: predictor.model.hash } : {},
  };
}
