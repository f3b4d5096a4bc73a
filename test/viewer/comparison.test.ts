/** A patch and two heatmaps at the hands of a person: chosen, searched for, asked about, swiped, blinked, subtracted. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBag, type StoredBag } from '../../src/features/store.ts';
import { type ServedViewer, serveViewer } from '../../src/viewer/server.ts';
import { seriousFindings } from './accessibility.ts';
import { findChromium, openBrowser } from './browser.ts';
import { atRest, drawnPixels, pixelsOf, shoot, shootForDocs, turnedPlacement } from './screen.ts';
import { type TwoRuns, writeTwoRuns } from './two-runs.ts';

const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';
const A_WHILE = 240_000;

const ROW = 20;
/** What lies under the line itself is neither. */
const LINE_PX = 6;

describe.skipIf(!chromium)(`patches and comparisons in Chromium${reason}`, { timeout: A_WHILE }, () => {
  let runs: TwoRuns;
  let served: ServedViewer;
  let browser: Browser;
  let page: Page;
  let one: StoredBag;
  let other: StoredBag;
  const troubles: string[] = [];

  beforeAll(async () => {
    runs = await writeTwoRuns();
    served = await serveViewer(runs.first, { port: 0, device: 'wasm', against: runs.other });
    one = await readBag(join(runs.first, 'slides/one/bag.arrow'));
    other = await readBag(join(runs.other, 'slides/one/bag.arrow'));
    browser = await openBrowser(chromium!);
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
    await page.goto(`${served.url}#slide=one`);
    await atRest(page);
  }, A_WHILE);
  afterAll(async () => {
    await browser?.close();
    await served?.close();
    await runs?.remove();
  });

  const show = (id: string) => page.locator(id).evaluate((found) => found.scrollIntoView({ block: 'center' }));
  const middleOf = (row: number): [number, number] => {
    const half = one.meta.patchLevel0Px! / 2;
    return [one.coords![2 * row]! + half, one.coords![2 * row + 1]! + half];
  };
  /** Without what floats over the picture. */
  const clearRows = async () => {
    const place = await turnedPlacement(page);
    const box = (await page.locator('#osd').boundingBox())!;
    return Array.from({ length: one.count }, (_, row) => ({ row, at: place.toScreen(...middleOf(row)) })).filter(
      ({ at: [x, y] }) =>
        x > box.x + 190 && x < box.x + box.width - 70 && y > box.y + 60 && y < box.y + box.height - 80,
    );
  };

  it('chooses the patch under the right button, outlines it, and finds its like on all slides', async () => {
    expect(await page.locator('#chosen-actions').isVisible()).toBe(false);
    const { row, at } = (await clearRows())[10]!;
    await page.mouse.click(...at, { button: 'right' });
    const [x, y] = [one.coords![2 * row]!, one.coords![2 * row + 1]!];
    expect((await page.locator('#chosen-place').textContent())!.replaceAll(',', '')).toContain(`x ${x} y ${y} px`);
    expect(await drawnPixels(page, 'chosen')).toBeGreaterThan(100);
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('similar-find');
    await page.keyboard.press('Enter');
    await page.locator('#similar-list button').nth(11).waitFor();
    const said = await page.locator('#similar-result').textContent();
    expect(said).toMatch(/Most like the chosen patch of one of [\d,]+ patches on 2 slides, in \d+\.\d s/);
    expect(said).toContain('neighbours are left out');
    expect(said).toMatch(
      /1 slide was not searched.*stained was not searched: its features are of stain-texture@1\+macenko/,
    );
    await page.waitForFunction(() =>
      [...document.querySelectorAll<HTMLImageElement>('#similar-list img')]
        .slice(0, 4)
        .every((img) => img.naturalWidth > 0),
    );
    await show('#similar');
    await shootForDocs(page, 'similar');
    await page.emulateMedia({ colorScheme: 'dark' });
    await shoot(page, 'similar-dark');
    await page.emulateMedia({ colorScheme: 'light' });
  });

  it('goes to one on another slide, and back', async () => {
    await page.check('#similar-others');
    await page.click('#similar-find');
    await page.locator('#similar-list .share', { hasText: /^two$/ }).first().waitFor();
    expect(await page.locator('#similar-list .share', { hasText: /^one$/ }).count()).toBe(0);
    await page.locator('#similar-list button').first().focus();
    await page.keyboard.press('Enter');
    await page.locator('#slide-title', { hasText: /^two$/ }).waitFor();
    await page.locator('#chosen-actions').waitFor();
    await atRest(page);
    const box = (await page.locator('#osd').boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const [, x, y] = /^x ([\d,]+), y ([\d,]+) px/.exec((await page.locator('#chosen-place').textContent())!)!;
    const [, seenX, seenY] = /^x ([\d,]+), y ([\d,]+) px/.exec((await page.locator('#cursor-place').textContent())!)!;
    const number = (text: string) => Number(text.replaceAll(',', ''));
    const half = one.meta.patchLevel0Px! / 2;
    expect(Math.abs(number(seenX!) - number(x!) - half)).toBeLessThan(4);
    expect(Math.abs(number(seenY!) - number(y!) - half)).toBeLessThan(4);
    await page.locator('#similar-result button').click();
    await page.locator('#slide-title', { hasText: /^one$/ }).waitFor();
    await atRest(page);
  });

  it('gives a search up when asked', async () => {
    await page.locator('#chosen-actions').waitFor();
    await page.route('**/similar', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await route.continue().catch(() => {});
    });
    await page.click('#similar-find');
    await page.click('#similar-cancel');
    await page.locator('#similar-result', { hasText: 'Cancelled' }).waitFor();
    await page.unroute('**/similar');
    await page.click('#similar-close');
    expect(await page.locator('#similar').isVisible()).toBe(false);
  });

  it('draws what feeds the patch in the middle of the view, by keyboard, and says what that is', async () => {
    const [x, y] = middleOf(ROW);
    await page.mouse.move(5, 5);
    await page.evaluate((hash) => {
      location.hash = hash;
    }, `#slide=one&x=${x}&y=${y}&zoom=0.4`);
    await atRest(page);
    const before = await page.locator('#score-column').inputValue();
    await page.locator('#osd').focus();
    await page.keyboard.press('e');
    expect((await page.locator('#chosen-place').textContent())!.replaceAll(',', '')).toContain(
      `x ${one.coords![2 * ROW]} y ${one.coords![2 * ROW + 1]} px`,
    );
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('sources-find');
    await page.keyboard.press('Enter');
    await page.locator('#legend-caption', { hasText: 'what the model’s scans hand to the outlined one' }).waitFor();
    expect(await page.locator('#score-column option:checked').textContent()).toBe('What feeds the chosen patch');
    await atRest(page);
    await show('#heatmap');
    await shootForDocs(page, 'sources');
    await page.keyboard.press('Escape');
    await page.waitForFunction(
      (column) => document.querySelector<HTMLSelectElement>('#score-column')!.value === column,
      before,
    );
    expect(await page.locator('#legend-caption').textContent()).not.toContain('outlined');
    expect(await drawnPixels(page, 'chosen')).toBe(0);
  });

  it('swipes between the heatmaps of two runs: left of the line A, right of it B, patch for patch', async () => {
    await page.locator('#osd').focus();
    await page.keyboard.press('0');
    await page.locator('#opacity').fill('100');
    await page.selectOption('#compare-with', 'run attention');
    await page.locator('#swipe-line').waitFor();
    await atRest(page);
    await page.mouse.move(5, 5);
    const pixels = await pixelsOf(page);
    const line = (await page.locator('#swipe-line').boundingBox())!.x;
    const ranks = [one, other].map((bag) => percentilesOf(bag.scores.attention!));
    const viridis = await legendColours(page);
    let [left, right] = [0, 0];
    for (const { row, at } of await clearRows()) {
      const [x] = at;
      if (Math.abs(x - line) < LINE_PX) continue;
      const isLeft = x < line;
      const rank = ranks[isLeft ? 0 : 1]![row]!;
      const colour = viridis[Math.round(rank * 255)]!;
      const seen = pixels.at(...at);
      expect([row, isLeft, near(seen, colour)], `${seen} for ${colour}`).toEqual([row, isLeft, true]);
      if (isLeft) left++;
      else right++;
    }
    expect(left).toBeGreaterThan(5);
    expect(right).toBeGreaterThan(5);
    expect(await page.locator('#compare-label').textContent()).toBe('← A: Attention   B: Attention, run other →');
    await page.locator('#opacity').fill('60');
    await show('#comparison');
    await atRest(page);
    await shootForDocs(page, 'swipe');
  });

  it('shows the one or the other with a key, and takes turns', async () => {
    await page.locator('#osd').focus();
    await page.keyboard.press('z');
    expect(await page.locator('#compare-share').inputValue()).toBe('0');
    await page.keyboard.press('z');
    expect(await page.locator('#compare-share').inputValue()).toBe('100');
    await page.check('input[value="blink"]');
    const label = page.locator('#compare-label');
    await label.getByText(/^A: Attention$/).waitFor();
    await label.getByText(/^B: Attention, run other$/).waitFor();
    expect(await page.locator('canvas[data-layer="heatmap"]').isVisible()).toBe(false);
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await page.check('input[value="swipe"]');
    await page.check('input[value="blink"]');
    await page.waitForTimeout(1500);
    expect(await label.textContent()).toBe('A: Attention');
    await page.locator('#osd').focus();
    await page.keyboard.press('z');
    expect(await label.textContent()).toBe('B: Attention, run other');
    await page.emulateMedia({ reducedMotion: 'no-preference' });
  });

  it('maps the difference of their ranks, zero in the middle, and puts the colours back', async () => {
    await page.check('input[value="difference"]');
    await page
      .locator('#legend-caption', { hasText: 'Rank in A (Attention) less rank in B (Attention, run other)' })
      .waitFor();
    expect(await page.locator('#colour-map').inputValue()).toBe('diverging');
    const ranks = [one, other].map((bag) => percentilesOf(bag.scores.attention!)) as [Float64Array, Float64Array];
    const differences = ranks[0].map((rank, row) => rank - ranks[1][row]!);
    const most = Math.max(...differences.map(Math.abs));
    expect(Number(await page.locator('#legend-high').textContent())).toBeCloseTo(most, 2);
    await page.locator('#opacity').fill('100');
    await atRest(page);
    await page.mouse.move(5, 5);
    const pixels = await pixelsOf(page);
    const colours = await legendColours(page);
    for (const { row, at } of await clearRows()) {
      const colour = colours[Math.round(((differences[row]! / most + 1) / 2) * 255)]!;
      expect([row, near(pixels.at(...at), colour)], `${pixels.at(...at)} for ${colour}`).toEqual([row, true]);
    }
    await page.locator('#opacity').fill('60');
    await atRest(page);
    await shootForDocs(page, 'difference');
    await page.emulateMedia({ colorScheme: 'dark' });
    await shoot(page, 'difference-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.selectOption('#compare-with', '');
    await page.locator('#legend-low', { hasText: 'lowest' }).waitFor();
    expect(await page.locator('#colour-map').inputValue()).toBe('viridis');
    expect(await page.locator('#compare-label').isVisible()).toBe(false);
  });

  it('lays another slide over this one, and says that they are not registered', async () => {
    await page.selectOption('#compare-with', 'slide two');
    await page.locator('#compare-label', { hasText: 'A: one   B: two, B at 50' }).waitFor();
    expect(await page.locator('#compare-caption').textContent()).toContain('not registered');
    expect(await page.locator('canvas[data-layer="heatmap"]').isVisible()).toBe(false);
    await page.locator('#compare-share').fill('100');
    await atRest(page);
    const alone = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await alone.goto(`${served.url}#slide=two`);
    await alone.uncheck('#heatmap-shown');
    await atRest(alone);
    // B at 100 % is the other slide, where its own pixels are.
    const place = await turnedPlacement(page);
    const far = await turnedPlacement(alone);
    await page.mouse.move(5, 5);
    await alone.mouse.move(5, 5);
    const seen = await pixelsOf(page);
    const wanted = await pixelsOf(alone);
    const box = (await page.locator('#osd').boundingBox())!;
    let compared = 0;
    for (let x = 200; x < 1700; x += 150) {
      for (let y = 350; y < 1200; y += 150) {
        const [a, b] = [place.toScreen(x, y), far.toScreen(x, y)];
        if (a[0] < box.x + 190 || a[0] > box.x + box.width - 70) continue;
        const colours = [averageAround(seen, a), averageAround(wanted, b)] as const;
        expect(near(...colours, 25), `${x}, ${y}: ${colours.join(' for ')}`).toBe(true);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(15);
    await alone.close();
    await page.locator('#compare-share').fill('50');
    await show('#comparison');
    await atRest(page);
    await shoot(page, 'through');
    await page.selectOption('#compare-with', '');
    expect(await page.locator('canvas[data-layer="heatmap"]').isVisible()).toBe(true);
  });

  it('has no serious findings of axe, and complained of nothing', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const context = await browser.newContext({
        colorScheme,
        viewport: { width: 1280, height: 800 },
        bypassCSP: true,
      });
      const looked = await context.newPage();
      await looked.goto(`${served.url}#slide=one`);
      await atRest(looked);
      await looked.locator('#gallery-list button').first().click();
      await looked.click('#similar-find');
      await looked.locator('#similar-list button').first().waitFor();
      await looked.selectOption('#compare-with', 'run attention');
      await looked.locator('#swipe-line').waitFor();
      expect(await seriousFindings(looked)).toEqual([]);
      await context.close();
    }
    expect(troubles).toEqual([]);
  });
});

/** Ranks 0..1, ties in the middle of their range. */
function percentilesOf(values: Float32Array): Float64Array {
  return Float64Array.from(values, (value) => {
    const below = values.filter((one) => one < value).length;
    const equal = values.filter((one) => one === value).length;
    return (below + (equal - 1) / 2) / Math.max(1, values.length - 1);
  });
}

/** The 256 colours under the heatmap, as the legend has them. */
function legendColours(page: Page): Promise<number[][]> {
  return page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>('#legend-bar')!;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, 256, 1);
    return Array.from({ length: 256 }, (_, i) => [...data.subarray(4 * i, 4 * i + 3)]);
  });
}

function near(a: readonly number[], b: readonly number[], most = 6): boolean {
  return a.every((value, i) => Math.abs(value - b[i]!) <= most);
}

function averageAround(pixels: { at(x: number, y: number): number[] }, [x, y]: readonly [number, number]): number[] {
  const sums = [0, 0, 0];
  for (let dx = -4; dx <= 4; dx++) {
    for (let dy = -4; dy <= 4; dy++) pixels.at(x + dx, y + dy).forEach((value, c) => void (sums[c]! += value / 81));
  }
  return sums;
}
