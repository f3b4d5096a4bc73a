import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { saveSmallEncoder } from '../../bench/onnx/small-encoder.ts';
import { hasRedis, type OwnRedis, startRedis } from '../../bench/redis-server.ts';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { lineOptions } from '../../src/cli/options.ts';
import { parseTable } from '../../src/csv.ts';
import { type OpenLine, openLine } from '../../src/run/line.ts';
import { openQueue, queueStatus, type SlideQueue, type SlideTask, submitSlides } from '../../src/run/queue.ts';
import { runWorker, type WorkerEvent } from '../../src/run/queue-worker.ts';
import type { SlideInput } from '../../src/run/slide-inputs.ts';
import type { Line } from '../../src/run/slide-job.ts';
import { plainTiling } from '../../src/run/survey.ts';
import { lamina, start, tree } from '../cli/spawn.ts';

const chosen = lineOptions({ device: 'wasm', threads: 1 }, null);
const canMount =
  spawnSync('sh', ['-c', 'd=$(mktemp -d) && mount -t tmpfs tmpfs "$d" && umount "$d" && rmdir "$d"']).status === 0;
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
  const submit = async (inputs: readonly SlideInput[], out: string, made: Line = line) => {
    await mkdir(at(out, 'slides'), { recursive: true });
    return await submitSlides(queue, inputs, made, task(out));
  };
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
    expect(await submit(many, 'many')).toMatchObject({ queued: 10_000, already: 0 });
    await redis.restart();
    expect(await submit(many.slice(2000, 3000), 'many')).toMatchObject({
      queued: 0,
      already: 1000,
    });
    expect(await queueStatus(queue)).toMatchObject({ waiting: 10_000, active: 0, done: 0, parked: [] });
    const held = await queue.getJobs(['waiting'], 0, -1);
    expect(new Set(held.map(({ data }) => data.input.id)).size).toBe(10_000);
    await queue.obliterate({ force: true });
  });

  it('is emptied by a worker; said again, nothing is done again; what is gone is made again', async () => {
    expect(await submit(slides(), 'run')).toMatchObject({ queued: 3 });
    const events: WorkerEvent[] = [];
    await work(events);
    expect(events.filter(({ kind }) => kind === 'end')).toHaveLength(3);
    const summary = parseTable('summary', await readFile(at('run/summary.csv'), 'utf8')).rows;
    expect(summary.map(({ slide, status }) => [slide, status])).toEqual(['a', 'b', 'c'].map((id) => [id, 'done']));
    expect((await tree(at('run'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
    expect(await submit(slides(), 'run')).toMatchObject({ queued: 0, finished: 3 });
    await rm(at('run/slides/b'), { recursive: true });
    expect(await submit(slides(), 'run')).toMatchObject({ queued: 1, finished: 2 });
    await work();
    expect(existsSync(at('run/slides/b/bag.arrow'))).toBe(true);
  });

  it('parks a slide that cannot be done, with its reason, and revives it when it is submitted again', async () => {
    await writeFile(at('poison.tif'), 'no slide');
    const poison = [input(at('poison.tif'), 'poison')];
    await submit(poison, 'poison');
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
    expect(await submit(poison, 'poison')).toMatchObject({ queued: 1, revived: 1 });
    await work();
    expect((await queueStatus(queue)).parked).toEqual([]);
    expect(parseTable('failures', await readFile(at('poison/failures.csv'), 'utf8')).rows).toEqual([]);
  });

  describe('with a worker that cannot do what it is given', () => {
    const many = (name: string, count: number) =>
      Array.from({ length: count }, (_, i) => input(at('a.tif'), `${name}-${i}`));
    const counts = async () => {
      const { waiting, active, delayed, parked } = await queueStatus(queue);
      return { active, waits: waiting + delayed, parked: parked.length };
    };
    const attempts = async () =>
      (await queue.getJobs(['waiting', 'delayed'])).reduce((sum, { attemptsMade }) => sum + attemptsMade, 0);
    const changed = async (change: Partial<SlideTask>) => {
      for (const job of await queue.getJobs(['waiting'])) await job.updateData({ ...job.data, ...change });
    };
    const other = () => ({ ...line, encoder: { ...line.encoder!, id: 'stain-texture@0' } });
    afterEach(() => queue.obliterate({ force: true }));

    it.each<[string, string, RegExp, () => Promise<unknown>]>([
      ['other weights', 'model-mismatch', /stain-texture@0/, () => submit(many('x', 40), 'x', other())],
      [
        'another version',
        'version-mismatch',
        /version 0\.0\.1,/,
        async () => {
          await submit(many('x', 40), 'x');
          await changed({ version: '0.0.1' });
        },
      ],
      [
        'no model',
        'no-model',
        /nowhere/,
        async () => {
          await submit(many('x', 40), 'x');
          await changed({ line: { ...chosen, model: at('nowhere') } });
        },
      ],
      [
        'no run folder',
        'no-run-folder',
        /gone/,
        async () => {
          await submit(many('x', 40), 'gone');
          await rm(at('gone'), { recursive: true });
        },
      ],
    ])('(%s) gives every slide back, parks none, and ends with the reason', async (_, code, says, prepare) => {
      await prepare();
      const events: WorkerEvent[] = [];
      await expect(work(events, { untilEmpty: false })).rejects.toMatchObject({
        code,
        problem: expect.stringMatching(says),
      });
      expect(events).toEqual([{ kind: 'drain' }]);
      expect(await counts()).toEqual({ active: 0, waits: 40, parked: 0 });
      expect(await attempts()).toBe(0);
    });

    it.skipIf(!canMount)('(a full disk) gives the slides back as well (skipped without rights to mount)', async () => {
      await mkdir(at('full'));
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('full')]);
      try {
        await submit(slides(), 'full');
        const { bavail, bsize } = await statfs(at('full'));
        await writeFile(at('full/filler'), Buffer.alloc((bavail - 10) * bsize));
        await expect(work()).rejects.toMatchObject({ code: 'disk-full' });
        expect(await counts()).toEqual({ active: 0, waits: 3, parked: 0 });
        expect(await attempts()).toBe(0);
        await rm(at('full/filler'));
        await work();
        expect(await counts()).toEqual({ active: 0, waits: 0, parked: 0 });
      } finally {
        spawnSync('umount', [at('full')]);
      }
    });

    it('has another one do it', async () => {
      await submit(slides(), 'moved');
      await rename(at('moved'), at('away'));
      await expect(work()).rejects.toMatchObject({ code: 'no-run-folder' });
      await rename(at('away'), at('moved'));
      const events: WorkerEvent[] = [];
      await work(events);
      expect(events.filter(({ kind }) => kind === 'end')).toHaveLength(3);
      expect(await counts()).toEqual({ active: 0, waits: 0, parked: 0 });
    });

    it('ends with 1 on the command line', async () => {
      await submit(slides().slice(0, 1), 'x', other());
      const { code, stderr } = await lamina('worker', '--queue', redis.url);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^lamina: The slides were submitted for stain-texture@0, .*\.\n$/m);
    });

    it('gets what was submitted anew instead', async () => {
      await submit(slides(), 'anew', other());
      expect(await submit(slides().slice(0, 2), 'anew')).toMatchObject({ queued: 2, replaced: 2 });
      expect(await submit(slides(), 'anew')).toMatchObject({ queued: 1, already: 2, replaced: 1 });
      // What was submitted for a model or a device that is not to be had gives the same files as before, and is another job.
      const threads = { ...task('anew'), line: { ...chosen, threads: 2 } };
      expect(await submitSlides(queue, slides(), line, threads)).toMatchObject({ queued: 3, already: 0, replaced: 3 });
      await work();
      expect(await counts()).toEqual({ active: 0, waits: 0, parked: 0 });
    });
  });

  it('keeps the lines of two runs that take turns, and closes that of the first for a third', async () => {
    await saveSmallEncoder(at('small.onnx'), at('small'));
    const first = { ...chosen, encoder: at('small.onnx') };
    const small = await openLine(first);
    await small.close();
    const runs = { a: first, b: { ...first, threads: 2 }, c: chosen };
    await mkdir(at('turns', 'slides'), { recursive: true });
    for (const [i, run] of (['a', 'b', 'a', 'b', 'c', 'a'] as const).entries()) {
      const made = run === 'c' ? line : small;
      await submitSlides(queue, [input(at('a.tif'), `${i}-${run}`)], made, { ...task('turns'), line: runs[run] });
    }
    const done: string[] = [];
    const onEvent = (event: WorkerEvent) => {
      if (event.kind !== 'end') return;
      done.push(event.slide);
      // What is opened once more from here on cannot be opened.
      if (done.length === 2) rmSync(at('small.onnx'));
    };
    await expect(work([], { concurrency: 1, onEvent })).rejects.toMatchObject({ code: 'no-weights' });
    expect(done).toEqual(['0-a', '1-b', '2-a', '3-b', '4-c']);
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
