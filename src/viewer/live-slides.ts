/** The slides of a run that are being worked on, as the run writes them down on the way (`src/run/live-slide.ts`). */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LiveResult } from '../mil/result.ts';
import { isHeld } from '../run/lock.ts';
import type { LiveView } from './api.ts';

/** By id. What a killed run left is none: nobody works on it. */
export async function readLiveSlides(run: string): Promise<Map<string, LiveResult>> {
  const slides = join(run, 'slides');
  const names = await readdir(slides).catch(() => []);
  const ids = names.flatMap((name) => /^\.(.+)\.partial$/.exec(name)?.[1] ?? []);
  const found = await Promise.all(
    ids.map(async (id): Promise<[string, LiveResult][]> => {
      const held = await isHeld(join(slides, `.${id}.lock`));
      const live = held ? await readProgress(join(slides, `.${id}.partial`, 'live', 'progress.json')) : null;
      return live ? [[id, live]] : [];
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
