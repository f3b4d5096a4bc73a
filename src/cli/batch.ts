/** What `tile`, `extract` and `run` have in common: find the slides, run the line over them, print what came out. */
import { resolve } from 'node:path';
import { runBatch } from '../run/batch.ts';
import { type Estimate, estimateBatch } from '../run/dry-run.ts';
import { inShard } from '../run/shard.ts';
import { findSlides } from '../run/slide-inputs.ts';
import type { Line, SlideOptions } from '../run/slide-job.ts';
import type { SlideOutcome } from '../run/slide-run.ts';
import type { TilingOptions } from '../run/survey.ts';
import { DONE, FAILED, SOME_FAILED } from './exit.ts';
import { type BatchFlags, type ExtractFlags, extractDefaults } from './options.ts';
import { printJson, printLine, printTable } from './print.ts';
import { showProgress } from './progress.ts';

export interface RunFlags extends Partial<Pick<ExtractFlags, 'mpp' | 'batch' | 'dtype'>>, Partial<BatchFlags> {
  readonly out: string;
  readonly keepBags?: boolean;
  readonly live?: boolean;
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
}

/** What a slide is run with; the defaults are those of `extract`, which `tile` does not ask for. */
export function slideOptions(flags: RunFlags, tiling: TilingOptions): Omit<SlideOptions, 'configuration'> {
  const { mpp = null, batch = extractDefaults.batch, dtype = extractDefaults.dtype, keepBags = true } = flags;
  return { mpp, tiling, batchSize: batch, dtype, keepBags };
}

/** Runs the line over the slides, or with `--dry-run` says what that would take. Sets the exit code. */
export async function runAndPrint(
  names: readonly string[],
  line: Line,
  tiling: TilingOptions,
  flags: RunFlags,
  signal: AbortSignal,
): Promise<void> {
  const found = await findSlides(names);
  const inputs = flags.shard ? inShard(found, flags.shard) : found;
  if (inputs.length === 0) process.stderr.write('This part of the batch has no slides.\n');
  const options = {
    out: resolve(flags.out),
    ...slideOptions(flags, tiling),
    retries: flags.retry ?? 0,
    failFast: flags.failFast ?? false,
    live: flags.live ?? true,
    asked: { ...flags },
    signal,
  };
  if (flags.dryRun) {
    let done = 0;
    const estimates = await estimateBatch(inputs, line, options, ({ input, finished, patches, failure }) => {
      const what = finished ? 'finished already' : failure ? `would fail (${failure.stage})` : `${patches} patches`;
      process.stderr.write(`${++done}/${inputs.length} ${input.id}: ${what}\n`);
    });
    return printEstimates(estimates, flags.json ?? false);
  }
  const outcomes = await runBatch(inputs, line, { ...options, onEvent: showProgress(flags.verbose ?? false) });
  if (flags.json) printJson({ run: resolve(flags.out), slides: outcomes.map(plain) });
  else {
    printTable(rows(outcomes, line.predictor !== null));
    if (line.predictor?.model.trained === false) printLine(UNTRAINED);
  }
  process.exitCode = exitCode(outcomes);
}

function printEstimates(estimates: readonly Estimate[], json: boolean): void {
  const total = (of: (estimate: Estimate) => number | null) => estimates.reduce((sum, one) => sum + (of(one) ?? 0), 0);
  const finished = estimates.filter((estimate) => estimate.finished).length;
  const totals = {
    finished,
    patches: total(({ patches }) => patches),
    minutes: total(({ seconds }) => seconds) / 60,
    bytes: total(({ bytes }) => bytes),
  };
  if (json) {
    const slides = estimates.map(({ input, finished, patches, sampled, seconds, bytes, failure }) => {
      const minutes = seconds === null ? null : seconds / 60;
      return { id: input.id, source: input.source, finished, patches, sampled, minutes, bytes, failure };
    });
    printJson({ dryRun: true, ...totals, slides });
  } else {
    const row = (slide: string, patches: number | null, minutes: number | null, bytes: number | null) => ({
      slide,
      patches: patches === null ? '-' : `${patches}`,
      minutes: minutes === null ? '-' : minutes.toFixed(2),
      MB: bytes === null ? '-' : (bytes / 1e6).toFixed(1),
    });
    printTable([
      ...estimates
        .filter((estimate) => !estimate.finished)
        .map(({ input, patches, seconds, bytes }) =>
          row(input.id, patches, seconds === null ? null : seconds / 60, bytes),
        ),
      row('all', totals.patches, totals.minutes, totals.bytes),
    ]);
    if (finished > 0) printLine(`${finished} of ${estimates.length} slides are finished already.`);
    for (const { input, failure } of estimates) {
      if (failure) printLine(`${input.id} would fail (${failure.stage}). ${failure.message} ${failure.hint}`);
    }
    printLine('Estimated from a sample of each slide on this machine; nothing was written.');
  }
  process.exitCode = exitCode(estimates.map(({ failure }) => ({ status: failure ? 'failed' : 'done' })));
}

export const UNTRAINED = 'The model is untrained: its predictions and heatmaps show that the line works, nothing more.';

/** A batch with a bad slide in it is not a failure of the whole. */
function exitCode(outcomes: readonly Pick<SlideOutcome, 'status'>[]): number {
  const failed = outcomes.filter(({ status }) => status === 'failed').length;
  return failed === 0 ? DONE : failed === outcomes.length ? FAILED : SOME_FAILED;
}

/** Columns that would be empty for all slides are left out. */
function rows(outcomes: readonly SlideOutcome[], hasModel: boolean): Record<string, string>[] {
  const hasLabels = outcomes.some(({ input }) => input.label !== null);
  return outcomes.map(plain).map(({ id, status, label, nPatches, prediction, probability, seconds, skipped }) => ({
    slide: id,
    status,
    ...(hasLabels ? { label: label ?? '-' } : {}),
    patches: `${nPatches ?? '-'}`,
    ...(hasModel ? { prediction: prediction ?? '-', probability: probability?.toFixed(3) ?? '-' } : {}),
    seconds: skipped ? '-' : seconds.toFixed(1),
  }));
}

function plain({ input, status, skipped, finished, failure, seconds }: SlideOutcome) {
  const prediction = finished?.prediction ?? null;
  return {
    id: input.id,
    source: input.source,
    status,
    skipped,
    seconds,
    label: input.label,
    nPatches: finished?.slide.nPatches ?? null,
    prediction: prediction?.prediction ?? null,
    probability: prediction ? Math.max(...prediction.probabilities) : null,
    probabilities: prediction
      ? Object.fromEntries(prediction.classes.map((name, i) => [name, prediction.probabilities[i]!]))
      : null,
    warnings: finished?.slide.warnings ?? [],
    failure,
  };
}
