/** Progress of long work on stderr: how far it is, in a line that rewrites itself on a terminal and comes now and then elsewhere. */
import type { OnDownload } from '../features/encoders/hub.ts';
import type { BatchEvent } from '../run/batch.ts';
import type { SlideOutcome } from '../run/slide-run.ts';
import { size } from './print.ts';

/** Rewriting the line more often is not read. */
const REWRITE_MS = 100;
/** A log keeps every line. */
const LOG_MS = 30_000;

/** The line that says how far something is. */
export class StatusLine {
  readonly #out: Pick<NodeJS.WriteStream, 'isTTY' | 'write'>;
  readonly #now: () => number;
  #shown: number;

  /** @param now in milliseconds */
  constructor(out: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr, now = () => performance.now()) {
    this.#out = out;
    this.#now = now;
    this.#shown = out.isTTY ? Number.NEGATIVE_INFINITY : now();
  }

  /** Unless it was shown just before. */
  show(line: () => string): void {
    const { isTTY } = this.#out;
    if (this.#now() - this.#shown < (isTTY ? REWRITE_MS : LOG_MS)) return;
    this.#shown = this.#now();
    this.#out.write(isTTY ? `\r\u001b[2K${line()}` : `${line()}\n`);
  }

  /** Before anything else is written. */
  clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\u001b[2K');
  }
}

export function showDownload(): OnDownload {
  const status = new StatusLine();
  return (file, bytes, total) => {
    status.show(() => `${file}: ${size(bytes)}${total === null ? '' : ` of ${size(total)}`}`);
    if (bytes === total) status.clear();
  };
}

export function showProgress(verbose: boolean): (event: BatchEvent) => void {
  const progress = new Progress();
  const status = new StatusLine();
  return (event) => {
    progress.hear(event);
    if (event.kind === 'end') {
      const { index, total, outcome, again } = event;
      status.clear();
      const later = again ? ' It is tried again later.' : '';
      process.stderr.write(`${index + 1}/${total} ${outcome.input.id}: ${sentence(outcome)}${later}\n`);
      if (verbose && outcome.error) console.error(outcome.error);
    } else status.show(() => progress.line());
  };
}

/** How far a batch is: patches a second over all its slides, and the time left by the slides that are left. */
export class Progress {
  readonly #now: () => number;
  readonly #started: number;
  /** Patches encoded and patches to encode of the slides under way. */
  readonly #underWay = new Map<string, { done: number; patches: number }>();
  #total = 0;
  #ended = 0;
  #skipped = 0;
  #patches = 0;
  #slide = '';

  /** @param now in milliseconds */
  constructor(now = () => performance.now()) {
    this.#now = now;
    this.#started = now();
  }

  hear(event: BatchEvent): void {
    if (event.kind === 'begin') {
      this.#total = event.total;
      this.#underWay.set(event.input.id, { done: 0, patches: 0 });
    } else if (event.kind === 'patches') {
      const { done, patches, input } = event;
      this.#patches += done - (this.#underWay.get(input.id)?.done ?? 0);
      this.#underWay.set(input.id, { done, patches });
      this.#slide = input.id;
    } else {
      this.#underWay.delete(event.outcome.input.id);
      if (event.again) return;
      this.#ended++;
      if (event.outcome.skipped) this.#skipped++;
    }
  }

  line(): string {
    const seconds = (this.#now() - this.#started) / 1000;
    const { done = 0, patches = 0 } = this.#underWay.get(this.#slide) ?? {};
    const parts = [`${this.#ended}/${this.#total} slides`];
    if (patches > 0) parts.push(`${this.#slide} ${done}/${patches} patches`);
    if (this.#patches > 0) parts.push(`${Math.round(this.#patches / seconds)} patches/s`);
    const left = this.secondsLeft();
    if (left !== null) parts.push(`${inWords(left)} left`);
    return parts.join(', ');
  }

  /** Null until something is known of how long a slide takes. */
  secondsLeft(): number | null {
    const seconds = (this.#now() - this.#started) / 1000;
    const shares = [...this.#underWay.values()].map(({ done, patches }) => (patches > 0 ? done / patches : 0));
    const worked = this.#ended - this.#skipped + shares.reduce((sum, share) => sum + share, 0);
    if (worked < 0.01) return null;
    const all = this.#total - this.#skipped;
    return (seconds / worked) * (all - worked);
  }
}

function inWords(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function sentence({ status, skipped, finished, failure, seconds }: SlideOutcome): string {
  if (failure) return `failed (${failure.stage}). ${failure.message} ${failure.hint}`;
  const { slide, prediction } = finished!;
  const what = status === 'no-tissue' ? 'no patches' : `${slide.nPatches} patches`;
  const result = prediction ? `, ${prediction.prediction}` : '';
  const warnings = slide.warnings.map((warning) => `\n    ${warning}`).join('');
  return `${what}${result}, ${skipped ? 'finished before' : `${seconds.toFixed(1)} s`}${warnings}`;
}
