import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasRedis, type OwnRedis, startRedis } from '../../bench/redis-server.ts';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { lineOptions } from '../../src/cli/options.ts';
import { parseTable } from '../../src/csv.ts';
import { type OpenLine, openLine } from '../../src/run/line.ts';
import { openQueue, queueStatus, type SlideQueue, submitSlides } from '../../src/run/queue.ts';
import { runWorker, type WorkerEvent } from '../../src/run/queue-worker.ts';
import type { SlideInput } from '../../src/run/slide-inputs.ts';
import { plainTiling } from '../../src/run/survey.ts';
import { lamina, start, tree } from '../cli/spawn.ts';

const chosen = lineOptions({ device: 'wasm', threads: 1 }, null);
const slideOptions = { mpp: null, tiling: plainTiling(), batchSize: 64, dtype: 'f16', keepBags: true } as const;

describe.skipIf(!hasRedis)(`a queue in Redis${hasRedis ? '' : ' (skipped: there is no redis-server)'}`, () => {
  let folder = '';
  let redis: OwnRedis;
  let queue: SlideQueue;
  let close: () => Promise<void>;
  let line: OpenLine;
  const at = (...parts: string[]) => join(folder, ...parts);
  const input = (source: string, id: string): SlideInput => {
    return { id, source, patient: null, label: null, split: null, site: null, mpp: null };
  };
  const task = (out: string) => ({ out: at(out), line: chosen, slide: slideOptions });
  const slides = () => ['a', 'b', 'c'].map((id) => input(at(`${id}.tif`), id));

  async function work(
    events: WorkerEvent[] = [],
    changes: Partial<Parameters<typeof runWorker>[1]> = {},
  ): Promise<void> {
    const drain = new AbortController().signal;
    const onEvent = (event: WorkerEvent) => void events.push(event);
    await runWorker(redis.url, { concurrency: 2, stalledAfterMs: 2000, untilEmpty: true, drain, onEvent, ...changes });
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-queue-'));
    await mkdir(at('redis'));
    redis = await startRedis(at('redis'));
    ({ queue, close } = await openQueue(redis.url));
    line = await openLine(chosen);
    for (const [seed, name] of ['a', 'b', 'c'].entries()) {
      await writeSyntheticSlide(at(`${name}.tif`), { seed, widthPx: 1024, heightPx: 768, tumour: true });
    }
  });
  afterAll(async () => {
    await line?.close();
    await close?.();
    await redis?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('holds ten thousand slides, each once, also when Redis is killed', async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => input(at(`none-${i}.tif`), `none-${i}`));
    expect(await submitSlides(queue, many, line, task('many'))).toMatchObject({ queued: 10_000, already: 0 });
    await redis.restart();
    expect(await submitSlides(queue, many.slice(2000, 3000), line, task('many'))).toMatchObject({
      queued: 0,
      already: 1000,
    });
    expect(await queueStatus(queue)).toMatchObject({ waiting: 10_000, active: 0, done: 0, parked: [] });
    const held = await queue.getJobs(['waiting'], 0, -1);
    expect(new Set(held.map(({ data }) => data.input.id)).size).toBe(10_000);
    await queue.obliterate({ force: true });
  });

  it('is emptied by a worker; said again, nothing is done again; what is gone is made again', async () => {
    expect(await submitSlides(queue, slides(), line, task('run'))).toMatchObject({ queued: 3 });
    const events: WorkerEvent[] = [];
    await work(events);
    expect(events.filter(({ kind }) => kind === 'end')).toHaveLength(3);
    const summary = parseTable('summary', await readFile(at('run/summary.csv'), 'utf8')).rows;
    expect(summary.map(({ slide, status }) => [slide, status])).toEqual(['a', 'b', 'c'].map((id) => [id, 'done']));
    expect((await tree(at('run'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
    expect(await submitSlides(queue, slides(), line, task('run'))).toMatchObject({ queued: 0, finished: 3 });
    await rm(at('run/slides/b'), { recursive: true });
    expect(await submitSlides(queue, slides(), line, task('run'))).toMatchObject({ queued: 1, finished: 2 });
    await work();
    expect(existsSync(at('run/slides/b/bag.arrow'))).toBe(true);
  });

  it('parks a slide that cannot be done, with its reason, and revives it when it is submitted again', async () => {
    await writeFile(at('poison.tif'), 'no slide');
    const poison = [input(at('poison.tif'), 'poison')];
    await submitSlides(queue, poison, line, task('poison'));
    const events: WorkerEvent[] = [];
    await work(events);
    const failures = events.filter((event) => event.kind === 'failed');
    expect(failures.map(({ parked }) => parked)).toEqual([false, false, true]);
    const { parked } = await queueStatus(queue);
    expect(parked).toMatchObject([
      {
        input: { id: 'poison' },
        attempts: 3,
        failure: { stage: 'open', code: 'not-a-slide', hint: expect.stringMatching(/\.$/) },
      },
    ]);
    const [row] = parseTable('failures', await readFile(at('poison/failures.csv'), 'utf8')).rows;
    expect(row).toMatchObject({ slide: 'poison', stage: 'open', code: 'not-a-slide' });
    await copyFile(at('a.tif'), at('poison.tif'));
    expect(await submitSlides(queue, poison, line, task('poison'))).toMatchObject({ queued: 1, revived: 1 });
    await work();
    expect((await queueStatus(queue)).parked).toEqual([]);
    expect(parseTable('failures', await readFile(at('poison/failures.csv'), 'utf8')).rows).toEqual([]);
  });

  it('gives a slide to nobody who has other weights', async () => {
    const other = { ...line, encoder: { ...line.encoder!, id: 'stain-texture@0' } };
    await submitSlides(queue, slides().slice(0, 1), other, task('mismatch'));
    const events: WorkerEvent[] = [];
    const drain = new AbortController();
    const onEvent = (event: WorkerEvent) => {
      events.push(event);
      if (event.kind === 'failed') drain.abort();
    };
    await work([], { onEvent, drain: drain.signal });
    expect(events.find((event) => event.kind === 'failed')).toMatchObject({
      failure: { code: 'model-mismatch', message: expect.stringContaining('stain-texture@0') },
    });
    await queue.obliterate({ force: true });
  });

  it('drains on SIGTERM: slides under way are finished, the others stay', async () => {
    const slides = Array.from({ length: 8 }, (_, i) => at(`drain-${i}.tif`));
    for (const path of slides) await copyFile(at('b.tif'), path);
    const submitted = await lamina(
      'submit',
      ...slides,
      '--out',
      at('drain'),
      '--queue',
      redis.url,
      '--device',
      'wasm',
      '--json',
    );
    expect(submitted.code).toBe(0);
    expect(JSON.parse(submitted.stdout)).toMatchObject({ slides: 8, queued: 8 });
    const worker = start(['worker', '--queue', redis.url, '--concurrency', '2', '--json']);
    await worker.until(/drain-\d: begun/);
    worker.process.kill('SIGTERM');
    const { code, stdout, stderr } = await worker.ended;
    expect(code).toBe(0);
    expect(stderr).toContain('No more slides are taken');
    const { done, failures, parked } = JSON.parse(stdout);
    expect({ failures, parked }).toEqual({ failures: 0, parked: 0 });
    expect(done).toBeGreaterThan(0);
    expect(done).toBeLessThan(8);
    const status = JSON.parse((await lamina('status', '--queue', redis.url, '--json')).stdout);
    expect(status).toMatchObject({ active: 0, waiting: 8 - done, parked: [] });
    await queue.obliterate({ force: true });
  });

  it('that is not there is named, without the password', async () => {
    const { code, stderr } = await lamina('status', '--queue', 'redis://me:secret@127.0.0.1:1');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^lamina: redis:\/\/127\.0\.0\.1:1: no Redis answers .*--queue.*\.\n$/);
    expect((await lamina('worker', '--queue', 'somewhere')).stderr).toMatch(/no address of a Redis/);
  });
});
