/**
 * What a browser adds, timed by the browser itself: a change of colours over 100,000 patches, and the first view of a slide.
 *
 * Figures are printed and kept in test-artifacts/viewer/speed.json. The limits here only catch what is broken: the marks in
 * docs/benchmarks.md are for a machine that is left alone.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addScores, createBagWriter } from '../../src/features/store.ts';
import { type ServedViewer, serveViewer } from '../../src/viewer/server.ts';
import { findChromium, openBrowser } from './browser.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const ARTIFACTS = 'test-artifacts/viewer';
const chromium = await findChromium();
const reason = chromium ? '' : ' (skipped: no Chromium on this machine, and @sparticuz/chromium has none for it)';
const [PATCHES, SIDE] = [100_000, 8];

describe.skipIf(!chromium)(`the speed of the page, in Chromium${reason}`, { timeout: 120_000 }, () => {
  let run: SampleRun;
  let served: ServedViewer;
  let browser: Browser;
  const figures: Record<string, number> = {};

  beforeAll(async () => {
    run = await writeSampleRun();
    await manyPatches(join(run.folder, 'slides/known'));
    served = await serveViewer(run.folder, { port: 0 });
    browser = await openBrowser(chromium!);
    await mkdir(ARTIFACTS, { recursive: true });
  }, 120_000);
  afterAll(async () => {
    await writeFile(join(ARTIFACTS, 'speed.json'), JSON.stringify(figures, null, 2));
    console.log(figures);
    await browser?.close();
    await served?.close();
    await run?.remove();
  });

  /** A grid of 100,000 small patches instead of the twenty. */
  async function manyPatches(folder: string): Promise<void> {
    const slide = { ...run.slide, patch: { px: SIDE, level0Px: SIDE, mpp: 0.5 }, nPatches: PATCHES };
    await writeFile(join(folder, 'slide.json'), JSON.stringify(slide));
    const meta = {
      slideId: 'known',
      slideHash: slide.hash,
      mpp: 0.5,
      mppSource: 'file' as const,
      patchMpp: 0.5,
      patchPx: SIDE,
      patchLevel0Px: SIDE,
      encoder: 'test@1',
      order: 'row-major' as const,
      version: '0.1.0',
    };
    const columns = 365;
    const places = Int32Array.from({ length: 2 * PATCHES }, (_, i) => {
      const patch = i >> 1;
      return SIDE * (i % 2 === 0 ? patch % columns : Math.floor(patch / columns));
    });
    const writer = await createBagWriter(join(folder, 'bag.arrow'), meta, { dimension: 1, dtype: 'f32' });
    await writer.append(new Float32Array(PATCHES), places);
    await writer.finish();
    await addScores(join(folder, 'bag.arrow'), {
      attention: Float32Array.from({ length: PATCHES }, (_, i) => Math.abs(Math.sin(i * 0.37))),
    });
  }

  it('shows a slide soon after the page is opened', async () => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const context = await browser.newContext({ viewport: { width: 1360, height: 820 } });
      const page = await context.newPage();
      await page.goto(`${served.url}#slide=known`);
      // The last tile of the first field, from the start of navigation.
      await page.waitForLoadState('networkidle');
      times.push(
        await page.evaluate(() =>
          Math.max(
            ...performance
              .getEntriesByType('resource')
              .filter(({ name }) => name.includes('/tiles/'))
              .map((entry) => (entry as PerformanceResourceTiming).responseEnd),
          ),
        ),
      );
      await context.close();
    }
    figures['first view, ms from opening to the last tile (mark 500)'] = Math.round(Math.min(...times));
    expect(Math.min(...times)).toBeGreaterThan(0);
    expect(Math.min(...times)).toBeLessThan(10_000);
  });

  it('changes the colours of 100,000 patches within a frame', async () => {
    const page = await browser.newPage({ viewport: { width: 1360, height: 820 } });
    await page.goto(`${served.url}#slide=known`);
    await page.locator('#gallery-list button').first().waitFor();
    await page.waitForLoadState('networkidle');
    const times = await page.evaluate(() => {
      const map = document.querySelector<HTMLSelectElement>('#colour-map')!;
      const found: number[] = [];
      for (let round = 0; round < 40; round++) {
        map.selectedIndex = round % map.options.length;
        const start = performance.now();
        map.dispatchEvent(new Event('change'));
        found.push(performance.now() - start);
      }
      return found.slice(8).sort((a, b) => a - b);
    });
    figures['restyle of 100,000 patches, best ms (mark 16)'] = times[0]!;
    figures['restyle of 100,000 patches, median ms (mark 16)'] = times[times.length >> 1]!;
    expect(times[0]).toBeLessThan(100);
    await page.close();
  });
});
