import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTable } from '../../src/csv.ts';
import { createRandom } from '../../src/random.ts';
import { escapeHtml, html } from '../../src/report/html.ts';
import { lamina } from '../cli/spawn.ts';
import { findChromium, openBrowser } from '../viewer/browser.ts';

const SCRIPT = '<script>document.title="owned"</script>';
const executable = await findChromium();

/** 40 slides of 30 patients, the positive ones mostly above the others; one is named as a script. */
function table(seed: number, classes: readonly string[]): string {
  const random = createRandom(seed);
  const rows = Array.from({ length: 40 }, (_, i) => {
    const label = i % 2;
    const p = Math.min(0.999, Math.max(0.001, 0.5 + (label ? 0.3 : -0.3) + (random() - 0.5)));
    return [i === 4 ? SCRIPT : `s${i}`, `p${i % 30}x${label}`, `"${classes[label]}"`, i % 4, 1 - p, p].join(',');
  });
  return `slide,patient,label,fold,${classes.map((name) => `"probability_${name}"`).join(',')}\n${rows.join('\n')}\n`;
}

it('a template escapes what is put in, and nothing else', () => {
  expect(escapeHtml(`<a href='x'>&"`)).toBe('&lt;a href=&#39;x&#39;&gt;&amp;&quot;');
  expect(html`<p>${'<b>'}${[html`<i>${1}</i>`, null]}</p>`.markup).toBe('<p>&lt;b&gt;<i>1</i></p>');
});

describe('lamina evaluate', () => {
  let folder = '';
  let browser: Browser | null = null;
  const file = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-evaluate-'));
    const classes = ['normal', 'tumour <b>&'];
    await writeFile(file('first.csv'), table(1, classes));
    await writeFile(file('second.csv'), table(2, classes));
    if (executable) browser = await openBrowser(executable);
  });

  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('writes the report, and the same as JSON and CSV', async () => {
    const args = [file('first.csv'), file('second.csv'), '--out', file('out'), '--resamples', '100'];
    const { code, stdout, stderr } = await lamina('evaluate', ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/AUC +0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)/);

    const evaluation = JSON.parse(readFileSync(file('out/evaluation.json'), 'utf8'));
    const { rows } = parseTable('metrics.csv', readFileSync(file('out/metrics.csv'), 'utf8'));
    const auc = rows.find(
      (row) => row.model === 'first' && row.level === 'slides' && !row.class && row.figure === 'auc',
    )!;
    expect(Number(auc.value)).toBe(evaluation.models[0].slides.figures.auc.value);
    expect(rows.some((row) => row.class === 'tumour <b>&' && row.figure === 'recall')).toBe(true);
    expect(evaluation.inputs.map((input: { hash: string }) => input.hash)).toEqual([
      expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    ]);
    const report = readFileSync(file('out/report.html'), 'utf8');
    expect(report.includes(Number(auc.value).toFixed(3))).toBe(true);
    expect(/<script|<b>&|https?:\/\/(?!127\.0\.0\.1|www\.w3\.org)/.exec(report)?.[0]).toBeUndefined();
    expect(report.includes(escapeHtml(SCRIPT))).toBe(true);
  });

  it('gives the same figures again for a seed, others for another', async () => {
    const of = async (seed: string) => {
      const { stdout } = await lamina('evaluate', file('first.csv'), '--json', '--resamples', '50', '--seed', seed);
      const { createdAt: _, options: __, ...rest } = JSON.parse(stdout);
      return JSON.stringify(rest);
    };
    const [first, again, other] = await Promise.all([of('1'), of('1'), of('2')]);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it('says what is wrong in one sentence', async () => {
    await writeFile(file('bad.csv'), 'slide,label,probability_a,probability_b\nx,a,nan,1\n');
    expect(await lamina('evaluate', file('bad.csv'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^lamina: .*x has NaN/),
    });
    expect((await lamina('evaluate', file('none.csv'))).stderr).toMatch(/cannot be read/);
    expect((await lamina('evaluate', file('first.csv'), '--specificity', '2')).code).toBe(2);
    expect((await lamina('evaluate', file('first.csv'), '--model', 'm')).stderr).toMatch(/--bags/);
  });

  describe.skipIf(!executable)(`in a browser${executable ? '' : ' (skipped: no Chromium)'}`, () => {
    it.each(['light', 'dark'] as const)(
      'is whole on a %s screen: drawings, no overflow, no script',
      async (colorScheme) => {
        const context = await browser!.newContext({
          viewport: { width: 1280, height: 900 },
          colorScheme,
          offline: true,
        });
        const page = await context.newPage();
        const complaints: string[] = [];
        page.on('console', (message) => void complaints.push(message.text()));
        page.on('pageerror', (error) => void complaints.push(error.message));
        await page.goto(`file://${file('out/report.html')}`);
        expect(complaints).toEqual([]);
        expect(await page.title()).toBe('Evaluation of first, second');
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(1280);
        // ROC and precision-recall of both, then reliability and scores of each.
        expect(await page.locator('figure svg').count()).toBe(6);
        // A curve that is drawn has an extent.
        const lines = await page
          .locator('figure svg g[aria-label=line] path')
          .evaluateAll((paths) => paths.map((path) => path.getBoundingClientRect().width));
        expect(lines.length).toBeGreaterThan(6);
        expect(Math.min(...lines)).toBeGreaterThan(20);
        expect(await page.locator('table').filter({ hasText: 'Sensitivity at a specificity of 0.95' }).count()).toBe(1);
        await page.evaluate(readFileSync('node_modules/axe-core/axe.min.js', 'utf8'));
        const { violations } = (await page.evaluate('axe.run()')) as { violations: { id: string }[] };
        expect(violations.map(({ id }) => id)).toEqual([]);
        await context.close();
      },
    );
  });
});
