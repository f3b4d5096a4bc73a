/**
 * The viewer's server: a run folder in, `Request -> Response` out.
 *
 * Ids and names in addresses are looked up, never made into paths. Label and macro images are not served: they may show names.
 * A slide that moved, a damaged bag, a missing picture is answered with a sentence; the server stays up.
 */
import { readFile, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { etag } from 'hono/etag';
import { messageOf, UserError } from '../errors.ts';
import type { SlideResult } from '../mil/result.ts';
import type { Slide } from '../tiling/slide.ts';
import {
  encodeScores,
  type ModelView,
  type Picture,
  type Problem,
  type RunView,
  type SlideEntry,
  type SlideFacts,
  type SlideView,
} from './api.ts';
import { ByteCache } from './byte-cache.ts';
import { refusal, SECURITY_HEADERS } from './guard.ts';
import { readPageFiles } from './page-files.ts';
import { PictureTiles } from './picture.ts';
import { type RunRecord, readRunFolder, type SlideRecord } from './run-folder.ts';
import { SlidePool } from './slide-pool.ts';
import { readScores, scoreColumns } from './slide-scores.ts';

export interface ViewerApp {
  fetch(request: Request): Promise<Response>;
  /** Closes the slides. Requests under way may fail. */
  close(): Promise<void>;
}

export interface ServedViewer {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  close(): Promise<void>;
}

const TILE_CACHE_BYTES = 128 * 2 ** 20;
const SCORE_CACHE_BYTES = 64 * 2 ** 20;

/**
 * The handlers of a viewer of one run. The folder is read again whenever the slide list is asked for, so a reload shows
 * what a run under way has finished.
 * @throws UserError `not-a-run`.
 */
export async function createViewerApp(runDir: string): Promise<ViewerApp> {
  const pool = new SlidePool();
  const pictures = new WeakMap<Slide, PictureTiles>();
  const tileCache = new ByteCache(TILE_CACHE_BYTES);
  const scoreCache = new ByteCache(SCORE_CACHE_BYTES);
  const pageFiles = await readPageFiles();
  let run = await readRunFolder(runDir);

  const app = new Hono();
  app.use(async (c, next) => {
    const reason = refusal(c.req.raw);
    if (reason) c.res = problemResponse('refused', reason, 403);
    else await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
  });
  app.use(etag());
  app.onError((error) => {
    if (error instanceof UserError) return problemResponse(error.code, error.message, 422);
    return problemResponse('fault', `The viewer made a mistake: ${messageOf(error)}`, 500);
  });
  app.notFound((c) => problemResponse('not-found', `There is nothing at ${c.req.path}.`, 404));

  app.get('/api/run', async (c) => fresh(c, runView((run = await readRunFolder(runDir)))));
  app.get('/api/slides', async (c) => {
    run = await readRunFolder(runDir);
    return fresh(c, [...run.slides.values()].map(slideEntry));
  });
  app.get('/api/slides/:id', async (c) => {
    const record = run.slides.get(c.req.param('id'));
    return record ? fresh(c, await slideView(record)) : unknownSlide(c);
  });

  app.get('/api/slides/:id/tiles/:level/:name', async (c) => {
    const slide = run.slides.get(c.req.param('id'))?.slide;
    const place = /^(\d{1,7})_(\d{1,7})\.jpg$/.exec(c.req.param('name'));
    const level = /^\d{1,2}$/.test(c.req.param('level')) ? Number(c.req.param('level')) : -1;
    if (!slide) return unknownSlide(c);
    if (!place || level < 0) return c.notFound();
    const [column, row] = [Number(place[1]), Number(place[2])];
    const tile = await onPicture(slide, (picture) => picture.read(level, column, row, c.req.raw.signal));
    return tile
      ? bytesResponse(tile, 'image/jpeg', `${pictureVersion(slide)}-${level}-${column}-${row}`)
      : c.notFound();
  });

  app.get('/api/slides/:id/scores', async (c) => {
    const folder = run.slides.get(c.req.param('id'))?.folder;
    if (!folder) return unknownSlide(c);
    const bag = join(folder, 'bag.arrow');
    const column = c.req.query('column') ?? 'attention';
    const tag = `${await contentTag(bag)}-${encodeURIComponent(column)}`;
    const scores = await scoreCache.get(`${bag} ${tag}`, async () => encodeScores(await readScores(bag, column)));
    return bytesResponse(scores, 'application/octet-stream', tag, 'no-cache');
  });

  for (const [name, mime, absent] of [
    ['thumbnail.jpg', 'image/jpeg', 'This slide has no thumbnail.'],
    ['tissue.geojson', 'application/geo+json', 'This slide has no tissue outline.'],
    ['heatmap.png', 'image/png', 'This slide has no heatmap picture. Run it again to draw one.'],
  ] as const) {
    app.get(`/api/slides/:id/${name}`, async (c) => {
      const folder = run.slides.get(c.req.param('id'))?.folder;
      if (!folder) return unknownSlide(c);
      const path = join(folder, name);
      const bytes = await readFile(path).catch(() => null);
      if (!bytes) return problemResponse('no-file', absent, 404);
      return bytesResponse(new Uint8Array(bytes), mime, await contentTag(path), 'no-cache');
    });
  }

  app.get('*', (c) => {
    const file = pageFiles.get(c.req.path === '/' ? '/index.html' : c.req.path);
    if (!file && pageFiles.size === 0) return c.text('The page is not built. Run: npm run build\n', 503);
    return file ? bytesResponse(file.bytes, file.mime, file.tag, 'no-cache') : c.notFound();
  });

  function onPicture<T>(result: SlideResult, work: (picture: PictureTiles, slide: Slide) => Promise<T>): Promise<T> {
    return pool.use(result, async (slide) => {
      requireSameSlide(slide, result);
      const picture = pictures.get(slide) ?? new PictureTiles(slide, tileCache, pictureVersion(result));
      pictures.set(slide, picture);
      return await work(picture, slide);
    });
  }

  async function slideView(record: SlideRecord): Promise<SlideView> {
    const { slide, folder } = record;
    const picture = slide
      ? await attempt(() => onPicture(slide, async ({ levels }) => pictureOf(slide, levels)))
      : null;
    const columns = slide && folder ? await attempt(() => scoreColumns(join(folder, 'bag.arrow'), slide)) : null;
    return {
      ...slideEntry(record),
      picture: picture?.value ?? null,
      pictureProblem: picture ? picture.problem : 'The run kept nothing of this slide.',
      facts: slide && slideFacts(slide),
      model: record.prediction ? modelView(record.prediction.model) : modelOf(run),
      scoreColumns: columns?.value ?? [],
      scoresProblem: columns ? columns.problem : 'The run kept nothing of this slide.',
      hasTissue: folder !== null && (await contentTag(join(folder, 'tissue.geojson'))) !== 'none',
    };
  }

  return {
    fetch: async (request) => app.fetch(request),
    close: () => pool.close(),
  };
}

/**
 * Serves a run on the loopback address. Port 0 takes any free one.
 * @throws UserError `not-a-run`, `port-in-use`.
 */
export async function serveViewer(runDir: string, { port }: { port: number }): Promise<ServedViewer> {
  const app = await createViewerApp(runDir);
  const server = createAdaptorServer({ fetch: app.fetch });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  } catch (error) {
    await app.close();
    throw unservable(port, error);
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
      await app.close();
    },
  };
}

function unservable(port: number, error: unknown): UserError {
  const code = (error as NodeJS.ErrnoException).code;
  const problem =
    code === 'EADDRINUSE' ? `Port ${port} is in use.` : `Port ${port} cannot be opened (${messageOf(error)}).`;
  return new UserError('port-in-use', problem, 'Choose another one with --port, or --port 0 for any free one.', {
    cause: error,
  });
}

function runView(run: RunRecord): RunView {
  return {
    name: run.name,
    version: run.result?.version ?? null,
    startedAt: run.result?.startedAt ?? null,
    finishedAt: run.result?.finishedAt ?? null,
    model: modelOf(run),
    warnings: run.warnings,
  };
}

function modelOf(run: RunRecord): ModelView | null {
  return run.result?.model ? modelView(run.result.model) : null;
}

function modelView({ name, type, trained }: ModelView): ModelView {
  return { name, type, trained };
}

function slideEntry({ id, patient, status, slide, prediction, hasThumbnail, warnings }: SlideRecord): SlideEntry {
  return {
    id,
    patient,
    status,
    prediction: prediction?.prediction ?? null,
    probabilities: prediction?.classes.map((name, i) => ({ name, probability: prediction.probabilities[i]! })) ?? [],
    label: prediction?.label ?? null,
    nPatches: slide?.nPatches ?? null,
    hasThumbnail,
    warnings,
  };
}

function slideFacts(slide: SlideResult): SlideFacts {
  return {
    format: slide.format,
    vendor: slide.vendor,
    mpp: slide.mpp,
    mppSource: slide.mppSource,
    objectivePower: slide.objectivePower,
    width: slide.width,
    height: slide.height,
    tissueAreaUm2: slide.tissueAreaUm2,
    patchPx: slide.patch.px,
    patchLevel0Px: slide.patch.level0Px,
    patchMpp: slide.patch.mpp,
    unreadableTiles: slide.unreadableTiles,
  };
}

function pictureOf(slide: SlideResult, levels: Picture['levels']): Picture {
  const plain = levels.map(({ width, height, scaleX, scaleY, tileWidth, tileHeight }) => {
    return { width, height, scaleX, scaleY, tileWidth, tileHeight };
  });
  return { width: slide.width, height: slide.height, levels: plain, version: pictureVersion(slide) };
}

function pictureVersion({ hash }: SlideResult): string {
  return hash.replace(/[^A-Za-z0-9]/g, '').slice(0, 24);
}

/** The hash of a huge file is too slow to take at each opening; its size in pixels tells most mix-ups. */
function requireSameSlide(slide: Slide, result: SlideResult): void {
  const [found] = slide.levels;
  if (found && found.width === result.width && found.height === result.height) return;
  throw new UserError(
    'slide-changed',
    `${result.source} is not the slide that was run: it has ${found?.width} x ${found?.height} px, the run saw ${result.width} x ${result.height}.`,
    'Put the original file back, or run the slide again.',
  );
}

async function attempt<T>(work: () => Promise<T>): Promise<{ value: T | null; problem: string | null }> {
  try {
    return { value: await work(), problem: null };
  } catch (error) {
    return { value: null, problem: messageOf(error) };
  }
}

/** Changes when the file does; `none` when there is none. */
async function contentTag(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  return found ? `${found.size.toString(36)}-${Math.round(found.mtimeMs).toString(36)}` : 'none';
}

function fresh(c: Context, body: unknown): Response {
  return c.json(body as object, 200, { 'cache-control': 'no-store' });
}

/** Tiles carry the slide's version in their address, so a browser may keep them. */
function bytesResponse(
  bytes: Uint8Array<ArrayBuffer>,
  mime: string,
  tag: string,
  cacheControl = 'private, max-age=86400',
): Response {
  return new Response(bytes, { headers: { 'content-type': mime, 'cache-control': cacheControl, etag: `"${tag}"` } });
}

function unknownSlide(c: Context): Response {
  return problemResponse('no-slide', `The run has no slide ${c.req.param('id')}. Reload the page.`, 404);
}

function problemResponse(code: string, message: string, status: number): Response {
  return Response.json({ code, message } satisfies Problem, { status, headers: { 'cache-control': 'no-store' } });
}
