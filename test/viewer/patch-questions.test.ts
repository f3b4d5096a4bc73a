/** Questions about one patch: which others are like it, and which feed it; against plain loops over the bags. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBag, type StoredBag } from '../../src/features/store.ts';
import { decodeScores, type SimilarView, type SlideView, slideUrl } from '../../src/viewer/api.ts';
import { readRunFolder } from '../../src/viewer/run-folder.ts';
import { createViewerApp, type ViewerApp } from '../../src/viewer/server.ts';
import { similarPatches } from '../../src/viewer/similar-patches.ts';
import { type NeedleRun, writeNeedleRun } from './needle-run.ts';
import { type TwoRuns, writeTwoRuns } from './two-runs.ts';

let runs: TwoRuns;
let app: ViewerApp;
let bags: Record<string, StoredBag>;
const ROW = 20;

beforeAll(async () => {
  runs = await writeTwoRuns();
  app = await createViewerApp(runs.first, { device: 'wasm', against: runs.other });
  const bag = (id: string) => readBag(join(runs.first, 'slides', id, 'bag.arrow'));
  bags = { one: await bag('one'), two: await bag('two') };
}, 240_000);
afterAll(async () => {
  await app?.close();
  await runs?.remove();
});

async function ask(of: ViewerApp, id: string, what: string, entry: object): Promise<Response> {
  const headers = { 'x-lamina': '1', 'content-type': 'application/json' };
  const request = new Request(`http://127.0.0.1:7777/${slideUrl(id, what)}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(entry),
  });
  return of.fetch(request);
}

const placeOf = (bag: StoredBag, row: number) => ({ x: bag.coords![2 * row]!, y: bag.coords![2 * row + 1]! });

describe('similar patches', () => {
  const similar = async (entry: object) => (await (await ask(app, 'one', 'similar', entry)).json()) as SimilarView;

  it('are those of all slides whose cosine is the highest, without the neighbours of the patch', async () => {
    const { one } = bags as { one: StoredBag };
    const { x, y } = placeOf(one, ROW);
    const side = one.meta.patchLevel0Px!;
    const wanted = one.features.subarray(ROW * one.dimension, (ROW + 1) * one.dimension);
    const all = Object.entries(bags).flatMap(([slide, bag]) =>
      Array.from({ length: bag.count }, (_, row) => {
        const own = bag.features.subarray(row * bag.dimension, (row + 1) * bag.dimension);
        const product = own.reduce((total, value, i) => total + value * wanted[i]!, 0);
        return { slide, ...placeOf(bag, row), similarity: product / Math.hypot(...own) / Math.hypot(...wanted) };
      }),
    );
    const touches = (patch: (typeof all)[number]) =>
      patch.slide === 'one' && Math.max(Math.abs(patch.x - x), Math.abs(patch.y - y)) <= side;
    const expected = all.filter((patch) => !touches(patch)).toSorted((a, b) => b.similarity - a.similarity);
    const found = await similar({ x, y, count: 15, otherSlides: false });
    expect(found.patches.map(({ slide, x, y }) => [slide, x, y])).toEqual(
      expected.slice(0, 15).map(({ slide, x, y }) => [slide, x, y]),
    );
    found.patches.forEach(({ similarity, side: own }, i) => {
      expect(similarity).toBeCloseTo(expected[i]!.similarity, 6);
      expect(own).toBe(side);
    });
    expect(found.searched).toEqual({ slides: 2, patches: all.length });
    expect(found.neighbours).toBe(all.filter(touches).length - 1);
    expect(found.neighbours).toBeGreaterThan(0);
    const elsewhere = await similar({ x, y, count: 5, otherSlides: true });
    expect(elsewhere.patches.map(({ slide, x, y }) => [slide, x, y])).toEqual(
      expected
        .filter(({ slide }) => slide !== 'one')
        .slice(0, 5)
        .map(({ slide, x, y }) => [slide, x, y]),
    );
  });

  it('are not looked for among features of another encoder, which is said by name', async () => {
    const { refused } = await similar({ ...placeOf(bags.one!, ROW), count: 3 });
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatch(
      /^stained was not searched: its features are of stain-texture@1\+macenko-\w+, the chosen patch’s of stain-texture@1\./,
    );
  });

  it.each([
    ['a place without a patch', { x: 1, y: 2 }, 'no-patch'],
    ['no place', {}, 'no-patch'],
    ['too many', { x: 0, y: 0, count: 1000 }, 'bad-request'],
  ])('%s: a sentence', async (_, entry, code) => {
    const response = await ask(app, 'one', 'similar', entry);
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(await response.json()).toMatchObject({ code, message: expect.stringMatching(/\.$/) });
  });

  it('are looked for no longer when nobody waits', async () => {
    const run = await readRunFolder(runs.first);
    const giveUp = new AbortController();
    // Given up while the slides are gone through.
    const slides = new Map(run.slides);
    const entries = function* () {
      for (const record of run.slides.values()) {
        yield record;
        giveUp.abort();
      }
    };
    slides.values = entries as typeof slides.values;
    const place = placeOf(bags.one!, ROW);
    await expect(
      similarPatches({ ...run, slides }, run.slides.get('one')!, place, giveUp.signal),
    ).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('what feeds a patch', () => {
  let needle: NeedleRun;
  beforeAll(async () => {
    needle = await writeNeedleRun();
  }, 120_000);
  afterAll(() => needle?.remove());

  it('is a share of each patch of the slide, another for another patch', async () => {
    const one = bags.one!;
    const sources = async (row: number) => {
      const response = await ask(app, 'one', 'sources', placeOf(one, row));
      expect(response.status).toBe(200);
      return decodeScores(await response.arrayBuffer());
    };
    const [a, b] = [await sources(ROW), await sources(one.count - 1)];
    for (const { coords, values } of [a, b]) {
      expect(coords).toEqual(one.coords);
      expect(values.reduce((total, value) => total + value, 0)).toBeCloseTo(1, 5);
    }
    expect(a.values.indexOf(Math.max(...a.values))).not.toBe(b.values.indexOf(Math.max(...b.values)));
  });

  it('cannot be asked of a model without a scan: a sentence', async () => {
    const other = await createViewerApp(needle.folder, { device: 'wasm' });
    const response = await ask(other, 'needle', 'sources', needle.patches[0]!);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: 'no-scan', message: expect.stringContaining('no scan') });
    await other.close();
  });
});

describe('a second run', () => {
  it('gives the scores of the same slide, and nothing of slides that it lacks', async () => {
    const get = async (path: string) => app.fetch(new Request(`http://127.0.0.1:7777/${path}`));
    const view = (await (await get(slideUrl('one'))).json()) as SlideView;
    expect(view.against).toEqual({
      run: 'other',
      scoreColumns: ['attention', 'attention_raw'],
      patchLevel0Px: bags.one!.meta.patchLevel0Px,
    });
    const response = await get(`${slideUrl('one', 'scores')}?column=attention&run=against`);
    const scores = decodeScores(await response.arrayBuffer());
    const bag = await readBag(join(runs.other, 'slides/one/bag.arrow'));
    expect(scores.values).toEqual(bag.scores.attention);
    expect(scores.values).not.toEqual(bags.one!.scores.attention);
    expect(((await (await get(slideUrl('stained'))).json()) as SlideView).against).toBe(null);
    expect((await get(`${slideUrl('stained', 'scores')}?column=attention&run=against`)).status).toBe(404);
  });
});
