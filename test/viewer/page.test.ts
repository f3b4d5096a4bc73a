/** The page as a person sees it: in a browser, by its pixels. Screenshots are kept in test-artifacts/viewer. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { type ServedViewer, serveViewer } from '../../src/viewer/server.ts';
import { findChromium, openBrowser } from './browser.ts';
import { PATCH, type SamplePatch, type SampleRun, writeSampleRun } from './sample-run.ts';

const ARTIFACTS = 'test-artifacts/viewer';
const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';

/** Colours of the two ends of viridis, from its publication. */
const LOWEST = [68, 1, 84];
const HIGHEST = [253, 231, 37];

describe.skipIf(!chromium)(`the page in Chromium${reason}`, { timeout: 120_000 }, () => {
  let run: SampleRun;
  let served: ServedViewer;
  let browser: Browser;
  let slide: Slide;
  let page: Page;
  /** What a page must not do: complain, or leave the machine. */
  const troubles: string[] = [];

  beforeAll(async () => {
    run = await writeSampleRun();
    served = await serveViewer(run.folder, { port: 0 });
    slide = await openSlide(run.slidePath);
    browser = await openBrowser(chromium!);
    await mkdir(ARTIFACTS, { recursive: true });
    page = await newPage('light');
    await openKnown(page);
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await slide?.close();
    await served?.close();
    await run?.remove();
  });

  async function newPage(colorScheme: 'light' | 'dark'): Promise<Page> {
    const made = await browser.newPage({ viewport: { width: 1360, height: 820 }, colorScheme });
    made.on('pageerror', (error) => troubles.push(String(error)));
    made.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
    made.on('request', (request) => request.url().startsWith(served.url) || troubles.push(request.url()));
    return made;
  }

  async function openKnown(on: Page): Promise<void> {
    const tile = on.waitForResponse((response) => /\/tiles\/\d+\/\d+_\d+\.jpg/.test(response.url()));
    await on.goto(`${served.url}#slide=known`);
    expect((await tile).headers()['content-type']).toBe('image/jpeg');
    await atRest(on);
  }

  it('lists the slides with what was predicted', async () => {
    expect(await page.locator('#slide-list .name').allTextContents()).toEqual(['damaged', 'known', 'moved', 'failed']);
    const known = page.locator('.slide[title="known"]');
    expect(await known.locator('.predicted').textContent()).toBe('tumour');
    expect(await known.locator('.share').textContent()).toBe('87.5 %');
    expect(await known.locator('img').evaluate((img) => (img as HTMLImageElement).naturalWidth)).toBeGreaterThan(100);
    expect(await page.locator('.slide[title="failed"] .status').textContent()).toBe('Failed');
    expect(await page.locator('#banners').textContent()).toContain('attention of an untrained model has no meaning');
    await page.fill('#filter', 'kno');
    expect(await page.locator('#slide-list li:visible').count()).toBe(1);
    await page.fill('#filter', '');
  });

  it('shows the picture and the heatmap where the slide and its patches are, at two zooms', async () => {
    await page.screenshot({ path: join(ARTIFACTS, 'whole-slide.png') });
    const whole = await placement(page);
    const view = (await page.locator('#osd').boundingBox())!;
    const [left, top] = whole.toScreen(0, 0);
    const [right, bottom] = whole.toScreen(run.slide.width, run.slide.height);
    expect(
      Math.min(left - view.x, top - view.y, view.x + view.width - right, view.y + view.height - bottom),
    ).toBeGreaterThan(-2);
    const colours = new Map<SamplePatch, number[]>();
    for (const zoom of ['whole slide', 'full resolution'] as const) {
      if (zoom === 'full resolution') await page.keyboard.press('1');
      await atRest(page);
      const place = await placement(page);
      await setOpacity(page, 0);
      const bare = await screenshot(page);
      // One pixel is what OpenSeadragon stretches tiles by on a canvas, so that no seams show between them.
      for (const shift of await pictureShift(bare, place)) {
        expect(Math.abs(shift), `picture at ${zoom}`).toBeLessThanOrEqual(1);
      }

      await setOpacity(page, 100);
      const covered = await screenshot(page);
      await page.screenshot({ path: join(ARTIFACTS, `covered-${zoom.replace(' ', '-')}.png`) });
      let seen = 0;
      for (const patch of run.patches) {
        for (const [u, v] of WITHIN) {
          const at = place.toScreen(patch.x + u * PATCH, patch.y + v * PATCH);
          if (!bare.has(...at)) continue;
          if (!colours.has(patch)) colours.set(patch, covered.at(...at));
          expect(covered.at(...at), `${zoom}: ${u}, ${v} of patch ${patch.x}, ${patch.y}`).toEqual(colours.get(patch));
          seen++;
        }
      }
      expect(seen).toBeGreaterThan(20);
      for (const [column, row] of BESIDE) {
        const at = place.toScreen(512 + column * PATCH, 512 + row * PATCH);
        if (bare.has(...at)) expect(covered.at(...at), `${zoom}: beside, at ${column}, ${row}`).toEqual(bare.at(...at));
      }
    }
    expect(colours.get(run.patches[0]!)).toEqual(LOWEST);
    expect(colours.get(run.patches.at(-1)!)).toEqual(HIGHEST);
    expect(new Set([...colours.values()].map(String)).size).toBe(run.patches.length);
    await page.keyboard.press('0');
    await atRest(page);
  });

  it('mixes picture and heatmap as the opacity says, and hides the heatmap by key', async () => {
    const place = await placement(page);
    const patch = run.patches.at(-1)!;
    const at = place.toScreen(patch.x + 40, patch.y + 200);
    await setOpacity(page, 0);
    const bare = (await screenshot(page)).at(...at);
    await setOpacity(page, 40);
    const mixed = (await screenshot(page)).at(...at);
    mixed.forEach((value, c) => {
      expect(Math.abs(value - (0.6 * bare[c]! + 0.4 * HIGHEST[c]!))).toBeLessThanOrEqual(2);
    });
    await page.keyboard.press('h');
    expect((await screenshot(page)).at(...at)).toEqual(bare);
    await page.keyboard.press('h');
    await setOpacity(page, 50);
  });

  it('colours by rank or by the score itself', async () => {
    const place = await placement(page);
    await setOpacity(page, 100);
    const middle = run.patches[4]!; // rank 4 of 0..18; (5 - 1) / (20 - 1) of the way between the scores' ends
    const at = place.toScreen(middle.x + 100, middle.y + 100);
    const byRank = (await screenshot(page)).at(...at);
    await page.check('input[value="raw"]');
    const raw = (await screenshot(page)).at(...at);
    expect(raw).not.toEqual(byRank);
    expect(await page.locator('#legend-low').textContent()).toBe((1 / 210).toPrecision(3));
    await page.check('input[value="percentile"]');
    await page.selectOption('#score-column', 'attention_raw'); // the logarithm: other scores, the same ranks
    await page.waitForLoadState('networkidle');
    expect((await screenshot(page)).at(...at)).toEqual(byRank);
    await page.selectOption('#score-column', 'attention');
    await setOpacity(page, 50);
  });

  it('measures: the scale bar is as long as it says', async () => {
    const { zoom } = await placement(page);
    const label = (await page.locator('#scale-bar-text').textContent())!;
    const bar = (await page.locator('#scale-bar-line').boundingBox())!;
    expect(label).toMatch(/^\d+ µm$/);
    const um = (bar.width / zoom) * 0.5;
    expect(Math.abs(um / Number.parseFloat(label) - 1)).toBeLessThan(0.02);
  });

  it('says the score under the pointer', async () => {
    const place = await placement(page);
    const patch = run.patches[7]!;
    const [x, y] = place.toScreen(patch.x + 128, patch.y + 128);
    await page.mouse.move(x, y);
    expect(await page.locator('#cursor-score').textContent()).toContain(patch.attention.toPrecision(3));
  });

  it('works by keyboard', async () => {
    await page.keyboard.press('?');
    expect(await page.locator('#help').isVisible()).toBe(true);
    await page.keyboard.press('Escape');
    const before = await page.locator('#magnification').textContent();
    await page.keyboard.press('+');
    await atRest(page);
    expect(await page.locator('#magnification').textContent()).not.toBe(before);
    await page.keyboard.press('0');
    await page.keyboard.press('j');
    await page.locator('#slide-title', { hasText: 'moved' }).waitFor();
    await page.keyboard.press('k');
    await page.locator('#slide-title', { hasText: 'known' }).waitFor();
    await atRest(page);
  });

  it('says what is wrong with a slide, and goes on', async () => {
    await page.click('.slide[title="moved"]');
    await page.locator('#no-picture', { hasText: 'gone.svs' }).waitFor();
    expect(await page.locator('#banners').textContent()).toContain('Unknown scale');
    await page.screenshot({ path: join(ARTIFACTS, 'slide-file-gone.png') });
    await page.click('.slide[title="damaged"]');
    await page.locator('#scores-problem', { hasText: 'bag.arrow' }).waitFor();
    await page.click('.slide[title="failed"]');
    await page.locator('#banners', { hasText: 'failed.svs is empty, or so. Copy it again.' }).waitFor();
    await page.click('.slide[title="known"]');
    await page.locator('#slide-title', { hasText: 'known' }).waitFor();
    await atRest(page);
    expect(await page.locator('#no-picture').isVisible()).toBe(false);
  });

  it('is as readable in the dark', async () => {
    const dark = await newPage('dark');
    await openKnown(dark);
    await dark.keyboard.press('t');
    await dark.screenshot({ path: join(ARTIFACTS, 'dark.png') });
    expect(await dark.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(21, 25, 30)');
    await dark.close();
  });

  it('neither complained nor asked anything of another machine', () => {
    expect(troubles).toEqual([]);
  });

  /** How far the picture on the screen is from where it should be, in CSS px: the shift at which both agree best. */
  async function pictureShift(screen: Screen, place: Placement): Promise<[number, number]> {
    const [side, reach] = [240, 4];
    const [left, top] = screen.middle(side);
    const [x0, y0] = place.toSlide(left, top).map(Math.round) as [number, number];
    const span = Math.round(side / place.zoom);
    const region = await slide.readRegion(x0, y0, 0, span, span);
    const expected = await sharp(region.data, { raw: { width: span, height: span, channels: 4 } })
      .resize(side, side, { fit: 'fill' })
      .removeAlpha()
      .raw()
      .toBuffer();
    let best = { error: Number.POSITIVE_INFINITY, shift: [0, 0] as [number, number] };
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        let error = 0;
        for (let y = reach; y < side - reach; y++) {
          for (let x = reach; x < side - reach; x++) {
            error += Math.abs(screen.green(left + x + dx, top + y + dy) - expected[(y * side + x) * 3 + 1]!);
          }
        }
        if (error < best.error) best = { error, shift: [dx, dy] };
      }
    }
    expect(best.error / (side - 2 * reach) ** 2).toBeLessThan(12);
    return best.shift;
  }
});

/** The middle of a patch and just inside its corners, as shares of its side. */
const WITHIN = [
  [0.5, 0.5],
  [0.04, 0.04],
  [0.96, 0.04],
  [0.04, 0.96],
  [0.96, 0.96],
] as const;

/** Columns and rows of the grid where no patch lies: in the hole among them and just inside its corners, and just around them. */
const BESIDE = [
  [3.5, 2.5],
  [3.04, 2.04],
  [3.96, 2.96],
  [-0.04, 1.5],
  [5.04, 1.5],
  [2.5, -0.04],
  [2.5, 4.04],
] as const;

interface Placement {
  /** CSS px per level-0 px. */
  readonly zoom: number;
  toScreen(x: number, y: number): [number, number];
  toSlide(x: number, y: number): [number, number];
}

/** Where the slide lies on the screen, from the coordinates that the page says at two places of the pointer. */
async function placement(page: Page): Promise<Placement> {
  const box = (await page.locator('#osd').boundingBox())!;
  const near = [Math.round(box.x + box.width * 0.3), Math.round(box.y + box.height * 0.35)] as const;
  const far = [Math.round(box.x + box.width * 0.7), Math.round(box.y + box.height * 0.75)] as const;
  const [a, b] = [await said(page, ...near), await said(page, ...far)];
  const zoom = (far[0] - near[0]) / (b[0] - a[0]);
  // The page says whole pixels, rounded down: half a pixel is the mean loss.
  const [left, top] = [near[0] - (a[0] + 0.5) * zoom, near[1] - (a[1] + 0.5) * zoom];
  return {
    zoom,
    toScreen: (x, y) => [Math.round(left + x * zoom), Math.round(top + y * zoom)],
    toSlide: (x, y) => [(x - left) / zoom, (y - top) / zoom],
  };
}

async function said(page: Page, x: number, y: number): Promise<[number, number]> {
  await page.mouse.move(x, y);
  const text = (await page.locator('#cursor-place').textContent())!;
  const place = /^x (\d+) y (\d+) px$/.exec(text.replaceAll(',', ''));
  if (!place) throw new Error(`The page says "${text}" at ${x}, ${y}.`);
  return [Number(place[1]), Number(place[2])];
}

class Screen {
  private readonly pixels: Uint8Array;
  private readonly width: number;
  private readonly view: { x: number; y: number; width: number; height: number };

  constructor(pixels: Uint8Array, width: number, view: { x: number; y: number; width: number; height: number }) {
    this.pixels = pixels;
    this.width = width;
    this.view = view;
  }

  /** RGB at a CSS px of the page. */
  at(x: number, y: number): number[] {
    const start = (Math.floor(y) * this.width + Math.floor(x)) * 3;
    if (!(start >= 0 && start < this.pixels.length)) throw new RangeError(`${x}, ${y} is not on the screen`);
    return [...this.pixels.subarray(start, start + 3)];
  }

  green(x: number, y: number): number {
    return this.pixels[(y * this.width + x) * 3 + 1]!;
  }

  /** Whether the picture is seen there: within the view, under nothing that floats over it. */
  has(x: number, y: number): boolean {
    const { x: left, y: top, width, height } = this.view;
    const inside = x > left && y > top && x < left + width && y < top + height;
    const floats = x < left + 190 && (y < top + 150 || y > top + height - 70);
    return inside && !floats && x < left + width - 60;
  }

  /** Top-left corner of a square in the middle of the view. */
  middle(side: number): [number, number] {
    const { x, y, width, height } = this.view;
    return [Math.round(x + (width - side) / 2), Math.round(y + (height - side) / 2)];
  }
}

async function screenshot(page: Page): Promise<Screen> {
  await twoFrames(page);
  const { data, info } = await sharp(await page.screenshot())
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return new Screen(data, info.width, (await page.locator('#osd').boundingBox())!);
}

async function setOpacity(page: Page, percent: number): Promise<void> {
  await page.locator('#opacity').fill(String(percent));
}

/** Waits until the picture neither moves nor gets sharper. */
async function atRest(page: Page): Promise<void> {
  await page.waitForLoadState('networkidle');
  let last = '';
  for (let tries = 0; tries < 40; tries++) {
    await page.waitForTimeout(150);
    const now = (await page.screenshot()).toString('base64');
    if (now === last) return;
    last = now;
  }
}

async function twoFrames(page: Page): Promise<void> {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}
