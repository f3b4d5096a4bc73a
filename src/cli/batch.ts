/** What `tile`, `extract` and `run` have in common: find the slides, run the line over them, print what came out. */
import { resolve } from 'node:path';
import { runBatch, type SlideOutcome } from '../run/batch.ts';
import { findSlides } from '../run/slide-inputs.ts';
import type { Line } from '../run/slide-job.ts';
import type { TilingOptions } from '../run/survey.ts';
import { DONE, FAILED, SOME_FAILED } from './exit.ts';
import type { ExtractFlags } from './options.ts';
import { printJson, printLine, printTable } from './print.ts';
import { showProgress } from './progress.ts';

export interface BatchFlags extends Partial<Pick<ExtractFlags, 'mpp' | 'batch' | 'dtype'>> {
  readonly out: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** Sets the exit code: a batch with a bad slide in it is not a failure of the whole. */
export async function runAndPrint(
  names: readonly string[],
  line: Line,
  tiling: TilingOptions,
  flags: BatchFlags,
  signal: AbortSignal,
): Promise<SlideOutcome[]> {
  const outcomes = await runBatch(await findSlides(names), line, {
    out: resolve(flags.out),
    mpp: flags.mpp ?? null,
    tiling,
    batchSize: flags.batch ?? 64,
    dtype: flags.dtype ?? 'f16',
    asked: { ...flags },
    signal,
    onEvent: showProgress(flags.verbose ?? false),
  });
  if (flags.json) printJson({ run: resolve(flags.out), slides: outcomes.map(plain) });
  else {
    printTable(rows(outcomes, line.predictor !== null));
    if (line.predictor?.model.trained === false) printLine(UNTRAINED);
  }
  process.exitCode = exitCode(outcomes);
  return outcomes;
}

export const UNTRAINED = 'The model is untrained: its predictions and heatmaps show that the line works, nothing more.';

function exitCode(outcomes: readonly SlideOutcome[]): number {
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
