/** Reviews, annotations and the log of changes; the addresses are listed in `api.ts`. */
import type { Feature, FeatureCollection } from 'geojson';
import { formatTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import type { Role } from './accounts.ts';
import { Annotations } from './annotations.ts';
import type { ReviewSetup, SlideView, VerdictEntry } from './api.ts';
import type { AuditLine } from './database.ts';
import { fresh, unknownSlide, type ViewerContext, type ViewerRoutes } from './responses.ts';
import { Reviews, type SlideTruth } from './review.ts';
import type { RunRecord } from './run-folder.ts';
import type { Storage } from './storage.ts';
import { blinded } from './views.ts';

const EMPTY: FeatureCollection = { type: 'FeatureCollection', features: [] };

export function addReviewRoutes(
  app: ViewerRoutes,
  storage: Storage,
  run: () => RunRecord,
  slideView: (id: string) => Promise<SlideView | null>,
): void {
  const reviews = async () => new Reviews(await storage.open());
  const truthOf = (slide: string): SlideTruth => {
    const prediction = run().slides.get(slide)?.prediction;
    return { prediction: prediction?.prediction ?? null, label: prediction?.label ?? null };
  };

  app.get('/api/reviews', async (c) => {
    const database = await storage.find();
    return fresh(c, database ? await new Reviews(database).list() : []);
  });
  app.post('/api/reviews', async (c) => {
    requireRole(c, 'admin');
    const setup = (await bodyOf(c)) as unknown as ReviewSetup;
    const unknown = Array.isArray(setup.slides) && setup.slides.find((id) => !run().slides.has(id));
    if (unknown) throw new UserError('bad-request', `The run has no slide ${unknown}.`, 'Reload the page.');
    return fresh(c, await (await reviews()).create(setup, nameOf(c)));
  });
  app.get('/api/reviews/decided', async (c) => {
    const database = await storage.find();
    const { name, role } = c.get('user')!;
    return fresh(c, database ? await new Reviews(database).decided(role === 'admin' ? null : name) : []);
  });
  app.get('/api/reviews/:review/queue', async (c) => {
    const reader = requireReader(c, c.req.query('reader'));
    return fresh(c, await (await reviews()).queue(c.req.param('review'), reader));
  });
  app.get('/api/reviews/:review/slides/:id', async (c) => {
    const view = await slideView(c.req.param('id'));
    if (!view) return unknownSlide(c);
    return fresh(c, blinded(view, await (await reviews()).blindnessOf(c.req.param('review'))));
  });
  app.post('/api/reviews/:review/verdicts', async (c) => {
    const entry = (await bodyOf(c)) as unknown as VerdictEntry;
    const reader = requireReader(c, entry.reader);
    const truth = truthOf(String(entry.slide));
    return fresh(
      c,
      await (await reviews()).decide(c.req.param('review'), { ...entry, reader }, truth, nameOf(c, reader)),
    );
  });
  app.get('/api/reviews/:review/summary', async (c) => {
    requireRole(c, 'admin');
    return fresh(c, await (await reviews()).summary(c.req.param('review'), truthOf));
  });
  app.get('/api/reviews/:review/:name{export\\.(csv|json|geojson)}', async (c) => {
    requireRole(c, 'admin');
    const [review, format] = [c.req.param('review'), c.req.param('name').slice('export.'.length)];
    const { verdicts, summary } = await exported(await reviews(), review, truthOf);
    const attachment = {
      'content-disposition': `attachment; filename="review.${format}"`,
      'cache-control': 'no-store',
    };
    if (format === 'csv') return c.body(tableOf(verdicts, truthOf), 200, { ...attachment, 'content-type': 'text/csv' });
    if (format === 'json') {
      const text = JSON.stringify({ ...summary, verdicts }, null, 2);
      return c.body(text, 200, { ...attachment, 'content-type': 'application/json' });
    }
    const database = await storage.open();
    const slides = [...new Set(verdicts.map(({ slide }) => slide))];
    const features: Feature[] = [];
    for (const slide of slides) {
      const own = verdicts.filter((verdict) => verdict.slide === slide);
      features.push(...wholeSlide(run(), slide, own));
      const drawn = await new Annotations(database).of(slide);
      features.push(...drawn.features.map((one) => ({ ...one, properties: { ...one.properties, slide } })));
    }
    const text = JSON.stringify({ type: 'FeatureCollection', features } satisfies FeatureCollection);
    return c.body(text, 200, { ...attachment, 'content-type': 'application/geo+json' });
  });
  app.get('/api/audit', async (c) => {
    requireRole(c, 'admin');
    const database = await storage.find();
    const lines = (await database?.rows<AuditLine>('SELECT * FROM audit ORDER BY number')) ?? [];
    return fresh(c, { lines, firstBroken: (await database?.firstBrokenLine()) ?? null });
  });

  app.get('/api/slides/:id/annotations', async (c) => {
    if (!run().slides.has(c.req.param('id'))) return unknownSlide(c);
    const database = await storage.find();
    return fresh(c, database ? await new Annotations(database).of(c.req.param('id')) : EMPTY);
  });
  for (const path of ['/api/slides/:id/annotations', '/api/slides/:id/annotations/import']) {
    app.post(path, async (c) => {
      const slide = c.req.param('id')!;
      if (!run().slides.has(slide)) return unknownSlide(c);
      const body = await bodyOf(c);
      const features = featuresOf(body);
      const annotations = new Annotations(await storage.open());
      return fresh(c, await annotations.save(slide, features, c.get('user')!, nameOf(c, c.req.query('author'))));
    });
  }
  app.delete('/api/slides/:id/annotations/:annotation', async (c) => {
    const { id, annotation } = c.req.param();
    if (!run().slides.has(id)) return unknownSlide(c);
    const annotations = new Annotations(await storage.open());
    await annotations.remove(id, annotation, c.get('user')!, nameOf(c, c.req.query('author')));
    return fresh(c, {});
  });
}

async function exported(reviews: Reviews, id: string, truthOf: (slide: string) => SlideTruth) {
  return { verdicts: await reviews.latest(id), summary: await reviews.summary(id, truthOf) };
}

type Verdicts = Awaited<ReturnType<Reviews['latest']>>;

function tableOf(verdicts: Verdicts, truthOf: (slide: string) => SlideTruth): string {
  const columns = ['slide', 'reader', 'opinion', 'label', 'region', 'prediction', 'truth', 'seconds', 'at', 'note'];
  return formatTable(
    columns,
    verdicts.map((verdict) => {
      const { prediction, label: truth } = truthOf(verdict.slide);
      const row = { ...verdict, prediction, truth } as Record<string, string | number | null>;
      return Object.fromEntries(columns.map((name) => [name, harmless(row[name] ?? null)]));
    }),
  );
}

/** A spreadsheet takes text that begins like this for a formula. */
function harmless(cell: string | number | null): string | number | null {
  return typeof cell === 'string' && /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
}

/** The verdicts on a slide, as a frame around it. */
function wholeSlide(run: RunRecord, id: string, verdicts: Verdicts): Feature[] {
  const slide = run.slides.get(id)?.slide;
  if (!slide) return [];
  const [w, h] = [slide.width, slide.height];
  const ring = [
    [0, 0],
    [w, 0],
    [w, h],
    [0, h],
    [0, 0],
  ];
  const geometry = { type: 'Polygon' as const, coordinates: [ring] };
  return [{ type: 'Feature', geometry, properties: { objectType: 'annotation', name: id, slide: id, verdicts } }];
}

function featuresOf(body: Record<string, unknown>): readonly unknown[] {
  if (body.type === 'Feature') return [body];
  if (body.type === 'FeatureCollection' && Array.isArray(body.features)) return body.features;
  // QuPath may also write a bare list.
  if (Array.isArray(body)) return body;
  throw new UserError('bad-request', 'This is no GeoJSON of features.', 'Export the annotations as GeoJSON.');
}

async function bodyOf(c: ViewerContext): Promise<Record<string, unknown>> {
  const body: unknown = await c.req.json().catch(() => null);
  if (typeof body === 'object' && body !== null) return body as Record<string, unknown>;
  throw new UserError('bad-request', 'The request holds no JSON.', 'Reload the page.');
}

/** One with an account reads as oneself; an admin, or anybody on this machine, looks for anybody. */
function requireReader(c: ViewerContext, asked: unknown): string {
  const { name, role } = c.get('user')!;
  if (role === 'admin' && typeof asked === 'string' && asked) return asked;
  if (name && (asked === name || asked === undefined)) return name;
  throw new UserError('not-allowed', 'You cannot read for somebody else.', 'Sign in with that account.');
}

function requireRole(c: ViewerContext, role: Role): void {
  if (c.get('user')!.role === role) return;
  throw new UserError('not-allowed', 'This is for admins.', 'Ask one, or sign in as one.');
}

/** Whose name goes into the log: the account's, else the one that was typed. */
function nameOf(c: ViewerContext, typed?: string): string {
  return c.get('user')!.name || typed?.slice(0, 200) || 'local';
}
