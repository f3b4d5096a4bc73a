/** A run watched in a browser while it goes on: patches arrive, the prediction moves, the slide is finished, without a reload. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBag } from '../../src/features/store.ts';
import type { PredictionResult } from '../../src/mil/result.ts';
import { openPredictor } from '../../src/run/predictor.ts';
import type { LiveView, SlideView } from '../../src/viewer/api.ts';
import { type ServedViewer, serveViewer } from '../../src/viewer/server.ts';
import { type Started, start, tree } from '../cli/spawn.ts';
import { findChromium, openBrowser } from './browser.ts';
import { atRest, drawnPixels, shoot, shootForDocs } from './screen.ts';
import { prepareSlowRun, type SlowRun } from './slow-run.ts';

const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';
const A_WHILE = 240_000;

let folder = '';
let run: SlowRun;
const at = (...parts: string[]) => join(folder, ...parts);
const prediction = async (out: string, id: string) =>
  JSON.parse(await readFile(at(out, 'slides', id, 'prediction.json'), 'utf8')) as PredictionResult;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-live-'));
  run = await prepareSlowRun(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Serves a run folder as soon as it is one. */
async function serveWhenThere(out: string): Promise<ServedViewer> {
  for (;;) {
    const served = await serveViewer(out, { port: 0 }).catch(() => null);
    if (served) return served;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.skipIf(!chromium)(`a run under way, in Chromium${reason}`, { timeout: A_WHILE }, () => {
  let child: Started;
  let served: ServedViewer;
  let browser: Browser;
  let page: Page;
  /** What was seen: the heatmap on so many pixels, and what the server said just then. */
  const seen: { pixels: number; view: SlideView }[] = [];

  beforeAll(async () => {
    browser = await openBrowser(chromium!);
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    child = start(run.arguments('both', at('watched')));
    served = await serveWhenThere(at('watched'));
  }, A_WHILE);
  afterAll(async () => {
    child?.process.kill('SIGKILL');
    await browser?.close();
    await served?.close();
  });

  /** Lets the run go on until the model has read more of the slide, and holds it there, so that there is time to look. */
  async function goOn(): Promise<void> {
    const before = seen.at(-1)?.view.live?.predictedPatches ?? 0;
    child.process.kill('SIGCONT');
    for (;;) {
      const { slides } = (await (await fetch(`${served.url}api/live`)).json()) as LiveView;
      if (slides.some(({ id, predictedPatches }) => id === 'first' && predictedPatches > before)) break;
      if (child.process.exitCode !== null) throw new Error('the slide was finished too soon');
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    child.process.kill('SIGSTOP');
  }

  it('fills the heatmap and says of how many patches that is, and that it will change', async () => {
    const banner = page.locator('#banners');
    for (const look of [1, 2]) {
      await goOn();
      const view = (await (await fetch(`${served.url}api/slides/first`)).json()) as SlideView;
      const { done, patches, predictedPatches } = view.live!;
      if (look === 1) {
        await page.goto(`${served.url}#slide=first`);
        await page.locator('.slide[title="first"] .status', { hasText: /^Being read, \d+ %$/ }).waitFor();
      }
      await banner.getByText(`${done} of ${patches} patches so far`).waitFor();
      await banner.getByText(`of the first ${predictedPatches} patches alone and will change`).waitFor();
      await page.waitForTimeout(500);
      seen.push({ pixels: await drawnPixels(page, 'heatmap'), view });
      const said = (await page.locator('#prediction').textContent())!;
      expect(said).toContain('Prediction so far');
      expect(said).toContain(`Of the first ${predictedPatches} of ${patches} patches, not of the slide.`);
      const shares = await page.locator('#prediction .share').allTextContents();
      expect(shares.map(Number.parseFloat)).toEqual(
        view.probabilities.map(({ probability }) => Number((100 * probability).toFixed(1))),
      );
    }
    const [first, second] = seen.map(({ pixels }) => pixels) as [number, number];
    expect(first).toBeGreaterThan(0);
    expect(second).toBeGreaterThan(first);
    expect(await page.locator('#what-if').isVisible()).toBe(false);
    expect(await page.locator('#legend-caption').textContent()).toContain('read so far');
    await shootForDocs(page, 'live');
    await page.emulateMedia({ colorScheme: 'dark' });
    await shoot(page, 'live-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    // The run stands still: what has not changed is answered with nothing.
    const { headers } = await fetch(`${served.url}api/live`);
    const again = await fetch(`${served.url}api/live`, { headers: { 'if-none-match': headers.get('etag')! } });
    expect(again.status).toBe(304);
  });

  it('keeps the view, and becomes the finished slide without a reload', async () => {
    await page.locator('#osd').focus();
    await page.keyboard.press('+');
    await page.keyboard.press('+');
    await atRest(page);
    const magnification = await page.locator('#magnification').textContent();
    child.process.kill('SIGCONT');
    expect((await child.ended).code).toBe(0);
    await page.locator('.slide[title="second"] .predicted', { hasText: /^(normal|tumour)$/ }).waitFor();
    await page.locator('.slide[title="first"] .predicted', { hasText: /^(normal|tumour)$/ }).waitFor();
    await page.locator('#prediction h3', { hasText: /^Prediction$/ }).waitFor();
    await atRest(page);
    expect(await page.locator('#banners').textContent()).not.toContain('still being read');
    expect(await page.locator('#magnification').textContent()).toBe(magnification);
    const final = await prediction('watched', 'first');
    const shown = await page.locator('#prediction .share').allTextContents();
    expect(shown.map(Number.parseFloat)).toEqual(final.probabilities.map((p) => Number((100 * p).toFixed(1))));
    expect(await page.locator('#what-if').isVisible()).toBe(true);
  });

  it('had said what the model says of exactly those patches', async () => {
    const bag = await openBag(at('watched/slides/first/bag.arrow'));
    const predictor = await openPredictor(at('model'), { modelType: null, device: 'wasm', threads: 1 });
    for (const { view } of seen) {
      const count = view.live!.predictedPatches;
      expect(count).toBeLessThan(bag.count);
      const part = { ...bag, count };
      const { result } = await predictor.predict({ id: 'first', hash: 'x' }, part, null, new AbortController().signal);
      expect(view.probabilities.map(({ probability }) => probability)).toEqual(result.probabilities);
    }
    await predictor.close();
    await bag.close();
  });
});

/** The text of a record but for how long each stage took. */
function withoutSeconds(record: Buffer): string {
  const text = record.toString();
  expect(text).toMatch(/"seconds": \{/);
  return text.replace(/"seconds": \{[^}]*\}/, '');
}

describe('being watched', { timeout: A_WHILE }, () => {
  it('changes no byte of a run', async () => {
    const outs = ['live-on', 'live-off'];
    await start(run.arguments('second', at('live-on'))).ended;
    await start(run.arguments('second', at('live-off'), '--no-live')).ended;
    const [on, off] = await Promise.all(outs.map((out) => tree(at(out))));
    expect(on).toEqual(off);
    for (const name of on!.filter((name) => /slides\/.+\.|summary|failures/.test(name))) {
      const [watched, alone] = await Promise.all(outs.map((out) => readFile(at(out, name))));
      if (name.endsWith('/slide.json')) expect(withoutSeconds(watched!)).toBe(withoutSeconds(alone!));
      else expect([name, watched]).toEqual([name, alone]);
    }
  });

  it('ends with a run that is killed: nobody claims that the slide is being read, and the next start leaves nothing', async () => {
    const killed = start(run.arguments('second', at('killed')));
    const served = await serveWhenThere(at('killed'));
    try {
      const look = async () => (await (await fetch(`${served.url}api/live`)).json()) as LiveView;
      while ((await look()).slides.length === 0) {
        expect(killed.process.exitCode, 'it is killed before it is done').toBeNull();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      killed.process.kill('SIGKILL');
      await killed.ended;
      expect((await readdir(at('killed/slides'))).some((name) => name.endsWith('.partial'))).toBe(true);
      expect((await look()).slides).toEqual([]);
      expect(await (await fetch(`${served.url}api/slides`)).json()).toEqual([]);
      expect((await start(run.arguments('second', at('killed'))).ended).code).toBe(0);
      expect((await tree(at('killed'))).filter((name) => /partial|lock|live/.test(name))).toEqual([]);
      expect((await look()).slides).toEqual([]);
    } finally {
      await served.close();
    }
  });
});
