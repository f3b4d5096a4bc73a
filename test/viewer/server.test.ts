import { readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { decodeScores, type SlideEntry, type SlideView, slideUrl, tileUrl } from '../../src/viewer/api.ts';
import { createViewerApp, serveViewer, type ViewerApp } from '../../src/viewer/server.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const BASE = 'http://127.0.0.1:7777/';

let run: SampleRun;
let app: ViewerApp;
let slide: Slide;

beforeAll(async () => {
  run = await writeSampleRun();
  app = await createViewerApp(run.folder);
  slide = await openSlide(run.slidePath);
});
afterAll(async () => {
  await slide.close();
  await app.close();
  await run.remove();
});

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return app.fetch(new Request(new URL(path, BASE), { headers }));
}

async function view(id: string): Promise<SlideView> {
  const response = await get(slideUrl(id));
  expect(response.status).toBe(200);
  return (await response.json()) as SlideView;
}

describe('the list', () => {
  it('says what each slide came to', async () => {
    const slides = (await (await get('api/slides')).json()) as SlideEntry[];
    expect(slides.map(({ id, status }) => [id, status])).toEqual([
      ['damaged', 'done'],
      ['known', 'done'],
      ['moved', 'done'],
      ['failed', 'failed'],
    ]);
    expect(slides[1]).toMatchObject({
      prediction: 'tumour',
      probabilities: [
        { name: 'normal', probability: 0.125 },
        { name: 'tumour', probability: 0.875 },
      ],
      nPatches: run.patches.length,
    });
  });

  it('names the run and its model', async () => {
    expect(await (await get('api/run')).json()).toMatchObject({ name: 'run', model: { trained: false }, warnings: [] });
  });
});

describe('a slide', () => {
  it('has the levels of its file, exactly placed', async () => {
    const { picture, facts, scoreColumns, pictureProblem, scoresProblem } = await view('known');
    expect([pictureProblem, scoresProblem]).toEqual([null, null]);
    expect(picture?.levels.map(({ width, height }) => [width, height])).toEqual(
      slide.levels.map(({ width, height }) => [width, height]),
    );
    // The sizes were rounded down (3001, 1500, 750, 375), the pixels are still 2, 4 and 8 wide.
    expect(picture?.levels.map(({ scaleX, scaleY }) => [scaleX, scaleY])).toEqual(
      slide.levels.map((_, level) => [2 ** level, 2 ** level]),
    );
    expect(facts).toMatchObject({ mpp: 0.5, mppSource: 'file', patchLevel0Px: 256 });
    expect(scoreColumns).toEqual(['attention', 'attention_raw']);
  });

  it('gives every tile of every level, edges included, with the pixels that the slide has there', async () => {
    const { picture } = await view('known');
    for (const [level, { width, height, tileWidth, tileHeight }] of picture!.levels.entries()) {
      const [columns, rows] = [Math.ceil(width / tileWidth), Math.ceil(height / tileHeight)];
      for (const [column, row] of [
        [0, 0],
        [columns - 1, rows - 1],
        [columns >> 1, rows >> 1],
      ] as const) {
        const response = await get(tileUrl('known', picture!, level, column, row));
        expect(response.headers.get('content-type')).toBe('image/jpeg');
        const expected = await slide.readTile(level, column, row);
        expect(await meanDifference(await response.arrayBuffer(), expected!)).toBeLessThan(2);
      }
      for (const place of [`${columns}_0`, `0_${rows}`]) {
        expect((await get(slideUrl('known', `tiles/${level}/${place}.jpg`))).status).toBe(404);
      }
    }
  });

  it('passes stored JPEG tiles through as they are', async () => {
    const stored = await slide.readStoredTile(0, 3, 4);
    const served = await (await get(slideUrl('known', 'tiles/0/3_4.jpg'))).arrayBuffer();
    expect(Buffer.from(served).equals(Buffer.from(stored!.bytes))).toBe(true);
  });

  it('gives its scores, patch by patch', async () => {
    const response = await get(`${slideUrl('known', 'scores')}?column=attention`);
    const bytes = Buffer.from(await response.arrayBuffer());
    const count = run.patches.length;
    expect(bytes.length).toBe(12 * count);
    run.patches.forEach(({ x, y, attention }, i) => {
      expect(bytes.readInt32LE(8 * i)).toBe(x);
      expect(bytes.readInt32LE(8 * i + 4)).toBe(y);
      expect(bytes.readFloatLE(8 * count + 4 * i)).toBe(Math.fround(attention));
    });
    const { coords, values } = decodeScores(new Uint8Array(bytes).buffer);
    expect([coords[2], coords[3], values[1]]).toEqual([
      run.patches[1]!.x,
      run.patches[1]!.y,
      Math.fround(run.patches[1]!.attention),
    ]);
  });

  it('has a thumbnail and an outline, and a sentence instead of a heatmap picture', async () => {
    expect((await get(slideUrl('known', 'thumbnail.jpg'))).headers.get('content-type')).toBe('image/jpeg');
    expect(await (await get(slideUrl('known', 'tissue.geojson'))).json()).toMatchObject({ type: 'FeatureCollection' });
    const response = await get(slideUrl('known', 'heatmap.png'));
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ message: expect.stringContaining('Run it again') });
  });

  it('is not sent again while it has not changed', async () => {
    for (const path of [
      slideUrl('known', 'tiles/0/0_0.jpg'),
      slideUrl('known', 'scores'),
      slideUrl('known', 'thumbnail.jpg'),
    ]) {
      const etag = (await get(path)).headers.get('etag')!;
      const again = await get(path, { 'if-none-match': etag });
      expect(again.status).toBe(304);
      expect((await again.arrayBuffer()).byteLength).toBe(0);
    }
  });
});

describe('what is broken', () => {
  it('a slide file that is gone: scores stay, the picture is a sentence', async () => {
    const { picture, pictureProblem, scoreColumns } = await view('moved');
    expect(picture).toBeNull();
    expect(pictureProblem).toContain('gone.svs');
    expect(scoreColumns).toContain('attention');
    const tile = await get(slideUrl('moved', 'tiles/0/0_0.jpg'));
    expect(tile.status).toBe(422);
    expect(await tile.json()).toMatchObject({ message: expect.stringContaining('gone.svs') });
  });

  it('a damaged bag: the picture stays, the scores are a sentence', async () => {
    const { picture, scoresProblem, scoreColumns } = await view('damaged');
    expect(picture).not.toBeNull();
    expect(scoreColumns).toEqual([]);
    expect(scoresProblem).toContain('bag.arrow');
    expect((await get(slideUrl('damaged', 'scores'))).status).toBe(422);
  });

  it('a slide that failed: the reason', async () => {
    const { warnings, pictureProblem } = await view('failed');
    expect(warnings).toEqual(['Failed at open: failed.svs is empty, or so. Copy it again.']);
    expect(pictureProblem).not.toBeNull();
  });

  it('another slide under the same name is refused', async () => {
    const path = join(run.folder, 'slides/damaged/slide.json');
    const before = await readFile(path, 'utf8');
    await writeFile(path, JSON.stringify({ ...run.slide, id: 'damaged', width: run.slide.width + 1 }));
    try {
      await get('api/slides');
      expect((await view('damaged')).pictureProblem).toContain('not the slide that was run');
    } finally {
      await writeFile(path, before);
      await get('api/slides');
    }
  });

  it('a bag of another slide is refused', async () => {
    const path = join(run.folder, 'slides/damaged');
    const before = await readFile(join(path, 'slide.json'), 'utf8');
    const bag = await readFile(join(path, 'bag.arrow'));
    await writeFile(join(path, 'bag.arrow'), await readFile(join(run.folder, 'slides/known/bag.arrow')));
    await writeFile(join(path, 'slide.json'), JSON.stringify({ ...run.slide, id: 'damaged', hash: 'sha256:other' }));
    try {
      await get('api/slides');
      expect((await view('damaged')).scoresProblem).toContain('belongs to another slide');
    } finally {
      await writeFile(join(path, 'slide.json'), before);
      await writeFile(join(path, 'bag.arrow'), bag);
      await get('api/slides');
    }
  });

  it('a column that the bag lacks', async () => {
    expect((await get(`${slideUrl('known', 'scores')}?column=constructor`)).status).toBe(422);
  });
});

describe('strangers', () => {
  it.each([
    '..',
    '..%2f..%2fknown',
    '%2e%2e%2fknown',
    'known%00',
    'known%2f..%2fknown',
    '..%5c..',
    '%252e%252e',
    '__proto__',
  ])('the id %s is no path', async (id) => {
    for (const resource of ['', '/thumbnail.jpg', '/tissue.geojson', '/scores', '/tiles/0/0_0.jpg']) {
      expect((await app.fetch(new Request(`${BASE}api/slides/${id}${resource}`))).status).toBe(404);
    }
  });

  it.each(['0/0_0.png', '0/-1_0.jpg', '-1/0_0.jpg', '99/0_0.jpg', '0/0_0.jpg.jpg', '0/1e1_0.jpg', '0/99999999_0.jpg'])(
    'the tile %s does not exist',
    async (tile) => {
      expect((await get(slideUrl('known', `tiles/${tile}`))).status).toBe(404);
    },
  );

  it('nothing but the page and the interface is served', async () => {
    for (const path of ['run.json', 'slides/known/slide.json', 'server.js', '../server.js', 'assets/../../server.js']) {
      expect((await get(path)).status).toBe(404);
    }
  });

  it('other names for this machine are refused (DNS rebinding)', async () => {
    const rebound = await app.fetch(new Request('http://evil.example/api/slides'));
    expect(rebound.status).toBe(403);
    expect((await get('api/slides', { host: 'evil.example' })).status).toBe(403);
    expect((await app.fetch(new Request('http://localhost:7777/api/slides'))).status).toBe(200);
  });

  it('other sites are refused, a link from them is not', async () => {
    expect((await get('api/slides', { origin: 'http://evil.example' })).status).toBe(403);
    expect((await get('api/slides', { origin: 'http://127.0.0.1:7778' })).status).toBe(403);
    expect((await get(slideUrl('known', 'thumbnail.jpg'), { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await get('', link)).status).toBe(200);
  });

  it('every answer forbids what is remote', async () => {
    for (const path of ['', 'api/slides', 'nothing', slideUrl('known', 'tiles/0/0_0.jpg')]) {
      const policy = (await get(path)).headers.get('content-security-policy');
      expect(policy).toContain("default-src 'none'");
      expect(policy).not.toMatch(/https?:|\*|unsafe/);
    }
  });
});

describe('a server', () => {
  it('listens on the loopback address, and says so when the port is taken', async () => {
    const served = await serveViewer(run.folder, { port: 0 });
    try {
      expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
      const page = await fetch(served.url);
      expect(await page.text()).toContain('<title>Lamina</title>');
      const port = Number(new URL(served.url).port);
      await expect(serveViewer(run.folder, { port })).rejects.toMatchObject({
        code: 'port-in-use',
        message: expect.stringContaining(String(port)),
      });
      expect(await statusAs(port, 'evil.example')).toBe(403);
      expect(await statusAs(port, `127.0.0.1:${port}`)).toBe(200);
    } finally {
      await served.close();
    }
  });

  it('stays up when a slide disappears while it is looked at', async () => {
    const copy = join(run.folder, '../copy.svs');
    await writeFile(copy, await readFile(run.slidePath));
    const path = join(run.folder, 'slides/moved/slide.json');
    const before = await readFile(path, 'utf8');
    await writeFile(path, JSON.stringify({ ...run.slide, id: 'moved', source: copy }));
    const served = await serveViewer(run.folder, { port: 0 });
    try {
      await rm(copy);
      expect((await fetch(new URL(slideUrl('moved', 'tiles/0/0_0.jpg'), served.url))).status).toBe(422);
      expect((await fetch(new URL(slideUrl('known', 'tiles/0/0_0.jpg'), served.url))).status).toBe(200);
    } finally {
      await served.close();
      await writeFile(path, before);
    }
  });
});

/** Asks under a Host header of choice, which `fetch` does not allow. */
function statusAs(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, path: '/api/run', headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
      .on('error', reject);
  });
}

/** Mean absolute difference of a JPEG, cut to the raster's size, from the raster. */
async function meanDifference(jpeg: ArrayBuffer, raster: { width: number; height: number; data: Uint8Array }) {
  const { width, height } = raster;
  const seen = await sharp(Buffer.from(jpeg))
    .extract({ left: 0, top: 0, width, height })
    .ensureAlpha()
    .raw()
    .toBuffer();
  let sum = 0;
  for (let i = 0; i < seen.length; i++) sum += Math.abs(seen[i]! - raster.data[i]!);
  return sum / seen.length;
}
