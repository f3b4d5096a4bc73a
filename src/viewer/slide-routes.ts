/** What the page asks about a run and its slides; the addresses are listed in `api.ts`. */
import { readFile, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { messageOf } from '../errors.ts';
import type { LiveResult } from '../mil/result.ts';
import { type CounterfactualEntry, encodeScores, type SlideView } from './api.ts';
import { ByteCache } from './byte-cache.ts';
import type { Counterfactuals } from './counterfactual.ts';
import { liveView } from './live-slides.ts';
import { rasterJpeg } from './picture.ts';
import { type Pictures, pictureVersion } from './pictures.ts';
import {
  ASK,
  bytesResponse,
  contentTag,
  fresh,
  jsonResponse,
  KEEP,
  problemResponse,
  unknownSlide,
  type ViewerContext,
  type ViewerRoutes,
} from './responses.ts';
import type { Blindness } from './review.ts';
import type { RunRecord, SlideRecord } from './run-folder.ts';
import { readScores, scoreColumns } from './slide-scores.ts';
import { blinded, modelOf, modelView, pictureOf, runView, slideEntry, slideFacts } from './views.ts';

/** The run as it was read last, read anew, and with a look at the slides under way alone. */
export interface RunReader {
  readonly folder: string;
  current(): RunRecord;
  refresh(): Promise<RunRecord>;
  look(): Promise<ReadonlyMap<string, LiveResult>>;
}

/** What the one who asks may not see of a slide; null when everything. */
export type BlindnessOf = (c: ViewerContext) => Promise<(id: string) => Blindness | null>;

const SCORE_CACHE_BYTES = 64 * 2 ** 20;

const OPEN: Blindness = { model: false, label: false };

/** Images of a slide file that show tissue only; its label and macro image may bear a name. */
const HARMLESS: readonly string[] = ['thumbnail'];

const FILES = [
  ['thumbnail.jpg', 'image/jpeg', 'This slide has no thumbnail.'],
  ['tissue.geojson', 'application/geo+json', 'This slide has no tissue outline.'],
  ['heatmap.png', 'image/png', 'This slide has no heatmap picture. Run it again to draw one.'],
] as const;

export function addSlideRoutes(
  app: ViewerRoutes,
  pictures: Pictures,
  showLabels: boolean,
  run: RunReader,
  blindnessOf: BlindnessOf,
  counterfactuals: Counterfactuals,
): void {
  const scoreCache = new ByteCache(SCORE_CACHE_BYTES);
  const find = (id: string) => run.current().slides.get(id);
  /** A slide under way has more patches each time. */
  const findNow = async (id: string) => {
    if (find(id)?.status === 'running') await run.look();
    return find(id);
  };

  app.get('/api/run', async (c) => fresh(c, runView(await run.refresh())));
  app.get('/api/live', async (c) => jsonResponse(c, await liveView(run.folder, await run.look())));
  app.get('/api/slides', async (c) => {
    const hidden = await blindnessOf(c);
    const entries = [...(await run.refresh()).slides.values()].map(slideEntry);
    return fresh(
      c,
      entries.map((entry) => blinded(entry, hidden(entry.id) ?? OPEN)),
    );
  });
  app.get('/api/slides/:id', async (c) => {
    const record = await findNow(c.req.param('id'));
    if (!record) return unknownSlide(c);
    const hidden = (await blindnessOf(c))(record.id) ?? OPEN;
    return fresh(c, blinded(await slideView(record, run.current(), pictures, showLabels), hidden));
  });

  app.get('/api/slides/:id/scores', async (c) => {
    const bag = find(c.req.param('id'))?.bag;
    if (!bag) return unknownSlide(c);
    if ((await blindnessOf(c))(c.req.param('id'))?.model) return stillBlind();
    const column = c.req.query('column') ?? 'attention';
    const tag = `${await contentTag(bag)}-${encodeURIComponent(column)}`;
    const scores = await scoreCache.get(`${bag} ${tag}`, async () => encodeScores(await readScores(bag, column)));
    return bytesResponse(c, scores, 'application/octet-stream', tag, ASK);
  });

  app.get('/api/slides/:id/associated/:name', async (c) => {
    const slide = find(c.req.param('id'))?.slide;
    if (!slide) return unknownSlide(c);
    const name = c.req.param('name');
    const picture = await pictures.use(slide, async (found) => {
      const known = found.slide.associated.includes(name) && (showLabels || HARMLESS.includes(name));
      return known ? await rasterJpeg(await found.slide.readAssociated(name)) : null;
    });
    if (!picture) return problemResponse('no-file', 'This slide has no such image, or it is not shown.', 404);
    return bytesResponse(c, picture, 'image/jpeg', `${pictureVersion(slide)}-${encodeURIComponent(name)}`, KEEP);
  });

  app.post('/api/slides/:id/counterfactual', async (c) => {
    const record = find(c.req.param('id'));
    if (!record?.slide || !record.bag) return unknownSlide(c);
    if ((await blindnessOf(c))(record.id)?.model) return stillBlind();
    if (!record.prediction || record.live)
      return problemResponse('no-prediction', 'This slide has no prediction to compare with.', 422);
    const { bag } = record;
    const model = run.current().result?.configuration.model;
    const entry = (await c.req.json().catch(() => ({}))) as CounterfactualEntry;
    const view = await counterfactuals.predict(
      record.slide,
      record.prediction,
      bag,
      await contentTag(bag),
      typeof model === 'string' ? model : null,
      entry,
      c.req.raw.signal,
    );
    return fresh(c, view);
  });

  for (const [name, mime, absent] of FILES) {
    app.get(`/api/slides/:id/${name}`, async (c) => {
      const folder = find(c.req.param('id'))?.folder;
      if (!folder) return unknownSlide(c);
      if (name === 'heatmap.png' && (await blindnessOf(c))(c.req.param('id'))?.model) return stillBlind();
      const path = join(folder, name);
      const bytes = (await liesIn(folder, path)) ? await readFile(path).catch(() => null) : null;
      if (!bytes) return problemResponse('no-file', absent, 404);
      return bytesResponse(c, new Uint8Array(bytes), mime, await contentTag(path), ASK);
    });
  }
}

export async function slideView(
  record: SlideRecord,
  run: RunRecord,
  pictures: Pictures,
  showLabels: boolean,
): Promise<SlideView> {
  const { slide, folder, bag, live } = record;
  const picture = slide
    ? await attempt(() =>
        pictures.use(slide, async ({ own, slide: { associated } }) => {
          const shown = associated.filter((name) => showLabels || HARMLESS.includes(name));
          return { picture: pictureOf(slide, own.levels), associated: shown };
        }),
      )
    : null;
  const waits = live !== null && live.predictedPatches === 0;
  const columns = slide && bag && !waits ? await attempt(() => scoreColumns(bag, slide)) : null;
  const noScores = waits
    ? 'The first scores come when the model has read some patches.'
    : 'The run kept nothing of this slide.';
  return {
    ...slideEntry(record),
    picture: picture?.value?.picture ?? null,
    pictureProblem: picture ? picture.problem : 'The run kept nothing of this slide.',
    facts: slide && slideFacts(slide),
    model: record.prediction ? modelView(record.prediction.model) : modelOf(run),
    scoreColumns: columns?.value ?? [],
    scoresProblem: columns ? columns.problem : noScores,
    hasTissue: folder !== null && (await contentTag(join(folder, 'tissue.geojson'))) !== 'none',
    associated: picture?.value?.associated ?? [],
  };
}

function stillBlind(): Response {
  return problemResponse('blinded', 'What the model says is shown after your verdict.', 403);
}

/** A link in a run folder that came from elsewhere opens nothing outside it. */
async function liesIn(folder: string, path: string): Promise<boolean> {
  const [outer, inner] = await Promise.all([realpath(folder), realpath(path)]).catch(() => ['', '']);
  return inner !== '' && inner!.startsWith(`${outer}${sep}`);
}

async function attempt<T>(work: () => Promise<T>): Promise<{ value: T | null; problem: string | null }> {
  try {
    return { value: await work(), problem: null };
  } catch (error) {
    return { value: null, problem: messageOf(error) };
  }
}
