/** The list of slides and the small pictures of one, as a person uses them; by keyboard where one may. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServedViewer, serveViewer } from '../../src/viewer/server.ts';
import { seriousFindings } from './accessibility.ts';
import { findChromium, openBrowser } from './browser.ts';
import { findLabelledSlide } from './labelled-slide.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const ARTIFACTS = 'test-artifacts/viewer';
const labelled = await findLabelledSlide();
const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';

describe.skipIf(!chromium)(`the list in Chromium${reason}`, { timeout: 240_000 }, () => {
  let run: SampleRun;
  let served: ServedViewer;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    run = await writeSampleRun();
    await label('known', 'tumour');
    await label('damaged', 'normal'); // predicted tumour
    served = await serveViewer(run.folder, { port: 0, showLabels: true });
    browser = await openBrowser(chromium!);
    await mkdir(ARTIFACTS, { recursive: true });
    page = await open('light');
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await served?.close();
    await run?.remove();
  });

  async function label(id: string, label: string): Promise<void> {
    const path = join(run.folder, 'slides', id, 'prediction.json');
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), label }));
  }

  async function open(colorScheme: 'light' | 'dark', hash = '#slide=known'): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme, bypassCSP: true });
    context.setDefaultTimeout(100_000);
    const opened = await context.newPage();
    await opened.goto(`${served.url}${hash}`);
    await opened.locator('#gallery-list button').first().waitFor();
    return opened;
  }

  const openFilters = () =>
    page.locator('#filters').evaluate((filters) => {
      (filters as HTMLDetailsElement).open = true;
    });
  /** What the page itself says: Playwright hears of a changed address a little later. */
  const hrefOf = () => page.evaluate(() => location.href);
  const shown = (on = page) => on.locator('#slide-list li:visible .name').allTextContents();

  it('is filtered by keyboard alone, and says how many are left', async () => {
    await page.keyboard.press('/');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    for (let tabs = 0; tabs < 4; tabs++) await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('filter-right');
    await page.keyboard.press('n'); // the choice that begins with it
    expect(await shown()).toEqual(['damaged']);
    expect(await page.locator('#slide-count').textContent()).toBe('1 of 4 slides');
    expect(await page.locator('#filter-state').textContent()).toBe('1 in use');
    await page.screenshot({ path: join(ARTIFACTS, 'filters-light.png') });
    expect(await page.locator('#slides').evaluate((list) => list.scrollWidth - list.clientWidth)).toBe(0);
    await page.click('#filter-clear');
    expect(await shown()).toEqual(['damaged', 'known', 'moved', 'failed']);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('filter');
  });

  it('steps only through what it shows', async () => {
    await openFilters();
    await page.selectOption('#filter-right', 'yes');
    await page.locator('#slide-title').focus();
    await page.keyboard.press('j');
    expect(await page.locator('#slide-title').textContent()).toBe('known');
    await page.selectOption('#filter-right', '');
  });

  it('offers what the slides have', async () => {
    const options = (id: string) => page.locator(`#${id} option`).allTextContents();
    expect(await options('filter-status')).toEqual(['any', 'Done', 'Failed']);
    expect(await options('filter-label')).toEqual(['any', 'normal', 'tumour']);
    expect(await options('filter-class')).toEqual(['predicted class', 'normal', 'tumour']);
  });

  it('keeps its filters in the address', async () => {
    await openFilters();
    await page.selectOption('#filter-status', 'done');
    await page.fill('#filter-least', '80');
    await page.fill('#filter', 'know');
    const address = await hrefOf();
    expect(address).toMatch(/status=done/);
    const hash = address.slice(address.indexOf('#'));
    const other = await open('dark', hash);
    expect(await shown(other)).toEqual(['known']);
    expect(await other.locator('#filter-least').inputValue()).toBe('80');
    expect(await other.locator('#filters').getAttribute('open')).not.toBeNull();
    await other.screenshot({ path: join(ARTIFACTS, 'filters-dark.png') });
    expect(await seriousFindings(other)).toEqual([]);
    await other.context().close();
    await page.click('#filter-clear');
    expect(await hrefOf()).not.toMatch(/status=|least=|find=/);
  });

  it('knows which slides have a verdict', async () => {
    const headers = { 'content-type': 'application/json', 'x-lamina': '1' };
    const post = async (path: string, body: unknown) => {
      const sent = { method: 'POST', headers, body: JSON.stringify(body) };
      const response = await fetch(new URL(path, served.url), sent);
      const answer = await response.json();
      expect([response.status, answer]).toEqual([200, expect.anything()]);
      return answer;
    };
    const setup = { name: 'first', readers: ['anna'], slides: ['known', 'damaged'], seed: 1 };
    const { id } = (await post('api/reviews', { ...setup, blindModel: false, blindLabel: false })) as { id: string };
    await openFilters();
    await page.selectOption('#filter-reviewed', 'yes');
    await page.locator('#slide-count', { hasText: '0 of 4 slides' }).waitFor();
    const verdict = { id: 'verdict-1', reader: 'anna', slide: 'known', opinion: 'agree', seconds: 1 };
    await post(`api/reviews/${id}/verdicts`, verdict);
    await page.selectOption('#filter-reviewed', 'no');
    await page.locator('#slide-count', { hasText: '3 of 4 slides' }).waitFor();
    await page.selectOption('#filter-reviewed', 'yes');
    await page.locator('#slide-count', { hasText: '1 of 4 slides' }).waitFor();
    expect(await shown()).toEqual(['known']);
    await page.click('#filter-clear');
  });

  it('a slide has its thumbnail, drawn by the run if need be', async () => {
    const pictures = page.locator('#associated a');
    expect(await pictures.allTextContents()).toEqual(['Thumbnail']);
    await pictures.first().scrollIntoViewIfNeeded();
    await expect.poll(() => widthOf(page, 0)).toBeGreaterThan(100);
  });

  it.skipIf(!labelled)(
    'and label and macro where they may be seen (skipped without a real slide that has a label)',
    async () => {
      const { path: source, width, height, associated } = labelled!;
      const path = join(run.folder, 'slides/known/slide.json');
      const before = await readFile(path, 'utf8');
      await writeFile(path, JSON.stringify({ ...run.slide, source, width, height }));
      try {
        const looked = await open('light');
        const names = await looked.locator('#associated a').allTextContents();
        expect(names.map((name) => name.toLowerCase()).sort()).toEqual(associated);
        await looked.locator('#associated').scrollIntoViewIfNeeded();
        for (const place of associated.keys()) await expect.poll(() => widthOf(looked, place)).toBeGreaterThan(100);
        await looked.screenshot({ path: join(ARTIFACTS, 'associated.png') });
        expect(await seriousFindings(looked)).toEqual([]);
        await looked.context().close();
      } finally {
        await writeFile(path, before);
      }
    },
  );

  const widthOf = (on: Page, place: number) =>
    on
      .locator('#associated img')
      .nth(place)
      .evaluate((picture) => (picture as HTMLImageElement).naturalWidth);
});
