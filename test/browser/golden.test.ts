/**
 * The golden cases in a page of headless Chromium, on both devices. LAMINA_GOLDEN names another folder of the same form;
 * LAMINA_BROWSER_ALL=1 also runs the cases that are left out because they take a software adapter minutes.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sizeOf } from '../../src/kernels/tensor.ts';
import { chooseCases } from '../golden/choose-cases.ts';
import type { CaseReport } from '../golden/run-cases.ts';
import type { GoldenCase } from '../golden/source.ts';
import { findChromium, openBrowser } from '../viewer/browser.ts';
import type { Message, Task } from './golden-worker.ts';
import type {} from './page.ts';
import { type FolderServer, serveFolders } from './server.ts';

const golden = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const present = existsSync(resolve(golden, 'manifest.json'));
const cases: GoldenCase[] = present ? JSON.parse(readFileSync(resolve(golden, 'manifest.json'), 'utf8')).cases : [];

const chromium = await findChromium();
const withoutBrowser = chromium ? null : 'no Chromium on this machine';
const missing = withoutBrowser ?? (present ? null : `no manifest.json in ${golden}`);
const skipped = (reason: string | null) => (reason ? ` (skipped: ${reason})` : '');

/** A software WebGPU adapter is slow: without LAMINA_BROWSER_ALL, cases whose inputs have more numbers are left out. */
const MOST_NUMBERS = process.env.LAMINA_BROWSER_ALL ? Number.POSITIVE_INFINITY : 10_000;
const MINUTE = 60_000;
const FOLDERS = { page: 'dist/test/browser', wasm: 'dist/src/kernels/wasm', golden };

let browser: Browser;
let server: FolderServer;

beforeAll(async () => {
  if (withoutBrowser) return;
  await build({ configFile: 'test/browser/vite.config.ts', logLevel: 'warn' });
  server = await serveFolders(FOLDERS, { isolated: true });
  browser = await openBrowser(chromium!, ['--enable-unsafe-webgpu']);
});

afterAll(async () => {
  await browser?.close();
  server?.close();
});

async function openPage({ url }: FolderServer, receive: (message: Message) => void) {
  const page = await browser.newPage();
  await page.exposeFunction('receive', receive);
  await page.goto(`${url}page/index.html`);
  return page;
}

/** Runs the named cases, telling what the worker says while it does. */
async function run(
  on: FolderServer,
  task: Pick<Task, 'device' | 'cases' | 'plain'>,
  receive: (message: Message) => void = () => {},
): Promise<Message[]> {
  const messages: Message[] = [];
  const page = await openPage(on, (message) => {
    messages.push(message);
    receive(message);
  });
  const whole: Task = { golden: `${on.url}golden/`, wasm: `${on.url}wasm/`, threads: 2, ...task };
  await page.evaluate((given) => runGolden(given), whole);
  await page.close();
  return messages;
}

function goldenInBrowser(device: Task['device'], own: readonly GoldenCase[], plain = false): void {
  const title = `golden cases in Chromium on ${device}${plain ? ', plain build' : ''}`;
  describe.skipIf(missing)(`${title}${skipped(missing)}`, () => {
    /** Settled by the page's report of a case, with null when the page ends without one. */
    const reports = new Map(own.map(({ name }) => [name, awaited<CaseReport | null>()]));
    let running: Promise<Message[]>;

    beforeAll(() => {
      const names = [...reports.keys()];
      running = run(server, { device, plain, cases: names }, (message) => {
        if ('report' in message) reports.get(message.report.name)!.settle(message.report);
      });
      const end = () => {
        for (const { settle } of reports.values()) settle(null);
      };
      running.then(end, end);
    });

    it('are there', () => expect(own.length).toBeGreaterThan(0));

    // The page goes through the cases by itself, in this order.
    it.each(own.map(({ kind, name }) => [kind, name]))(
      '%s %s',
      async (_, name) => {
        expect(await reports.get(name!)!.promise).toMatchObject({ passed: true, error: null });
      },
      15 * MINUTE,
    );

    it('end well', async () => {
      const messages = await running;
      console.log(summary(messages));
      expect(messages.at(-1)).toEqual({ done: true });
      // This Chromium has fused multiply-add, so that both builds are seen here.
      if (device === 'wasm') expect(messages[0]).toEqual({ device: expect.stringMatching(plain ? /SIMD, / : /fused/) });
    });

    const left = cases.filter((one) => !own.includes(one));
    it.skip.each(left.map((one) => [one.kind, one.name, numbersIn(one)]))(
      '%s %s is not run: with %i numbers too slow on a software adapter (LAMINA_BROWSER_ALL=1 runs it)',
      () => {},
    );
  });
}

/** In its inputs, for each of its steps. */
function numbersIn({ inputs = {}, steps = 1 }: GoldenCase): number {
  return Object.values(inputs).reduce((sum, shape) => sum + sizeOf(shape), 0) * steps;
}

function summary(messages: readonly Message[]): string {
  const name = messages.flatMap((message) => ('device' in message ? [message.device] : [])).join();
  const reports = messages.flatMap((message) => ('report' in message ? [message.report] : []));
  const worst = reports.reduce((a, b) => ((b.worst ?? 0) > (a.worst ?? 0) ? b : a));
  const seconds = reports.reduce((sum, report) => sum + report.seconds, 0);
  const slow = [...reports].sort((a, b) => b.seconds - a.seconds).slice(0, 3);
  return (
    `Golden cases in Chromium on ${name}: ${reports.filter(({ passed }) => passed).length} of ${reports.length} passed in ` +
    `${seconds.toFixed(0)} s; worst error / tolerance ${worst.worst?.toFixed(3)} (${worst.name} ${worst.output}); ` +
    `slowest: ${slow.map((report) => `${report.name} ${report.seconds.toFixed(1)} s`).join(', ')}`
  );
}

function awaited<T>(): { promise: Promise<T>; settle: (value: T) => void } {
  let settle: (value: T) => void;
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, settle: settle! };
}

goldenInBrowser('wasm', cases);
goldenInBrowser('wasm', cases, true);
goldenInBrowser('webgpu', chooseCases(cases, numbersIn, MOST_NUMBERS));

describe.skipIf(withoutBrowser)(`the wasm device of a browser${skipped(withoutBrowser)}`, () => {
  it('says which headers a page needs', async () => {
    const bare = await serveFolders(FOLDERS, { isolated: false });
    const [message, ...more] = await run(bare, { device: 'wasm' });
    bare.close();
    expect(message).toEqual({
      error: expect.stringMatching(
        /Cross-Origin-Opener-Policy: same-origin.*Cross-Origin-Embedder-Policy: require-corp/,
      ),
    });
    expect(more).toEqual([]);
  });

  it('says that it cannot live in the page itself', async () => {
    const page = await openPage(server, () => {});
    expect(await page.evaluate((url) => openInPage(url), `${server.url}wasm/`)).toMatch(/Open it in a worker/);
    await page.close();
  });

  it('says where it looked for its module', async () => {
    const { url } = server;
    const messages: Message[] = [];
    const page = await openPage(server, (message) => messages.push(message));
    const task: Task = { device: 'wasm', golden: `${url}golden/`, wasm: `${url}nowhere/`, threads: 1 };
    await page.evaluate((given) => runGolden(given), task);
    await page.close();
    expect(messages).toEqual([
      { error: expect.stringContaining(`${url}nowhere/lamina-fused.wasm cannot be fetched (status 404)`) },
    ]);
  });
});
