/** `slide.json` as a run writes it, and how the next run sees that a slide is finished. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PredictionResult, SlideResult } from '../mil/result.ts';
import { hashSlide } from '../tiling/slide-hash.ts';

export interface SlideRecord extends SlideResult {
  /** As the manifest had them when the slide was run. */
  readonly patient: string | null;
  readonly label: string | null;
  readonly madeFrom: {
    /** Hash of all that shaped these files beside the slide itself. */
    readonly configuration: string;
    /** Size and time of the slide file; null for an address. As long as they hold, the slide is not hashed again. */
    readonly file: FileStamp | null;
  };
}

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
  const found = await stat(source).catch(() => null);
  return found && { bytes: found.size, modified: found.mtimeMs };
}

/** The same text for equal values, whatever the order of their keys. */
export function hashOf(value: Readonly<Record<string, unknown>>): string {
  const sorted = JSON.stringify(value, Object.keys(value).sort());
  return `sha256:${createHash('sha256').update(sorted).digest('hex')}`;
}

/**
 * What a former run made of this very slide with this very configuration, or null if there is no such thing.
 * A slide folder gets its name when it is complete, so one that can be read is whole.
 */
export async function readFinished(
  folder: string,
  source: string,
  configuration: string,
): Promise<FinishedSlide | null> {
  const slide = await readJson<SlideRecord>(join(folder, 'slide.json'));
  if (slide?.madeFrom?.configuration !== configuration || !(await isSameSlide(slide, source))) return null;
  return { slide, prediction: await readJson<PredictionResult>(join(folder, 'prediction.json')) };
}

/** What lies in a slide's folder, whatever it was made with; null if nothing does. */
export async function readRecords(folder: string): Promise<FinishedSlide | null> {
  const slide = await readJson<SlideRecord>(join(folder, 'slide.json'));
  return slide && { slide, prediction: await readJson<PredictionResult>(join(folder, 'prediction.json')) };
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
