/** The viewer at work, as a person would: heatmap against the truth, annotations, what-if, a review by keyboard. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGeoJson } from '../../src/tiling/geojson.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { ReviewSummary } from '../../src/viewer/api.ts';
import { Database } from '../../src/viewer/database.ts';
import { type Started, start } from '../cli/spawn.ts';
import { seriousFindings } from './accessibility.ts';
import { findChromium, openBrowser } from './browser.ts';
import { NEEDLE_SIDE, type NeedleRun, writeNeedleRun } from './needle-run.ts';
import { atRest, keepForDocs, pixelsOf, turnedPlacement } from './screen.ts';

const ARTIFACTS = 'test-artifacts/viewer';
const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';

const DOCUMENTED = ['viewer', 'what-if', 'review', 'dashboard'];

const LOWEST = [68, 1, 84];
const HIGHEST = [253, 231, 37];

describe.skipIf(!chromium)(`the viewer at work, in Chromium${reason}`, { timeout: 240_000 }, () => {
  let run: NeedleRun;
  let server: Started;
  let url: string;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    run = await writeNeedleRun();
    await serve(0);
    browser = await openBrowser(chromium!);
    await mkdir(ARTIFACTS, { recursive: true });
    page = await browser.newPage({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
    await page.goto(`${url}#slide=needle`);
    await atRest(page);
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    server?.process.kill('SIGKILL');
    await run?.remove();
  });

  /** The real server in a process of its own, so that it can be killed. */
  async function serve(port: number): Promise<void> {
    server = start(['view', run.folder, '--port', `${port}`, '--device', 'wasm']);
    url = (await server.until(/http:\S+/))[0]!;
  }

  const isBlank = (layer: string) =>
    page.evaluate((name) => {
      const canvas = document.querySelector<HTMLCanvasElement>(`canvas[data-layer="${name}"]`)!;
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      return data.every((value) => value === 0);
    }, layer);
  /** Kept to be looked at; with LAMINA_PICTURES set also made small for the documentation. */
  const shoot = async (name: string) => {
    const png = await page.screenshot({ path: join(ARTIFACTS, `${name}.png`) });
    if (DOCUMENTED.includes(name)) await keepForDocs(png, name);
  };
  const setOpacity = (percent: number) => page.locator('#opacity').fill(String(percent));

  it('lays the heatmap on the true nests, at three zooms and turned', async () => {
    await setOpacity(100);
    await page.check('input[value="raw"]'); // two scores only: their ranks would be ties
    for (const [name, keys] of [
      ['whole', ['0']],
      ['closer', ['+']],
      ['closest', []],
      ['turned by 90', ['0', '>']],
      ['turned by 30 more', ['.', '.', '+']],
    ] as const) {
      for (const key of keys) {
        await page.keyboard.press(key);
        await page.waitForTimeout(100);
      }
      if (name === 'closest') {
        const [x, y] = [0, 1].map((axis) => run.nest.reduce((sum, at) => sum + at[axis]!, 0) / run.nest.length);
        await page.evaluate(
          (hash) => {
            location.hash = hash;
          },
          `#slide=needle&x=${Math.round(x!)}&y=${Math.round(y!)}&zoom=0.9`,
        );
      }
      await atRest(page);
      const place = await turnedPlacement(page);
      await page.mouse.move(5, 5); // no outline under the pointer
      const pixels = await pixelsOf(page);
      const box = (await page.locator('#osd').boundingBox())!;
      const counted = { inside: 0, outside: 0 };
      for (const { x, y, inNest } of run.patches) {
        const [sx, sy] = place.toScreen(x + NEEDLE_SIDE / 2, y + NEEDLE_SIDE / 2);
        const floats = sx < box.x + 200 && (sy < box.y + 160 || sy > box.y + box.height - 80);
        const seen = sx > box.x + 4 && sy > box.y + 4 && sx < box.x + box.width - 70 && sy < box.y + box.height - 4;
        const hatched = run.slide.holes.some(
          (hole) => x + NEEDLE_SIDE > hole.x && x < hole.x + 256 && y + NEEDLE_SIDE > hole.y && y < hole.y + 256,
        );
        if (!seen || floats || hatched) continue;
        expect([name, x, y, pixels.at(sx, sy)]).toEqual([name, x, y, inNest ? HIGHEST : LOWEST]);
        counted[inNest ? 'inside' : 'outside']++;
      }
      expect(counted.inside, name).toBeGreaterThan(3);
      expect(counted.outside, name).toBeGreaterThan(20);
      await shoot(`truth-${name.replaceAll(' ', '-')}`);
    }
    await page.keyboard.press('0');
    await setOpacity(50);
    await atRest(page);
    await shoot('viewer');
  });

  it('hatches what cannot be read, and says what the model did not see', async () => {
    const [hole] = run.slide.holes;
    const place = await turnedPlacement(page);
    await setOpacity(0);
    const pixels = await pixelsOf(page);
    const [left, top] = place.toScreen(hole!.x + 20, hole!.y + 20);
    const [right] = place.toScreen(hole!.x + 236, hole!.y + 20);
    let red = 0;
    for (let x = left; x < right; x++) {
      const [r, g] = pixels.at(x, top);
      if (r! - g! > 60) red++;
    }
    expect(red).toBeGreaterThan(2);
    expect(red).toBeLessThan((right - left) / 2);
    expect(await page.locator('#banners').textContent()).toMatch(/3 patches of tissue were not read.*3 blurred/);
    await setOpacity(50);
  });

  it('changes colours, leaves out what is below the threshold, and says when it smooths', async () => {
    const place = await turnedPlacement(page);
    const patch = run.patches.find(({ x, y, inNest }) => !inNest && x > 1400 && y > 1100)!;
    const at = place.toScreen(patch.x + 48, patch.y + 48);
    await setOpacity(100);
    await page.mouse.move(5, 5);
    await page.selectOption('#colour-map', 'magma');
    expect((await pixelsOf(page)).at(...at)).toEqual([0, 0, 4]);
    await page.locator('#threshold-from').fill('60');
    expect((await pixelsOf(page)).at(...at)).not.toEqual([0, 0, 4]);
    expect(await page.locator('#legend-caption').textContent()).toContain('Only 60 to 100 %');
    await page.check('#smooth');
    expect(await page.locator('#legend-caption').textContent()).toContain('Smoothed');
    await shoot('threshold');
    await page.uncheck('#smooth');
    await page.locator('#threshold-from').fill('0');
    await page.selectOption('#score-column', 'class_evidence_tumour');
    await page.selectOption('#colour-map', 'diverging');
    await page.waitForLoadState('networkidle');
    // Scores of both signs: the middle of the colours is zero, so both ends are as far from it.
    await page.locator('#legend-low', { hasText: /^-1.5$/ }).waitFor();
    await page.locator('#legend-high', { hasText: /^1.5$/ }).waitFor();
    await page.selectOption('#score-column', 'attention');
    await page.selectOption('#colour-map', 'viridis');
    await setOpacity(50);
  });

  it('flies to a patch of the gallery', async () => {
    await page.locator('#gallery-list button').first().click();
    await atRest(page);
    const box = (await page.locator('#osd').boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    expect(await page.locator('#cursor-score').textContent()).toMatch(/^Attention 1,/);
    await shoot('gallery');
  });

  it('keeps place, turn and colours in the address', async () => {
    await page.keyboard.press('>');
    await page.keyboard.press('y');
    await atRest(page);
    await page.waitForTimeout(300);
    const address = page.url();
    expect(address).toMatch(/slide=needle&x=\d+&y=\d+&zoom=[\d.]+&turn=90.*map=cividis/);
    const before = await page.locator('#magnification').textContent();
    const other = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await other.goto(address);
    await atRest(other);
    expect(await other.locator('#magnification').textContent()).toBe(before);
    expect(await other.locator('#colour-map').inputValue()).toBe('cividis');
    const [a, b] = [await turnedPlacement(page), await turnedPlacement(other)];
    const [[ax, ay], [bx, by]] = [a.toScreen(1500, 1100), b.toScreen(1500, 1100)];
    expect(Math.hypot(ax - bx, ay - by)).toBeLessThan(4);
    await other.close();
    await page.selectOption('#colour-map', 'viridis');
    await page.keyboard.press('0');
    await atRest(page);
  });

  it('draws, edits, takes back, keeps after a reload, and round-trips GeoJSON that --mask reads', async () => {
    const place = await turnedPlacement(page);
    const corner = (x: number, y: number) => place.toScreen(x, y);
    await page.keyboard.press('b');
    await page.fill('#annotation-class', 'Tumor');
    await page.mouse.move(...corner(900, 700));
    await page.mouse.down();
    await page.mouse.move(...corner(1500, 1200), { steps: 4 });
    await page.mouse.up();
    await page.locator('#annotation-list button', { hasText: 'Tumor' }).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('m');
    await page.mouse.move(...corner(600, 1500));
    await page.mouse.down();
    await page.mouse.move(...corner(1600, 1500), { steps: 4 });
    await page.mouse.up();
    await page.keyboard.press('Escape');
    // 1000 px of 0.5 um, as exactly as the mouse.
    const ruler = (await page.locator('#annotation-list button', { hasText: 'Ruler' }).textContent())!;
    expect(Math.abs(Number.parseFloat(/([\d.]+) µm/.exec(ruler)![1]!) - 500)).toBeLessThan(5);
    await page.locator('#annotation-list button', { hasText: 'Tumor' }).click();
    await page.fill('#annotation-note', 'as seen at 10×');
    await page.keyboard.press('Tab');
    await page.locator('#annotation-state', { hasText: /^Saved/ }).waitFor();
    await shoot('annotations');

    await page.click('#annotation-remove');
    expect(await page.locator('#annotation-list button').count()).toBe(1);
    await page.locator('#slide-title').focus();
    await page.keyboard.press('Control+z');
    expect(await page.locator('#annotation-list button').count()).toBe(2);
    await page.locator('#annotation-state', { hasText: /^Saved/ }).waitFor();

    await page.reload();
    await page.locator('#annotation-list button', { hasText: 'as seen at 10×' }).waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#annotation-export')]);
    const file = join(run.folder, '../export.geojson');
    await download.saveAs(file);
    const exported = JSON.parse(await readFile(file, 'utf8'));
    const drawn = exported.features.find((one: { geometry: { type: string } }) => one.geometry.type === 'Polygon');
    expect(drawn.properties).toMatchObject({
      objectType: 'annotation',
      classification: { name: 'Tumor', color: [200, 0, 0] },
    });
    const [[x0, y0], , [x1, y1]] = drawn.geometry.coordinates[0];
    [x0 - 900, y0 - 700, x1 - 1500, y1 - 1200].forEach((off) => void expect(Math.abs(off)).toBeLessThan(8));
    const slide = await openSlide(run.slide.source);
    expect((await readGeoJson(file, slide)).data.includes(1)).toBe(true);
    await slide.close();

    await writeFile(
      file,
      JSON.stringify({
        ...exported,
        features: [{ ...drawn, id: undefined, properties: { ...drawn.properties, name: 'copy' } }],
      }),
    );
    await page.locator('#annotation-file').setInputFiles(file);
    await page.waitForFunction(() => document.querySelectorAll('#annotation-list button').length === 3);
  });

  it('asks the model without the tumour: the probability falls, and with the tumour alone it rises', async () => {
    await atRest(page);
    const place = await turnedPlacement(page);
    await page.keyboard.press('l');
    const [first, ...rest] = run.nest.filter((_, i) => i % 4 === 0).map(([x, y]) => place.toScreen(x, y));
    await page.mouse.move(...first!);
    await page.mouse.down();
    for (const at of rest) await page.mouse.move(...at);
    await page.mouse.up();
    // The region stays to be seen, as a dashed line; the line that was being drawn does not.
    expect(await isBlank('drawing')).toBe(true);
    expect(await isBlank('region')).toBe(false);
    await page.click('#what-if-erase');
    const row = page.locator('#what-if-result tr[data-class="tumour"] td');
    await row.first().waitFor();
    const points = async () => Number((await row.last().textContent())!.replace('−', '-').replace('+', ''));
    expect(await points()).toBeLessThan(-0.1);
    await page.locator('#what-if-result').scrollIntoViewIfNeeded();
    await shoot('what-if');
    await page.click('#what-if-keep');
    await page.locator('#what-if-result p', { hasText: 'With the region alone' }).waitFor();
    expect(await points()).toBeGreaterThan(1);
  });

  it('a whole review by keyboard only, with the server killed in the middle: nothing is lost', async () => {
    const headers = { 'x-lamina': '1', 'content-type': 'application/json' };
    const setup = {
      name: 'Nests',
      readers: ['anna', 'rolf'],
      slides: ['needle', 'second'],
      seed: 1,
      blindModel: false,
      blindLabel: true,
    };
    const made = await fetch(new URL('api/reviews', url), { method: 'POST', headers, body: JSON.stringify(setup) });
    const { id } = (await made.json()) as { id: string };
    const begin = async (reader: string) => {
      await page.locator('#slide-title').focus();
      await page.keyboard.press('q');
      await page.locator('#review-dialog').waitFor();
      const button = page.locator('#review-list button', { hasText: reader });
      for (let i = 0; i < 20 && !(await button.evaluate((one) => one === document.activeElement)); i++) {
        await page.keyboard.press('Tab');
      }
      await page.keyboard.press('Enter');
      await page.locator('#review-panel').waitFor();
      await atRest(page);
      await page.locator('#slide-title').focus();
    };
    await begin('anna');
    expect(await page.locator('#verdict-question').textContent()).toContain('The model says');
    await page.keyboard.press('a');
    await page.keyboard.press('g');
    await page.keyboard.press('n');
    await page.keyboard.type('Typical nests.');
    await page.keyboard.press('Shift+Tab');
    await shoot('review');

    const port = Number(new URL(url).port);
    server.process.kill('SIGKILL');
    await server.ended;
    await page.locator('#slide-title').focus();
    await page.keyboard.press('Enter');
    await page.locator('#verdict-state', { hasText: 'not saved yet' }).waitFor();
    await page.screenshot({ path: join(ARTIFACTS, 'review-server-gone.png') });
    await serve(port);
    await page.locator('#verdict-state', { hasText: /^Saved/ }).waitFor({ timeout: 20_000 });

    await page.reload();
    await atRest(page);
    await begin('anna');
    expect(await page.locator('#review-progress').textContent()).toBe('Slide 2 of 2, 1 decided');
    await page.keyboard.press('d');
    await page.keyboard.press('c');
    await page.keyboard.type('normal');
    await page.keyboard.press('Tab');
    await page.locator('#slide-title').focus();
    await page.keyboard.press('Enter');
    await page.locator('#verdict-state', { hasText: 'All slides are decided' }).waitFor();

    await page.locator('#review-leave').focus();
    await page.keyboard.press('Enter');
    await begin('rolf');
    for (let i = 0; i < 2; i++) {
      await page.keyboard.press('a');
      await page.keyboard.press('Enter');
      await atRest(page);
      await page.locator('#slide-title').focus();
    }
    await page.locator('#verdict-state', { hasText: 'All slides are decided' }).waitFor();

    const summary = (await (await fetch(new URL(`api/reviews/${id}/summary`, url))).json()) as ReviewSummary;
    // tumour, normal against tumour, tumour: observed 1/2, by chance 1/2.
    expect(summary.pairs).toEqual([{ readers: ['anna', 'rolf'], slides: 2, kappa: 0 }]);
    expect(summary.disagreements).toHaveLength(1);
    const database = await Database.open(`file:${join(run.folder, 'review.db')}`);
    const verdicts = await database.rows<{ note: string; region: string; seconds: number }>(
      "SELECT note, region, seconds FROM verdict WHERE reader = 'anna' ORDER BY number",
    );
    await database.close();
    expect(verdicts).toHaveLength(2);
    expect(verdicts[0]).toMatchObject({ note: 'Typical nests.', region: 'right' });
    expect(verdicts[0]!.seconds).toBeGreaterThan(0.3);
    await page.locator('#review-leave').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('q');
    await page.locator('#dashboard', { hasText: 'Cohen’s kappa of anna and rolf: 0.00' }).waitFor();
    await shoot('dashboard');
    await page.keyboard.press('Escape');
  });

  it('axe-core finds nothing serious, in light and dark, at 1280 x 800 and on a 4K screen', async () => {
    for (const [colorScheme, viewport] of [
      ['light', { width: 1280, height: 800 }],
      ['dark', { width: 1280, height: 800 }],
      ['light', { width: 3840, height: 2160 }],
    ] as const) {
      const context = await browser.newContext({ colorScheme, viewport, bypassCSP: true });
      const looked = await context.newPage();
      await looked.goto(`${url}#slide=needle`);
      await looked.locator('#annotation-list button').first().waitFor();
      await looked.waitForLoadState('networkidle');
      await looked.screenshot({ path: join(ARTIFACTS, `${colorScheme}-${viewport.width}.png`), timeout: 100_000 });
      const wide = await looked.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(wide).toBeLessThanOrEqual(0);
      const dialogs = viewport.width === 1280 ? [null, 'help', 'review-dialog'] : [];
      for (const dialog of dialogs) {
        if (dialog === 'help') await looked.click('#help-button');
        if (dialog === 'review-dialog') await looked.click('#review-button');
        expect([colorScheme, dialog, await seriousFindings(looked)]).toEqual([colorScheme, dialog, []]);
        await looked.keyboard.press('Escape');
      }
      await context.close();
    }
  });
});
