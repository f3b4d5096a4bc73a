/** `lamina export` as a reader of a paper sees it: from a plain file server, under a path of its own, without Lamina. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FeatureCollection, Polygon } from 'geojson';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { writeBundle } from '../../src/viewer/bundle.ts';
import { seriousFindings } from './accessibility.ts';
import { findChromium, openBrowser } from './browser.ts';
import { NEEDLE_SIDE, type NeedleRun, writeNeedleRun } from './needle-run.ts';
import { atRest, keepForDocs, pixelsOf, turnedPlacement } from './screen.ts';
import { type StaticServer, serveFiles } from './static-server.ts';

const ARTIFACTS = 'test-artifacts/viewer';
const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';

const LOWEST = [68, 1, 84];
const HIGHEST = [253, 231, 37];

describe.skipIf(!chromium)(`a bundle in Chromium${reason}`, { timeout: 240_000 }, () => {
  let run: NeedleRun;
  let server: StaticServer;
  let browser: Browser;
  let page: Page;
  /** What a page must not do: complain, ask for what is not there, or leave its folder. */
  const troubles: string[] = [];

  beforeAll(async () => {
    run = await writeNeedleRun();
    const out = join(run.folder, '../bundle');
    const signal = new AbortController().signal;
    await writeBundle(run.folder, out, { slides: [], finestMpp: null, showLabels: false, signal });
    server = await serveFiles(out, '/papers/figure%202/');
    // A name that is not this machine's own, so that the browser trusts the page no more than any other on plain HTTP.
    browser = await openBrowser(chromium!, [`--host-resolver-rules=MAP lab.example 127.0.0.1`]);
    await mkdir(ARTIFACTS, { recursive: true });
    page = await open('light');
  }, 240_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await run?.remove();
  });

  const address = (hash = '') => `http://lab.example:${server.port}/papers/figure%202/${hash}`;

  async function open(colorScheme: 'light' | 'dark', hash = ''): Promise<Page> {
    const viewport = { width: 1280, height: 800 };
    const context = await browser.newContext({ viewport, colorScheme, acceptDownloads: true });
    context.setDefaultTimeout(100_000);
    const opened = await context.newPage();
    opened.on('pageerror', (error) => troubles.push(String(error)));
    opened.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
    opened.on('response', (response) => {
      if (response.status() !== 200 || !response.url().startsWith(address())) troubles.push(response.url());
    });
    await opened.goto(address(hash));
    await atRest(opened);
    return opened;
  }

  it('lists the slides, shows the first one, and says that it is a copy', async () => {
    expect(await page.locator('#slide-list .name').allTextContents()).toEqual(['needle', 'second']);
    expect(await page.locator('#slide-title').textContent()).toBe('needle');
    expect(await page.locator('#prediction .class-name').allTextContents()).toEqual(['normal', 'tumour']);
    expect(await page.locator('.only-bundle:visible').first().textContent()).toContain('A copy to read');
    const img = page.locator('.slide[title="needle"] img');
    expect(await img.evaluate((one) => (one as HTMLImageElement).naturalWidth)).toBeGreaterThan(100);
    await keepForDocs(await page.screenshot({ path: join(ARTIFACTS, 'bundle-light.png') }), 'bundle');
  });

  it('lays the heatmap on the true nests at every zoom', async () => {
    await page.check('input[value="raw"]'); // two scores only: their ranks would be ties
    await page.locator('#opacity').fill('100');
    for (const keys of [['0'], ['+', '+'], ['1']]) {
      for (const key of keys) await page.keyboard.press(key);
      await atRest(page);
      const place = await turnedPlacement(page);
      await page.mouse.move(5, 5); // no outline under the pointer
      const pixels = await pixelsOf(page);
      const box = (await page.locator('#osd').boundingBox())!;
      let seen = 0;
      for (const { x, y, inNest } of run.patches) {
        const [sx, sy] = place.toScreen(x + NEEDLE_SIDE / 2, y + NEEDLE_SIDE / 2);
        const inside =
          sx > box.x + 210 && sx < box.x + box.width - 70 && sy > box.y + 4 && sy < box.y + box.height - 80;
        const [hole] = run.slide.holes;
        const hatched = Math.abs(x - hole!.x) < 256 && Math.abs(y - hole!.y) < 256;
        if (!inside || hatched) continue;
        expect([keys, x, y, pixels.at(sx, sy)]).toEqual([keys, x, y, inNest ? HIGHEST : LOWEST]);
        seen++;
      }
      expect(seen).toBeGreaterThan(20);
    }
    await page.keyboard.press('0');
    await page.locator('#opacity').fill('50');
    await atRest(page);
  });

  it('says the score under the pointer', async () => {
    const place = await turnedPlacement(page);
    const patch = run.patches.find(({ x, y, inNest }) => inNest && x > 1200 && y > 900)!;
    await page.mouse.move(...place.toScreen(patch.x + NEEDLE_SIDE / 2, patch.y + NEEDLE_SIDE / 2));
    expect(await page.locator('#cursor-score').textContent()).toMatch(/^Attention 1,/);
  });

  it('has pictures of patches, put together from tiles', async () => {
    const [picture] = await page.locator('#gallery-list canvas').evaluateAll((found) =>
      (found as HTMLCanvasElement[]).map((canvas) => {
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
        return [...data];
      }),
    );
    const [first] = run.patches.filter(({ inNest }) => inNest);
    const slide = await openSlide(run.slide.source);
    const { data: truth } = await slide.readRegion(first!.x, first!.y, 0, NEEDLE_SIDE, NEEDLE_SIDE);
    await slide.close();
    const difference = truth.reduce((sum, value, i) => sum + Math.abs(value - picture![i]!), 0) / truth.length;
    expect(difference).toBeLessThan(4);
  });

  it('has nothing that needs the run, not by key either', async () => {
    for (const id of ['review-button', 'what-if', 'annotation-import', 'sign-out']) {
      expect([id, await page.locator(`#${id}`).isVisible()]).toEqual([id, false]);
    }
    for (const key of ['q', 'l', 'a', 'Enter']) await page.keyboard.press(key);
    expect(await page.locator('dialog[open]').count()).toBe(0);
    expect(await page.locator('#tool-hint').textContent()).toBe('');
  });

  it('keeps annotations in the browser, and gives them away as GeoJSON', async () => {
    const place = await turnedPlacement(page);
    await page.fill('#annotation-class', 'Tumor');
    await page.locator('#annotation-class').blur();
    await page.keyboard.press('b');
    await page.mouse.move(...place.toScreen(1200, 900));
    await page.mouse.down();
    await page.mouse.move(...place.toScreen(1600, 1300), { steps: 4 });
    await page.mouse.up();
    await page.keyboard.press('Escape');
    await page.locator('#annotation-list button', { hasText: 'Tumor' }).waitFor();
    await page.reload();
    await page.locator('#annotation-list button', { hasText: 'Tumor' }).waitFor();
    await page.screenshot({ path: join(ARTIFACTS, 'bundle-annotation.png') });
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#annotation-export')]);
    const exported = JSON.parse(await readFile((await download.path())!, 'utf8')) as FeatureCollection;
    expect(exported.features).toHaveLength(1);
    const [feature] = exported.features;
    expect(feature!.properties).toMatchObject({ objectType: 'annotation', classification: { name: 'Tumor' } });
    const [ring] = (feature!.geometry as Polygon).coordinates;
    const xs = ring!.map(([x]) => x!);
    expect([Math.min(...xs), Math.max(...xs)].map((x) => Math.round(x / 50) * 50)).toEqual([1200, 1600]);

    await page.locator('#annotation-list button').click();
    await page.keyboard.press('Delete');
    await page.reload();
    await atRest(page);
    expect(await page.locator('#annotation-list button').count()).toBe(0);
  });

  it('opens where a link says', async () => {
    const linked = await open('dark', '#slide=second&x=1500&y=1100&zoom=0.8&score=class_evidence_tumour');
    expect(await linked.locator('#slide-title').textContent()).toBe('second');
    expect(await linked.locator('#score-column').inputValue()).toBe('class_evidence_tumour');
    const box = (await linked.locator('#osd').boundingBox())!;
    await linked.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const [x, y] = (await linked.locator('#cursor-place').textContent())!
      .replaceAll(',', '')
      .match(/\d+/g)!
      .map(Number);
    expect(Math.hypot(x! - 1500, y! - 1100)).toBeLessThan(4);
    await linked.screenshot({ path: join(ARTIFACTS, 'bundle-dark.png') });
    await linked.context().close();
  });

  it('neither complained nor asked for what is not in the folder', () => {
    expect(troubles).toEqual([]);
  });

  it('axe-core finds nothing serious, in light and dark', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const context = await browser.newContext({
        viewport: { width: 1280, height: 800 },
        colorScheme,
        bypassCSP: true,
      });
      const looked = await context.newPage();
      await looked.goto(address());
      await atRest(looked);
      expect(await seriousFindings(looked)).toEqual([]);
      await context.close();
    }
  });
});
