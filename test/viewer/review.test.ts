/** Reviews as they are kept: queues, verdicts, agreement, and nothing that was acknowledged is ever lost. */
import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTable } from '../../src/csv.ts';
import { readGeoJson } from '../../src/tiling/geojson.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { saveUser } from '../../src/viewer/accounts.ts';
import { type QueueView, type ReviewSummary, type ReviewView, slideUrl, type Verdict } from '../../src/viewer/api.ts';
import { Database } from '../../src/viewer/database.ts';
import { createViewerApp, type ViewerApp } from '../../src/viewer/server.ts';
import { start } from '../cli/spawn.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const BASE = 'http://127.0.0.1:7777/';
let run: SampleRun;
let folder: string;
let app: ViewerApp;

beforeAll(async () => {
  run = await writeSampleRun();
  folder = await mkdtemp(join(tmpdir(), 'lamina-review-'));
  app = await createViewerApp(run.folder);
});
afterAll(async () => {
  await app.close();
  await run.remove();
  await rm(folder, { recursive: true });
});

async function send(method: string, path: string, body?: unknown, cookie = '', to = app): Promise<Response> {
  const headers = { 'x-lamina': '1', 'content-type': 'application/json', cookie };
  return to.fetch(new Request(new URL(path, BASE), { method, headers, body: JSON.stringify(body) }));
}

async function json<T>(response: Response): Promise<T> {
  const body = await response.json();
  expect([response.status, body]).toEqual([200, body]);
  return body as T;
}

const SETUP = {
  name: 'Double reading',
  readers: ['anna', 'rolf'],
  slides: ['known', 'moved', 'damaged'],
  seed: 5,
  blindModel: false,
  blindLabel: true,
};

async function makeReview(more: object = {}): Promise<ReviewView> {
  return json(await send('POST', 'api/reviews', { ...SETUP, ...more }));
}

let entries = 0;
function entry(reader: string, slide: string, more: object = {}) {
  return { id: `entry-${++entries}-${reader}`, reader, slide, opinion: 'agree', seconds: 12.5, ...more };
}

describe('a review', () => {
  it('gives every reader all slides, in an order of their own that stays', async () => {
    const slides = ['known', 'moved', 'damaged', 'failed'];
    const { id } = await makeReview({ slides, readers: Array.from({ length: 8 }, (_, i) => `reader ${i}`) });
    const orders = new Set<string>();
    for (let i = 0; i < 8; i++) {
      const path = `api/reviews/${id}/queue?reader=reader+${i}`;
      const [once, again] = [
        await json<QueueView>(await send('GET', path)),
        await json<QueueView>(await send('GET', path)),
      ];
      const order = once.items.map(({ slide }) => slide);
      expect(again.items.map(({ slide }) => slide)).toEqual(order);
      expect(order.toSorted()).toEqual(slides.toSorted());
      orders.add(order.join());
    }
    expect(orders.size).toBeGreaterThan(2);
  });

  it('goes on where the reader left, and keeps what was said', async () => {
    const { id } = await makeReview();
    const queue = () => send('GET', `api/reviews/${id}/queue?reader=anna`).then((found) => json<QueueView>(found));
    const { items } = await queue();
    await json(await send('POST', `api/reviews/${id}/verdicts`, entry('anna', items[0]!.slide, { note: 'clear' })));
    const after = await queue();
    expect(after.next).toBe(1);
    expect(after.items[0]!.verdict).toMatchObject({ opinion: 'agree', label: 'tumour', note: 'clear', seconds: 12.5 });
  });

  it('stores a verdict that is sent twice once, and a second opinion beside the first', async () => {
    const { id } = await makeReview();
    const first = entry('anna', 'known');
    const path = `api/reviews/${id}/verdicts`;
    const [one, two] = [
      await json<Verdict>(await send('POST', path, first)),
      await json<Verdict>(await send('POST', path, first)),
    ];
    expect(two).toEqual(one);
    await json(
      await send('POST', path, entry('anna', 'known', { opinion: 'disagree', label: 'normal', region: 'wrong' })),
    );
    const exported = await json<ReviewSummary & { verdicts: Verdict[] }>(
      await send('GET', `api/reviews/${id}/export.json`),
    );
    expect(exported.verdicts).toHaveLength(1);
    expect(exported.verdicts[0]).toMatchObject({ opinion: 'disagree', label: 'normal', region: 'wrong' });
    const database = await Database.open(`file:${join(run.folder, 'review.db')}`);
    expect(await database.rows('SELECT id FROM verdict WHERE review = ?', [id])).toHaveLength(2);
    await database.close();
  });

  it.each([
    ['no opinion', { opinion: null }],
    ['another opinion', { opinion: 'maybe' }],
    ['another region', { region: 'left' }],
    ['no time', { seconds: 'long' }],
    ['no id', { id: '' }],
  ])('refuses a verdict with %s', async (_, more) => {
    const { id } = await makeReview();
    const answer = await send('POST', `api/reviews/${id}/verdicts`, { ...entry('anna', 'known'), ...more });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ message: expect.stringMatching(/\.$/) });
  });

  it('refuses readers, slides and reviews that it does not know', async () => {
    const { id } = await makeReview();
    expect((await send('POST', `api/reviews/${id}/verdicts`, entry('eva', 'known'))).status).toBe(404);
    expect((await send('POST', `api/reviews/${id}/verdicts`, entry('anna', '../known'))).status).toBe(404);
    expect((await send('POST', 'api/reviews/none/verdicts', entry('anna', 'known'))).status).toBe(404);
    expect((await send('POST', 'api/reviews', { ...SETUP, slides: ['../known'] })).status).toBe(400);
    expect((await send('POST', 'api/reviews', { ...SETUP, readers: [] })).status).toBe(400);
    expect((await send('POST', 'api/reviews', { ...SETUP, readers: ['a', 'a'] })).status).toBe(400);
  });

  it('sums up two readers: kappa by hand, and where they differ', async () => {
    const { id } = await makeReview();
    const said = {
      anna: {
        known: { opinion: 'agree' },
        moved: { opinion: 'agree' },
        damaged: { opinion: 'disagree', label: 'normal' },
      },
      rolf: {
        known: { opinion: 'agree' },
        moved: { opinion: 'disagree', label: 'normal', note: '=cmd' },
        damaged: { opinion: 'disagree', label: 'normal' },
      },
    };
    for (const [reader, slides] of Object.entries(said)) {
      for (const [slide, verdict] of Object.entries(slides)) {
        await json(await send('POST', `api/reviews/${id}/verdicts`, entry(reader, slide, verdict)));
      }
    }
    const summary = await json<ReviewSummary>(await send('GET', `api/reviews/${id}/summary`));
    // tumour tumour normal / tumour normal normal: observed 2/3, by chance 2/3 1/3 + 1/3 2/3 = 4/9.
    expect(summary.pairs).toEqual([{ readers: ['anna', 'rolf'], slides: 3, kappa: expect.closeTo(0.4, 10) }]);
    // Both categories have half of the six: observed 2/3, by chance 1/2.
    expect(summary.fleiss).toEqual({ slides: 3, kappa: expect.closeTo(1 / 3, 10) });
    expect(summary.disagreements).toMatchObject([{ slide: 'moved', prediction: 'tumour' }]);
    expect(summary.review.readers).toMatchObject([
      { name: 'anna', slides: 3, done: 3, opinions: { agree: 2, disagree: 1, unsure: 0 } },
      { name: 'rolf', slides: 3, done: 3, opinions: { agree: 1, disagree: 2, unsure: 0 } },
    ]);

    const { rows } = parseTable('export.csv', await (await send('GET', `api/reviews/${id}/export.csv`)).text());
    expect(rows).toHaveLength(6);
    expect(rows.find(({ slide, reader }) => slide === 'moved' && reader === 'rolf')).toMatchObject({
      opinion: 'disagree',
      label: 'normal',
      prediction: 'tumour',
      note: "'=cmd",
    });
    const geojson = await (await send('GET', `api/reviews/${id}/export.geojson`)).json();
    expect((geojson as { features: unknown[] }).features).toHaveLength(3);
  });
});

describe('a blinded review', () => {
  it('hides the model until the reader has decided, wherever it is asked for', async () => {
    const accounts = join(folder, 'accounts.json');
    await saveUser(accounts, { name: 'anna', role: 'admin' }, 'correct horse');
    await saveUser(accounts, { name: 'rolf', role: 'reader' }, 'battery staple');
    const shared = await createViewerApp(run.folder, { accounts, database: `file:${join(folder, 'blind.db')}` });
    try {
      const signIn = async (name: string, password: string) =>
        (await send('POST', 'api/session', { name, password }, '', shared)).headers.get('set-cookie')!.split(';')[0]!;
      const [anna, rolf] = [await signIn('anna', 'correct horse'), await signIn('rolf', 'battery staple')];
      const setup = { ...SETUP, readers: ['rolf'], slides: ['known'], blindModel: true };
      expect((await send('POST', 'api/reviews', setup, rolf, shared)).status).toBe(403);
      const { id } = await json<ReviewView>(await send('POST', 'api/reviews', setup, anna, shared));
      const seen = async (cookie: string) => ({
        list: await (await send('GET', 'api/slides', undefined, cookie, shared)).json(),
        view: await (await send('GET', slideUrl('known'), undefined, cookie, shared)).json(),
        review: await (await send('GET', `api/reviews/${id}/slides/known`, undefined, cookie, shared)).json(),
        scores: (await send('GET', slideUrl('known', 'scores'), undefined, cookie, shared)).status,
        heatmap: (await send('GET', slideUrl('known', 'heatmap.png'), undefined, cookie, shared)).status,
      });
      const before = await seen(rolf);
      const known = (list: unknown) => (list as { id: string; prediction: string }[]).find((one) => one.id === 'known');
      expect(known(before.list)!.prediction).toBeNull();
      expect([before.scores, before.heatmap]).toEqual([403, 403]);
      for (const view of [before.view, before.review]) {
        expect(view).toMatchObject({ prediction: null, probabilities: [], scoreColumns: [], model: null });
      }
      expect(known((await seen(anna)).list)!.prediction).toBe('tumour');
      const path = `api/reviews/${id}/verdicts`;
      expect((await send('POST', path, entry('anna', 'known'), rolf, shared)).status).toBe(403);
      const blind = { ...entry('rolf', 'known'), opinion: null, label: 'tumour' };
      expect(await json(await send('POST', path, blind, rolf, shared))).toMatchObject({
        opinion: 'agree',
        label: 'tumour',
      });
      const after = await seen(rolf);
      expect(known(after.list)!.prediction).toBe('tumour');
      expect(after.scores).toBe(200);
      expect((await send('GET', `api/reviews/${id}/summary`, undefined, rolf, shared)).status).toBe(403);
      expect((await send('GET', 'api/audit', undefined, rolf, shared)).status).toBe(403);
    } finally {
      await shared.close();
    }
  });
});

describe('what was entered', () => {
  it('cannot be changed or deleted, and the log tells if it was', async () => {
    const url = `file:${join(folder, 'log.db')}`;
    const database = await Database.open(url);
    await Promise.all(
      ['one', 'two', 'three'].map((what) =>
        database.change('anna', what, { what }, [
          {
            sql: "INSERT INTO annotation (id, slide, author, at, feature) VALUES (?, 's', 'a', 't', NULL)",
            args: [what],
          },
        ]),
      ),
    );
    expect(await database.rows('SELECT number, what FROM audit ORDER BY number')).toMatchObject([
      { number: 1, what: 'one' },
      { number: 2, what: 'two' },
      { number: 3, what: 'three' },
    ]);
    for (const sql of ['DELETE FROM audit', "UPDATE audit SET who = 'rolf'", 'DELETE FROM annotation']) {
      await expect(database.rows(sql)).rejects.toThrow('only grows');
    }
    expect(await database.firstBrokenLine()).toBeNull();
    await database.rows('DROP TRIGGER audit_no_update');
    await database.rows("UPDATE audit SET who = 'rolf' WHERE number = 2");
    expect(await database.firstBrokenLine()).toBe(2);
    await database.close();
  });

  it('is stored with its line in the log or not at all', async () => {
    const database = await Database.open(`file:${join(folder, 'atom.db')}`);
    const wrong = [{ sql: 'INSERT INTO annotation (id) VALUES (?)', args: ['x'] }];
    await expect(database.change('anna', 'wrong', {}, wrong)).rejects.toMatchObject({ code: 'no-database' });
    expect(await database.rows('SELECT * FROM audit')).toEqual([]);
    await database.close();
  });

  it('is one chain also when two processes write', async () => {
    const url = `file:${join(folder, 'two.db')}`;
    const [a, b] = [await Database.open(url), await Database.open(url)];
    await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).change('x', `${i}`, {}, [])));
    expect(await a.rows('SELECT count(*) AS n FROM audit')).toEqual([{ n: 20 }]);
    expect(await a.firstBrokenLine()).toBeNull();
    await a.close();
    await b.close();
  });

  it('survives a kill -9 in the middle of verdicts: all that were acknowledged are there', async () => {
    const database = `file:${join(folder, 'killed.db')}`;
    const slides = ['known', 'moved', 'damaged'];
    const acknowledged: string[] = [];
    let review = '';
    for (let round = 0; round < 3; round++) {
      const server = start(['view', run.folder, '--port', '0', '--database', database]);
      const [address] = (await server.until(/http:\S+/)) as unknown as [string];
      const post = (path: string, body: unknown) =>
        fetch(new URL(path, address), {
          method: 'POST',
          headers: { 'x-lamina': '1', 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
      if (!review) review = ((await (await post('api/reviews', SETUP)).json()) as ReviewView).id;
      const lanes = ['anna', 'rolf'].map(async (reader) => {
        for (let i = 0; ; i++) {
          const one = entry(reader, slides[i % 3]!, { note: `${round}` });
          const answer = await post(`api/reviews/${review}/verdicts`, one).catch(() => null);
          if (!answer) return;
          if (answer.status === 200) acknowledged.push(((await answer.json().catch(() => ({}))) as Verdict).id);
        }
      });
      setTimeout(() => server.process.kill('SIGKILL'), 400 + 100 * round);
      await Promise.all(lanes);
      await server.ended;
    }
    const whole = acknowledged.filter(Boolean);
    expect(whole.length).toBeGreaterThan(10);
    const after = await Database.open(database);
    const stored = new Set((await after.rows<{ id: string }>('SELECT id FROM verdict')).map(({ id }) => id));
    expect(whole.filter((id) => !stored.has(id))).toEqual([]);
    // What was under way may be stored too; nothing is stored by halves.
    const logged = await after.rows<{ detail: string }>("SELECT detail FROM audit WHERE what = 'verdict'");
    expect(new Set(logged.map(({ detail }) => (JSON.parse(detail) as Verdict).id))).toEqual(stored);
    expect(await after.firstBrokenLine()).toBeNull();
    await after.close();
  });

  it('is not written to a file that is gone, and goes on when it is back', async () => {
    const path = join(folder, 'lost.db');
    const lost = await createViewerApp(run.folder, { database: `file:${path}` });
    try {
      const { id } = await json<ReviewView>(await send('POST', 'api/reviews', SETUP, '', lost));
      await lost.close(); // so that everything is in the one file
      await copyFile(path, `${path}.copy`);
      await json(await send('GET', 'api/reviews', undefined, '', lost));
      await rm(path);
      const refused = await send('POST', `api/reviews/${id}/verdicts`, entry('anna', 'known'), '', lost);
      expect(refused.status).toBe(422);
      expect(await refused.json()).toMatchObject({ code: 'no-database', message: expect.stringContaining('is gone') });
      for (const rest of ['-wal', '-shm']) await rm(`${path}${rest}`, { force: true });
      await rename(`${path}.copy`, path);
      await json(await send('POST', `api/reviews/${id}/verdicts`, entry('anna', 'known'), '', lost));
    } finally {
      await lost.close();
    }
  });

  it('a file that is no database is a sentence', async () => {
    const path = join(folder, 'text.db');
    await writeFile(path, 'this is not a database, only a text that is long enough to be looked at as one');
    const broken = await createViewerApp(run.folder, { database: `file:${path}` });
    const answer = await send('POST', 'api/reviews', SETUP, '', broken);
    expect([answer.status, await answer.json()]).toMatchObject([422, { code: 'no-database' }]);
    expect((await send('GET', slideUrl('known'), undefined, '', broken)).status).toBe(200);
    await broken.close();
  });
});

describe('annotations', () => {
  const square = {
    type: 'Feature',
    geometry: {
      type: 'Polygon',
      coordinates: [
        [
          [512, 512],
          [1024, 512],
          [1024, 1024],
          [512, 1024],
        ],
      ],
    },
    properties: { classification: { name: 'Tumor', color: [200, 0, 0] }, metadata: { ANNOTATION_DESCRIPTION: 'here' } },
  };

  it('are kept in every version, and come back as QuPath and --mask read them', async () => {
    const path = slideUrl('known', 'annotations');
    const [made] = await json<{ id: string; geometry: unknown }[]>(await send('POST', `${path}?author=anna`, square));
    await json(await send('POST', `${path}?author=anna`, { ...square, id: made!.id, properties: { name: 'edited' } }));
    const text = await (await send('GET', path)).text();
    const { features } = JSON.parse(text);
    expect(features).toHaveLength(1);
    expect(features[0]).toMatchObject({ id: made!.id, properties: { objectType: 'annotation', name: 'edited' } });
    expect(features[0].geometry.coordinates[0]).toHaveLength(5); // closed
    const file = join(folder, 'annotations.geojson');
    await writeFile(file, text);
    const slide = await openSlide(run.slidePath);
    const mask = await readGeoJson(file, slide);
    await slide.close();
    const inside = (x: number, y: number) =>
      mask.data[Math.floor(y / mask.level0PerPixel) * mask.width + Math.floor(x / mask.level0PerPixel)];
    expect([inside(768, 768), inside(400, 768), inside(1100, 768)]).toEqual([1, 0, 0]);
    await json(await send('DELETE', `${path}/${made!.id}`));
    expect(await json(await send('GET', path))).toEqual({ type: 'FeatureCollection', features: [] });
    const database = await Database.open(`file:${join(run.folder, 'review.db')}`);
    expect(await database.rows('SELECT number FROM annotation WHERE id = ?', [made!.id])).toHaveLength(3);
    await database.close();
  });

  it.each([
    ['no geometry', { ...square, geometry: null }],
    ['another type', { ...square, geometry: { type: 'GeometryCollection', geometries: [] } }],
    ['text for a number', { ...square, geometry: { type: 'Point', coordinates: ['1', 2] } }],
    ['infinite', { ...square, geometry: { type: 'Point', coordinates: [1e300, 2] } }],
    [
      'two corners',
      {
        ...square,
        geometry: {
          type: 'Polygon',
          coordinates: [
            [
              [0, 0],
              [1, 1],
            ],
          ],
        },
      },
    ],
    ['no features', { hello: 1 }],
  ])('with %s are refused', async (_, feature) => {
    const answer = await send('POST', slideUrl('known', 'annotations/import'), feature);
    expect(answer.status).toBe(400);
  });

  it('the run folder is not touched by looking', async () => {
    const fresh = await writeSampleRun();
    const other = await createViewerApp(fresh.folder);
    await json(await send('GET', slideUrl('known', 'annotations'), undefined, '', other));
    await json(await send('GET', 'api/reviews', undefined, '', other));
    await expect(readFile(join(fresh.folder, 'review.db'))).rejects.toThrow('ENOENT');
    await other.close();
    await fresh.remove();
  });
});
