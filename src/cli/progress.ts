/** Progress of a batch on stderr: a line that rewrites itself on a terminal, one line a slide elsewhere. */
import type { BatchEvent, SlideOutcome } from '../run/batch.ts';

/** Rewriting the line more often is not read. */
const INTERVAL_MS = 100;

export function showProgress(verbose: boolean): (event: BatchEvent) => void {
  const terminal = process.stderr.isTTY;
  let slideStarted = 0;
  let shown = 0;
  const rewrite = (text: string) => terminal && process.stderr.write(`\r\u001b[2K${text}`);
  return (event) => {
    if (event.kind === 'begin') {
      slideStarted = performance.now();
      rewrite(`${event.index + 1}/${event.total} ${event.input.id}`);
    } else if (event.kind === 'patches') {
      if (performance.now() - shown < INTERVAL_MS) return;
      shown = performance.now();
      rewrite(`${event.input.id}  ${patchProgress(event.done, event.patches, (shown - slideStarted) / 1000)}`);
    } else {
      rewrite('');
      process.stderr.write(`${event.index + 1}/${event.total} ${event.outcome.input.id}: ${sentence(event.outcome)}\n`);
      if (verbose && event.outcome.error) console.error(event.outcome.error);
    }
  };
}

function patchProgress(done: number, patches: number, seconds: number): string {
  const rate = done / seconds;
  return `${done}/${patches} patches, ${rate.toFixed(0)}/s, ${Math.ceil((patches - done) / rate)} s left`;
}

function sentence({ status, skipped, finished, failure, seconds }: SlideOutcome): string {
  if (failure) return `failed (${failure.stage}). ${failure.message} ${failure.hint}`;
  const { slide, prediction } = finished!;
  const what = status === 'no-tissue' ? 'no patches' : `${slide.nPatches} patches`;
  const result = prediction ? `, ${prediction.prediction}` : '';
  const warnings = slide.warnings.map((warning) => `\n    ${warning}`).join('');
  return `${what}${result}, ${skipped ? 'finished before' : `${seconds.toFixed(1)} s`}${warnings}`;
}
