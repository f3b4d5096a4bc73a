/** Who gets in, and what is kept from those who do not. */
import { mkdtemp, readFile, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkPassword, readAccounts, saveUser } from '../../src/viewer/accounts.ts';
import { slideUrl } from '../../src/viewer/api.ts';
import { RateLimit } from '../../src/viewer/rate-limit.ts';
import { createViewerApp, serveViewer, type ViewerApp, type ViewerOptions } from '../../src/viewer/server.ts';
import { start } from '../cli/spawn.ts';
import { findLabelledSlide } from './labelled-slide.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const BASE = 'http://127.0.0.1:7777/';
const labelled = await findLabelledSlide();
const TOKEN = 'a-token-that-nobody-guesses';

let run: SampleRun;
let folder: string;
let accounts: string;
const apps: ViewerApp[] = [];

beforeAll(async () => {
  run = await writeSampleRun();
  folder = await mkdtemp(join(tmpdir(), 'lamina-access-'));
  accounts = join(folder, 'accounts.json');
  await saveUser(accounts, { name: 'anna', role: 'admin' }, 'correct horse');
  await saveUser(accounts, { name: 'rolf', role: 'reader' }, 'battery staple');
});
afterAll(async () => {
  for (const app of apps) await app.close();
  await run.remove();
  await rm(folder, { recursive: true });
});

async function open(options: ViewerOptions): Promise<ViewerApp> {
  const app = await createViewerApp(run.folder, options);
  apps.push(app);
  return app;
}

function ask(app: ViewerApp, path: string, init: RequestInit = {}): Promise<Response> {
  return app.fetch(new Request(new URL(path, BASE), { redirect: 'manual', ...init }));
}

function post(app: ViewerApp, path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const own = { 'content-type': 'application/json', 'x-lamina': '1', ...headers };
  return ask(app, path, { method: 'POST', body: JSON.stringify(body), headers: own });
}

function cookieOf(response: Response): string {
  return response.headers.get('set-cookie')!.split(';')[0]!;
}

describe('accounts', () => {
  it('keep no password, and only their owner reads them', async () => {
    const text = await readFile(accounts, 'utf8');
    expect(text).not.toContain('horse');
    expect((await stat(accounts)).mode & 0o777).toBe(0o600);
    const [anna, rolf] = await readAccounts(accounts);
    expect(anna!.password.split(':')[4]).not.toBe(rolf!.password.split(':')[4]);
  });

  it('know the right password', async () => {
    expect(await checkPassword(accounts, 'anna', 'correct horse')).toEqual({ name: 'anna', role: 'admin' });
    expect(await checkPassword(accounts, 'anna', 'correct horsf')).toBeNull();
    expect(await checkPassword(accounts, 'nobody', 'correct horse')).toBeNull();
  });

  it('are made by the command line, which refuses what is weak', async () => {
    const file = join(folder, 'made.json');
    const env = { LAMINA_PASSWORD: 'long enough to keep', LAMINA_ACCOUNTS: file };
    expect((await start(['user', 'add', 'eva', '--role', 'admin'], { env }).ended).code).toBe(0);
    expect(await checkPassword(file, 'eva', 'long enough to keep')).toEqual({ name: 'eva', role: 'admin' });
    await expect(saveUser(file, { name: 'eva', role: 'admin' }, 'short')).rejects.toMatchObject({ code: 'bad-user' });
    await expect(saveUser(file, { name: '../eva', role: 'admin' }, 'x'.repeat(20))).rejects.toMatchObject({
      code: 'bad-user',
    });
    await writeFile(join(folder, 'broken.json'), '{"users":[{"name":"x"}]}');
    await expect(open({ accounts: join(folder, 'broken.json') })).rejects.toMatchObject({ code: 'bad-accounts' });
    await expect(open({ accounts: join(folder, 'none.json') })).rejects.toMatchObject({ code: 'no-accounts' });
  });
});

describe('a viewer that others reach', () => {
  it('makes a token when it is given none, and refuses one that can be guessed', async () => {
    const app = await open({ host: '0.0.0.0' });
    expect(app.access).toMatchObject({ mode: 'token', token: expect.stringMatching(/^[\w-]{32}$/) });
    await expect(open({ token: 'secret' })).rejects.toMatchObject({ code: 'weak-token' });
  });

  it('shows nothing of the run without a session, whatever is asked', async () => {
    const app = await open({ token: TOKEN });
    for (const path of [
      'api/run',
      'api/slides',
      slideUrl('known'),
      slideUrl('known', 'tiles/0/0_0.jpg'),
      slideUrl('known', 'scores'),
      slideUrl('known', 'thumbnail.jpg'),
      slideUrl('known', 'deep-zoom.dzi'),
      slideUrl('known', 'iiif/info.json'),
      slideUrl('known', 'associated/label'),
      'api/reviews',
      'api/nothing',
    ]) {
      const response = await ask(app, path);
      expect([path, response.status]).toEqual([path, 401]);
      expect(JSON.stringify(await response.json())).not.toContain('known');
    }
    for (const cookie of ['lamina_session=', 'lamina_session=x', 'lamina_session=undefined']) {
      expect((await ask(app, 'api/run', { headers: { cookie } })).status).toBe(401);
    }
  });

  it('lets the token in by its address once, and leaves it out of the next one', async () => {
    const app = await open({ token: TOKEN });
    expect((await ask(app, `?token=${TOKEN}x`)).status).toBe(403);
    const entry = await ask(app, `?token=${TOKEN}`);
    expect([entry.status, entry.headers.get('location')]).toEqual([303, '/']);
    expect(entry.headers.get('set-cookie')).toMatch(/^lamina_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    const headers = { cookie: cookieOf(entry) };
    expect((await ask(app, 'api/run', { headers })).status).toBe(200);
    const out = await ask(app, 'api/session', { method: 'DELETE', headers: { ...headers, 'x-lamina': '1' } });
    expect(out.status).toBe(200);
    expect((await ask(app, 'api/run', { headers })).status).toBe(401);
  });

  it('knows its users, and who each one is', async () => {
    const app = await open({ accounts });
    expect((await post(app, 'api/session', { name: 'rolf', password: 'wrong, alas' })).status).toBe(403);
    const entry = await post(app, 'api/session', { name: 'rolf', password: 'battery staple' });
    expect(await entry.json()).toEqual({ mode: 'accounts', user: { name: 'rolf', role: 'reader' } });
    expect((await ask(app, 'api/slides', { headers: { cookie: cookieOf(entry) } })).status).toBe(200);
    for (const body of [{}, { name: 'rolf' }, { name: ['rolf'], password: { $ne: 1 } }, 'x', null]) {
      expect((await post(app, 'api/session', body)).status).toBe(403);
    }
  });

  it('slows down who guesses', async () => {
    const app = await open({ token: TOKEN });
    const answers: number[] = [];
    for (let i = 0; i < 12; i++) answers.push((await post(app, 'api/session', { token: `guess ${i}` })).status);
    expect(answers[0]).toBe(403);
    expect(answers.at(-1)).toBe(429);
    expect((await post(app, 'api/session', { token: TOKEN })).status).toBe(429);
  });

  it('does not say where files lie', async () => {
    const problems: unknown[] = [];
    const app = await open({ token: TOKEN, onProblem: (problem) => problems.push(problem) });
    const headers = { cookie: cookieOf(await ask(app, `?token=${TOKEN}`)) };
    await ask(app, 'api/slides', { headers });
    const answer = await (await ask(app, slideUrl('moved', 'tiles/0/0_0.jpg'), { headers })).text();
    expect(answer).toContain('gone.svs');
    expect(answer).not.toContain(join(run.folder, '..'));
    const view = await (await ask(app, slideUrl('moved'), { headers })).text();
    expect(view).toContain('gone.svs');
    expect(view).not.toContain(join(run.folder, '..'));
    expect(problems).toHaveLength(1);
    const { route, code } = problems[0] as { route: string; code: string };
    expect(`${route} ${code}`).toBe('GET /api/slides/:id/tiles/:level/:name missing-file');
  });

  it('listens where it is told, and prints how to get in', async () => {
    const served = await serveViewer(run.folder, { port: 0, host: '0.0.0.0' });
    try {
      const port = new URL(served.url).port;
      expect((await fetch(`http://127.0.0.1:${port}/api/run`)).status).toBe(401);
      const entry = await fetch(`http://127.0.0.1:${port}/?token=${served.token}`, { redirect: 'manual' });
      expect(entry.status).toBe(303);
    } finally {
      await served.close();
    }
  });
});

describe('changes', () => {
  it('are only taken from the viewer’s own page', async () => {
    const app = await open({});
    const session = (headers: Record<string, string>) =>
      ask(app, 'api/session', { method: 'POST', body: '{}', headers });
    expect((await session({})).status).toBe(403);
    expect((await session({ 'x-lamina': '1', origin: 'http://evil.example' })).status).toBe(403);
    expect((await session({ 'x-lamina': '1', origin: 'null' })).status).toBe(403);
    expect((await session({ 'x-lamina': '1', 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await session({ 'x-lamina': '1', 'sec-fetch-site': 'same-site' })).status).toBe(403);
    expect((await session({ 'x-lamina': '1', origin: 'http://127.0.0.1:7777' })).status).toBe(200);
  });

  it('are refused when they are too large, or too many', async () => {
    const app = await open({});
    expect((await post(app, 'api/session', { token: 'x'.repeat(300_000) })).status).toBe(413);
    const answers = await Promise.all(Array.from({ length: 150 }, () => post(app, 'api/nothing', {})));
    expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(20);
  });

  it('come back after a while', () => {
    const limit = new RateLimit({ perSecond: 2, burst: 3 });
    expect([0, 0, 0, 0].map((now) => limit.take('a', now))).toEqual([true, true, true, false]);
    expect(limit.take('b', 0)).toBe(true);
    expect([500, 500].map((now) => limit.take('a', now))).toEqual([true, false]);
  });
});

describe('what may bear names', () => {
  it('stays in the file unless it is asked for', async () => {
    const shut = await open({});
    for (const name of ['label', 'macro', 'thumbnail', '..%2flabel']) {
      expect((await ask(shut, slideUrl('known', `associated/${name}`))).status).toBe(404);
    }
  });

  it.skipIf(!labelled)('is shown on demand (skipped without a real slide that has a label)', async () => {
    const path = join(run.folder, 'slides/moved/slide.json');
    const before = await readFile(path, 'utf8');
    const { path: source, width, height, associated } = labelled!;
    await writeFile(path, JSON.stringify({ ...run.slide, id: 'moved', source, width, height }));
    try {
      const [shut, shown] = [await open({}), await open({ showLabels: true })];
      expect(await (await ask(shut, slideUrl('moved'))).json()).toMatchObject({ associated: ['thumbnail'] });
      expect((await ask(shut, slideUrl('moved', 'associated/label'))).status).toBe(404);
      expect((await ask(shut, slideUrl('moved', 'associated/thumbnail'))).status).toBe(200);
      const label = await ask(shown, slideUrl('moved', 'associated/label'));
      expect([label.status, label.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
      const view = (await (await ask(shown, slideUrl('moved'))).json()) as { associated: string[] };
      expect(view.associated.toSorted()).toEqual(associated);
    } finally {
      await writeFile(path, before);
    }
  });

  it('a link in the run folder opens nothing outside it', async () => {
    const app = await open({});
    const path = join(run.folder, 'slides/damaged/thumbnail.jpg');
    const secret = join(folder, 'secret.txt');
    await writeFile(secret, 'secret');
    await symlink(secret, path);
    await symlink(folder, join(run.folder, 'slides/linked'));
    try {
      expect((await ask(app, slideUrl('damaged', 'thumbnail.jpg'))).status).toBe(404);
      const slides = (await (await ask(app, 'api/slides')).json()) as { id: string }[];
      expect(slides.map(({ id }) => id)).not.toContain('linked');
      expect((await ask(app, slideUrl('linked', 'thumbnail.jpg'))).status).toBe(404);
    } finally {
      await unlink(path);
      await unlink(join(run.folder, 'slides/linked'));
    }
  });
});
