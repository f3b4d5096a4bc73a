/**
 * The tables of a run folder: `summary.csv` with every slide in it, whichever run, array job or worker made it, and
 * `failures.csv` with those that failed and why.
 *
 * What is finished is read from the slides' folders; what failed is known to those who tried it, and stays in the table until
 * somebody tries again. Writers take turns by a lock.
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type CsvRow, formatTable, parseTable } from '../csv.ts';
import { isAside, waitForLock } from '../lock.ts';
import type { RunResult } from '../mil/result.ts';
import type { Failure } from './slide-failure.ts';
import type { SlideInput } from './slide-inputs.ts';
import { type FinishedSlide, readRecords } from './slide-record.ts';
import { writeJson, writeWhole } from './whole-file.ts';

/** What a writer knows of a slide. */
export interface SlideNews {
  readonly input: SlideInput;
  readonly failure: Failure | null;
  /** Null when it is not known here, or failed. */
  readonly finished: FinishedSlide | null;
}

interface Row {
  readonly slide: string;
  readonly patient: string | null;
  readonly label: string | null;
  readonly failure: CsvRow | null;
  readonly finished: FinishedSlide | null;
}

/** @param run null leaves `run.json` as it is. @throws UserError `cannot-write`, `disk-full` */
export async function writeTables(out: string, news: readonly SlideNews[], run: RunResult | null): Promise<void> {
  const slides = join(out, 'slides');
  const lock = await waitForLock(join(slides, '.lock'));
  try {
    if (run) await writeJson(join(out, 'run.json'), run);
    const rows = await allRows(out, slides, news);
    const classes = [...new Set(rows.flatMap(({ finished }) => finished?.prediction?.classes ?? []))];
    const columns = [
      'slide',
      'patient',
      'status',
      'n_patches',
      ...classes.map(probabilityColumn),
      'prediction',
      'label',
    ];
    await writeWhole(join(out, 'summary.csv'), formatTable(columns, rows.map(summaryRow)));
    const failures = rows.flatMap(({ failure }) => (failure ? [failure] : []));
    await writeWhole(join(out, 'failures.csv'), formatTable(['slide', 'stage', 'code', 'message', 'hint'], failures));
  } finally {
    await lock.release();
  }
}

/** Those of the news in their order, then the others of the folder by name. */
async function allRows(out: string, slides: string, news: readonly SlideNews[]): Promise<Row[]> {
  const known = new Set(news.map(({ input }) => input.id));
  const [before, failedBefore] = await Promise.all([
    readTable(join(out, 'summary.csv')),
    readTable(join(out, 'failures.csv')),
  ]);
  const rows = news.map(({ input: { id, patient, label }, failure, finished }): Row => {
    return { slide: id, patient, label, failure: failure && { slide: id, ...failure }, finished };
  });
  const others: Row[] = [];
  for (const name of await foldersIn(slides)) {
    if (known.has(name)) continue;
    const folder = join(slides, name);
    const finished = await readRecords(folder);
    if (!finished) continue;
    known.add(name);
    const failure = failedBefore.rows.find(({ slide }) => slide === name);
    // Whoever finished the slide may have had no time to say so.
    const mended = failure && (await modified(join(folder, 'slide.json'))) > failedBefore.modified;
    const { patient, label } = finished.slide;
    others.push({
      slide: name,
      patient,
      label,
      failure: (!mended && failure) || null,
      finished: failure && !mended ? null : finished,
    });
  }
  for (const failure of failedBefore.rows) {
    const slide = failure.slide ?? '';
    if (known.has(slide)) continue;
    const former = before.rows.find((row) => row.slide === slide);
    others.push({ slide, patient: former?.patient || null, label: former?.label || null, failure, finished: null });
  }
  others.sort((a, b) => a.slide.localeCompare(b.slide, 'en', { numeric: true }));
  return [...rows, ...others];
}

/** Names of the slides; and what a process left that ended while it took over a lock goes. */
async function foldersIn(slides: string): Promise<string[]> {
  const entries = await readdir(slides, { withFileTypes: true });
  for (const { name } of entries) {
    const aside = join(slides, name);
    if (isAside(name) && Date.now() - (await changed(aside)) > ASIDE_MS) await rm(aside, { force: true });
  }
  return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name);
}

/** A lock is aside for a moment only. */
const ASIDE_MS = 1000;

async function readTable(path: string): Promise<{ rows: readonly CsvRow[]; modified: number }> {
  try {
    return { rows: parseTable(path, await readFile(path, 'utf8')).rows, modified: await modified(path) };
  } catch {
    // Not there yet, or spoiled by hand: it is written anew.
    return { rows: [], modified: 0 };
  }
}

const modified = (path: string) =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
const changed = (path: string) =>
  stat(path).then(
    ({ ctimeMs }) => ctimeMs,
    () => 0,
  );

function summaryRow({ slide, patient, label, failure, finished }: Row): Record<string, string | number | null> {
  const prediction = finished?.prediction;
  const probabilities =
    prediction?.classes.map((name, i) => [probabilityColumn(name), prediction.probabilities[i]!]) ?? [];
  return {
    slide,
    patient,
    status: failure ? 'failed' : finished?.slide.nPatches === 0 ? 'no-tissue' : finished ? 'done' : 'waiting',
    n_patches: finished?.slide.nPatches ?? null,
    ...Object.fromEntries(probabilities),
    prediction: prediction?.prediction ?? null,
    label,
  };
}

function probabilityColumn(name: string): string {
  return `probability_${name}`;
}
