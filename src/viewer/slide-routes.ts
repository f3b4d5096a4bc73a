/** What the page asks about a run and its slides; the addresses are listed in `api.ts`. */
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import type { LiveResult } from '../mil/result.ts';
import {
  type AgainstView,
  type CounterfactualEntry,
  encodeScores,
  type PatchEntry,
  type SimilarEntry,
  type SlideView,
} from './api.ts';
import { ByteCache } from './byte-cache.ts';
import { counterfactual } from './counterfactual.ts';
import { liveView } from './live-slides.ts';
import { patchSources } from './patch-sources.ts';
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
import { type RunRecord, readOwnFile, type SlideRecord } from './run-folder.ts';
import type { PredictedSlide, RunModel } from './run-model.ts';
import { similarPatches } from './similar-patches.ts';
import { readScores, scoreColumns } from './slide-scores.ts';
import { blinded, modelOf, modelView, pictureOf, runView, slideEntry, slideFacts } from './views.ts';

/** The run as it was read last, read anew, and with a look at the slides under way alone. */
export interface RunReader {
  readonly folder: string;
  /** The run that this one is compared with. */
  readonly against: RunRecord | null;
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
  model: RunModel,
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
    if (c.req.query('fresh') !== undefined) await run.refresh();
    const record = await findNow(c.req.param('id'));
    if (!record) return unknownSlide(c);
    const hidden = (await blindnessOf(c))(record.id) ?? OPEN;
    const against = await againstView(record, run.against);
    return fresh(c, blinded({ ...(await slideView(record, run.current(), pictures, showLabels)), against }, hidden));
  });

  app.get('/api/slides/:id/scores', async (c) => {
    const record = find(c.req.param('id'));
    const bag = c.req.query('run') === 'against' ? record && sameSlide(record, run.against)?.bag : record?.bag;
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

  /** A finished slide whose prediction the one who asks may see, as the model wants it; else the answer that says why not. */
  const predicted = async (c: ViewerContext): Promise<PredictedSlide | Response> => {
    const record = find(c.req.param('id')!);
    if (!record?.slide || !record.bag) return unknownSlide(c);
    if ((await blindnessOf(c))(record.id)?.model) return stillBlind();
    const { slide, prediction, bag } = record;
    if (!prediction || record.live) return problemResponse('no-prediction', 'This slide has no prediction yet.', 422);
    const path = run.current().result?.configuration.model;
    return { slide, prediction, bag, bagTag: await contentTag(bag), model: typeof path === 'string' ? path : null };
  };
  const entryOf = async <T>(c: ViewerContext) => (await c.req.json().catch(() => ({}))) as Partial<T>;

  app.post('/api/slides/:id/counterfactual', async (c) => {
    const subject = await predicted(c);
    if (subject instanceof Response) return subject;
    const entry = (await entryOf<CounterfactualEntry>(c)) as CounterfactualEntry;
    return fresh(c, await counterfactual(model, subject, entry, c.req.raw.signal));
  });

  app.post('/api/slides/:id/sources', async (c) => {
    const subject = await predicted(c);
    if (subject instanceof Response) return subject;
    const scores = await patchSources(model, subject, await entryOf<PatchEntry>(c), c.req.raw.signal);
    return new Response(encodeScores(scores), {
      headers: { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' },
    });
  });

  app.post('/api/slides/:id/similar', async (c) => {
    const record = find(c.req.param('id'));
    if (!record?.bag || record.live) return unknownSlide(c);
    const entry = await entryOf<SimilarEntry>(c);
    return fresh(c, await similarPatches(run.current(), record, entry, c.req.raw.signal));
  });

  for (const [name, mime, absent] of FILES) {
    app.get(`/api/slides/:id/${name}`, async (c) => {
      const folder = find(c.req.param('id'))?.folder;
      if (!folder) return unknownSlide(c);
      if (name === 'heatmap.png' && (await blindnessOf(c))(c.req.param('id'))?.model) return stillBlind();
      const bytes = await readOwnFile(folder, name);
      if (!bytes) return problemResponse('no-file', absent, 404);
      return bytesResponse(c, bytes, mime, await contentTag(join(folder, name)), ASK);
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
    against: null,
  };
}

/** The same slide in another run, under whatever name: what counts is its content. */
function sameSlide({ id, slide }: SlideRecord, other: RunRecord | null): SlideRecord | null {
  if (!slide || !other) return null;
  const isSame = (record: SlideRecord | undefined) => record?.slide?.hash === slide.hash && record.bag !== null;
  const named = other.slides.get(id);
  return isSame(named) ? named! : ([...other.slides.values()].find(isSame) ?? null);
}

async function againstView(record: SlideRecord, other: RunRecord | null): Promise<AgainstView | null> {
  const found = sameSlide(record, other);
  const columns = found && (await attempt(() => scoreColumns(found.bag!, found.slide!))).value;
  return columns && { run: other!.name, scoreColumns: columns, patchLevel0Px: found.slide!.patch.level0Px };
}

function stillBlind(): Response {
  return problemResponse('blinded', 'What the model says is shown after your verdict.', 403);
}

async function attempt<T>(work: () => Promise<T>): Promise<{ value: T | null; problem: string | null }> {
  try {
    return { value: await work(), problem: null };
  } catch (error) {
    return { value: null, problem: messageOf(error) };
  }
}
