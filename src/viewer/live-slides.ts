/** The slides of a run that are being worked on, as the run writes them down on the way (`src/run/live-slide.ts`). */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { tokenOf } from '../lock.ts';
import type { LiveResult } from '../mil/result.ts';
import { attemptedIds, attemptFolder, slideLock } from '../run/slide-folder.ts';
import type { LiveView } from './api.ts';

export interface LiveSlide extends LiveResult {
  /** Where its files are made. */
  readonly folder: string;
}

/** By id. What a killed run left is none: nobody works on it. */
export async function readLiveSlides(run: string): Promise<Map<string, LiveSlide>> {
  const names = await readdir(join(run, 'slides')).catch(() => []);
  const found = await Promise.all(
    attemptedIds(names).map(async (id): Promise<[string, LiveSlide][]> => {
      const token = await tokenOf(slideLock(run, id));
      if (token === null) return [];
      const folder = attemptFolder(run, id, token);
      const live = await readProgress(join(folder, 'live', 'progress.json'));
      return live ? [[id, { ...live, folder }]] : [];
    }),
  );
  return new Map(found.flat());
}

/** Null when the slide has just been finished, or nothing was written yet. */
async function readProgress(path: string): Promise<LiveResult | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as LiveResult;
  } catch {
    return null;
  }
}

/** What has changed since the page looked last: cheap enough to be asked every second, however many slides there are. */
export async function liveView(run: string, live: ReadonlyMap<string, LiveResult>): Promise<LiveView> {
  const slides = [...live].map(([id, { done, patches, predictedPatches }]) => ({
    id,
    done,
    patches,
    predictedPatches,
  }));
  const times = ['run.json', 'summary.csv', 'failures.csv', 'slides'].map((name) =>
    stat(join(run, name)).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    ),
  );
  const state = [await Promise.all(times), slides.map(({ id }) => id).sort()];
  const revision = createHash('sha256').update(JSON.stringify(state)).digest('hex').slice(0, 16);
  return { revision, slides };
}
