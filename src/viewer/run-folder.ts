/**
 * Reads a run folder as the viewer needs it: what each slide came to, and what went wrong, in sentences.
 *
 * A run may be going on, interrupted or damaged: one unreadable file costs its own slide a sentence, never the list.
 */
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { type CsvRow, parseTable } from '../csv.ts';
import { messageOf, UserError } from '../errors.ts';
import type { LiveResult, PredictionResult, RunResult, SlideResult } from '../mil/result.ts';
import type { SlideStatus } from './api.ts';
import { type LiveSlide, readLiveSlides } from './live-slides.ts';

export interface SlideRecord {
  /** Name of the slide's folder, or what failures.csv calls a slide that never got one. */
  readonly id: string;
  /** The slide's folder; null when there is none. */
  readonly folder: string | null;
  readonly status: SlideStatus;
  readonly patient: string | null;
  readonly slide: SlideResult | null;
  readonly prediction: PredictionResult | null;
  /** While the slide is being worked on; then the prediction is that of the patches so far. */
  readonly live: LiveResult | null;
  /** Its score columns; null when there is no folder. */
  readonly bag: string | null;
  readonly hasThumbnail: boolean;
  readonly warnings: readonly string[];
}

export interface RunRecord {
  readonly name: string;
  /** `run.json`; null when it is missing or damaged, which `warnings` then says. */
  readonly result: RunResult | null;
  readonly warnings: readonly string[];
  readonly slides: ReadonlyMap<string, SlideRecord>;
}

/**
 * Reads everything but pixels and bags.
 * @throws UserError `not-a-run` when the folder is missing or holds neither run.json nor slides.
 */
export async function readRunFolder(runDir: string): Promise<RunRecord> {
  const folder = resolve(runDir);
  const [ids, live] = await Promise.all([slideFolders(folder), readLiveSlides(folder)]);
  const hasRunJson = await exists(join(folder, 'run.json'));
  if (ids.length === 0 && live.size === 0 && !hasRunJson) {
    throw new UserError(
      'not-a-run',
      `${runDir} is not a run: it has neither a run.json nor a slides folder.`,
      'Give the folder that `lamina run … --out` wrote.',
    );
  }
  const run = await readJson<RunResult>(join(folder, 'run.json'), ['version', 'startedAt']);
  const summary = await readTable(join(folder, 'summary.csv'));
  const failures = await readTable(join(folder, 'failures.csv'));
  const patients = new Map(summary.rows.map((row) => [row.slide, row.patient || null]));

  const slides = new Map<string, SlideRecord>();
  for (const id of ids) {
    const failed = failures.rows.filter((row) => row.slide === id);
    slides.set(id, await readSlide(id, join(folder, 'slides', id), patients.get(id) ?? null, failed));
  }
  for (const [id, result] of live) {
    slides.set(id, underWay(id, patients.get(id) ?? null, result));
  }
  for (const row of failures.rows) {
    if (row.slide && !slides.has(row.slide)) slides.set(row.slide, neverStarted(row.slide, failures.rows, patients));
  }
  const warnings = [run.problem, summary.problem, failures.problem].filter((problem) => problem !== null);
  return { name: basename(folder), result: run.value, warnings, slides };
}

/** A file of a slide's folder; null when there is none. A link in a folder that came from elsewhere opens nothing outside it. */
export async function readOwnFile(folder: string, name: string): Promise<Uint8Array<ArrayBuffer> | null> {
  const path = join(folder, name);
  const [outer, inner] = await Promise.all([realpath(folder), realpath(path)]).catch(() => ['', '']);
  const isInside = inner !== '' && inner!.startsWith(`${outer}${sep}`);
  return isInside
    ? await readFile(path).then(
        (bytes) => new Uint8Array(bytes),
        () => null,
      )
    : null;
}

/** Where files lie is nobody's business on another machine, and folders may be named after patients. */
export function withoutFolders(message: string, run: RunRecord, runDir: string): string {
  const sources = [...run.slides.values()].flatMap(({ slide }) => slide?.source ?? []);
  const folders = new Set([resolve(runDir), ...sources.map((source) => dirname(source))]);
  return [...folders].reduce((text, folder) => text.replaceAll(`${folder}${sep}`, ''), message);
}

async function slideFolders(run: string): Promise<string[]> {
  const entries = await readdir(join(run, 'slides'), { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

async function readSlide(
  id: string,
  folder: string,
  patient: string | null,
  failures: readonly CsvRow[],
): Promise<SlideRecord> {
  const slide = await readJson<SlideResult>(join(folder, 'slide.json'), ['source', 'hash', 'width', 'height', 'patch']);
  const prediction = await readJson<PredictionResult>(join(folder, 'prediction.json'), [
    'model',
    'classes',
    'probabilities',
    'prediction',
  ]);
  const foreign =
    slide.value && prediction.value && prediction.value.slideHash !== slide.value.hash
      ? `The prediction of ${id} belongs to another slide (${prediction.value.slideHash}, this one is ${slide.value.hash}) and is not shown. Run the slide again.`
      : null;
  const status = statusOf(failures.length > 0, slide.value, foreign ? null : prediction.value);
  const missing = status === 'unfinished' && !prediction.damaged && !foreign;
  return {
    id,
    folder,
    status,
    patient,
    slide: slide.value,
    prediction: foreign ? null : prediction.value,
    live: null,
    bag: join(folder, 'bag.arrow'),
    hasThumbnail: await exists(join(folder, 'thumbnail.jpg')),
    warnings: [
      ...failures.map(failureSentence),
      ...(slide.problem && failures.length === 0 ? [slide.problem] : []),
      ...(prediction.damaged && prediction.problem ? [prediction.problem] : []),
      ...(foreign ? [foreign] : []),
      ...(missing
        ? ['This slide has no prediction yet. If the run was interrupted, start it again to finish it.']
        : []),
      ...(slide.value?.warnings ?? []),
    ],
  };
}

/** The run with its slides under way as they are now; null when one of them has ended, so that the rest must be read again. */
export function withLive(run: RunRecord, live: ReadonlyMap<string, LiveSlide>): RunRecord | null {
  const slides = new Map(run.slides);
  for (const [id, { status }] of slides) if (status === 'running' && !live.has(id)) return null;
  for (const [id, result] of live) {
    slides.set(id, underWay(id, slides.get(id)?.patient ?? null, result));
  }
  return { ...run, slides };
}

/** A slide that was finished before and is run again is what it is now. */
function underWay(id: string, patient: string | null, live: LiveSlide): SlideRecord {
  const { slide, prediction, folder } = live;
  return {
    id,
    folder,
    status: 'running',
    patient,
    slide,
    prediction,
    live,
    bag: join(folder, 'live', 'scores.arrow'),
    hasThumbnail: true,
    warnings: slide.warnings,
  };
}

function statusOf(failed: boolean, slide: SlideResult | null, prediction: PredictionResult | null): SlideStatus {
  if (failed) return 'failed';
  if (prediction) return 'done';
  return slide?.nPatches === 0 ? 'no-tissue' : 'unfinished';
}

function neverStarted(
  id: string,
  failures: readonly CsvRow[],
  patients: ReadonlyMap<string | undefined, string | null>,
): SlideRecord {
  return {
    id,
    folder: null,
    status: 'failed',
    patient: patients.get(id) ?? null,
    slide: null,
    prediction: null,
    live: null,
    bag: null,
    hasThumbnail: false,
    warnings: failures.filter((row) => row.slide === id).map(failureSentence),
  };
}

function failureSentence(row: CsvRow): string {
  const stage = row.stage ? `Failed at ${row.stage}: ` : 'Failed: ';
  return `${stage}${row.message || row.code || 'no reason was written'} ${row.hint ?? ''}`.trim();
}

interface JsonFile<T> {
  readonly value: T | null;
  readonly problem: string | null;
  /** The file is there but is not what it should be. */
  readonly damaged: boolean;
}

async function readJson<T>(path: string, required: readonly (keyof T & string)[]): Promise<JsonFile<T>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    return { value: null, problem: `${basename(path)} cannot be read: ${messageOf(error)}.`, damaged: false };
  }
  try {
    const value = JSON.parse(text) as T | null;
    const lacks = required.filter((name) => typeof value !== 'object' || value === null || value[name] === undefined);
    if (lacks.length === 0) return { value, problem: null, damaged: false };
    return { value: null, problem: damaged(path, `it lacks ${lacks.join(', ')}`), damaged: true };
  } catch (error) {
    return { value: null, problem: damaged(path, messageOf(error)), damaged: true };
  }
}

function damaged(path: string, why: string): string {
  return `${basename(path)} is damaged (${why}). Run the slide again.`;
}

interface Table {
  readonly rows: readonly CsvRow[];
  readonly problem: string | null;
}

/** A table that is not there is empty: an interrupted run may lack it. */
async function readTable(path: string): Promise<Table> {
  const text = await readFile(path, 'utf8').catch(() => '');
  try {
    return { rows: parseTable(basename(path), text).rows, problem: null };
  } catch (error) {
    return { rows: [], problem: messageOf(error) };
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
