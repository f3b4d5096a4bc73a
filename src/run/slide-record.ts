/** `slide.json` as a run writes it, and how the next run sees that a slide is finished. */
import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PredictionResult, SlideResult } from '../mil/result.ts';
import { dataFolderOf, hashSlide } from '../tiling/slide-hash.ts';
import type { Stages } from './stages.ts';

export interface SlideRecord extends SlideResult {
  /** As the manifest had them when the slide was run. */
  readonly patient: string | null;
  readonly label: string | null;
  /** What else is in the slide's folder, by name. */
  readonly files: readonly string[];
  /** Wall seconds by stage, until this was written. */
  readonly seconds: Stages['seconds'];
  readonly madeFrom: {
    /** Hash of all that shaped these files beside the slide itself. */
    readonly configuration: string;
    /** Of the slide; null for an address. As long as it holds, the slide is not hashed again. */
    readonly file: FileStamp | null;
  };
}

/** Size and time of a file; of a slide that lies in several files, their sum and the last. */
export interface FileStamp {
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

export interface FinishedSlide {
  readonly slide: SlideRecord;
  /** Null when the run went no further than the bag, or the slide has no tissue. */
  readonly prediction: PredictionResult | null;
}

/** Null for addresses and files that are not there. */
export async function stampOf(source: string): Promise<FileStamp | null> {
  try {
    const own = await stat(source);
    const folder = own.isDirectory() ? source : await dataFolderOf(source);
    const files = folder === null ? [] : await filesIn(folder);
    return files.reduce(
      (all, { size, mtimeMs }) => ({ bytes: all.bytes + size, modified: Math.max(all.modified, mtimeMs) }),
      // The time of a folder is that of its last file that came, went or got another name.
      { bytes: own.isDirectory() ? 0 : own.size, modified: own.mtimeMs },
    );
  } catch {
    return null;
  }
}

async function filesIn(folder: string): Promise<Stats[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return await Promise.all(entries.filter((entry) => entry.isFile()).map(({ name }) => stat(join(folder, name))));
}

/** The same text for equal values, whatever the order of their keys. */
export function hashOf(value: Readonly<Record<string, unknown>>): string {
  const sorted = JSON.stringify(value, Object.keys(value).sort());
  return `sha256:${createHash('sha256').update(sorted).digest('hex')}`;
}

/** What a former run made of this very slide with this very configuration, or null if there is no such thing. */
export async function readFinished(
  folder: string,
  source: string,
  configuration: string,
): Promise<FinishedSlide | null> {
  const found = await readRecords(folder);
  if (found?.slide.madeFrom?.configuration !== configuration || !(await isSameSlide(found.slide, source))) return null;
  return found;
}

/** What lies in a slide's folder, whatever it was made with; null if nothing does, or something is missing. */
export async function readRecords(folder: string): Promise<FinishedSlide | null> {
  const slide = await readJson<SlideRecord>(join(folder, 'slide.json'));
  if (!slide || !(await hasAllFiles(folder, slide))) return null;
  return { slide, prediction: await readJson<PredictionResult>(join(folder, 'prediction.json')) };
}

async function hasAllFiles(folder: string, { files }: SlideRecord): Promise<boolean> {
  const found: readonly string[] = await readdir(folder).catch(() => []);
  // Records did not always list them; the patches were always in one of these.
  if (!files) return found.includes('bag.arrow') || found.includes('coords.arrow');
  return files.every((name) => found.includes(name));
}

async function isSameSlide({ hash, madeFrom: { file } }: SlideRecord, source: string): Promise<boolean> {
  const now = await stampOf(source);
  if (now && file && now.bytes === file.bytes && now.modified === file.modified) return true;
  return (await hashSlide(source).catch(() => null)) === hash;
}

async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return null;
  }
}
