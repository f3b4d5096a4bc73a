/** What a batch promises beside its results: one bad slide, one full disk or a second process spoils nothing. */
import { spawnSync } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { saveSmallEncoder } from '../../bench/onnx/small-encoder.ts';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { parseTable } from '../../src/csv.ts';
import { openBag, readBag } from '../../src/features/store.ts';
import { tryLock } from '../../src/lock.ts';
import type { RunResult } from '../../src/mil/result.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina, start, tree } from './spawn.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);
const table = async (...path: string[]) => parseTable(path.join('/'), await readFile(at(...path), 'utf8')).rows;
const statuses = async (out: string) =>
  Object.fromEntries((await table(out, 'summary.csv')).map(({ slide, status }) => [slide, status]));
const slide = (name: string) => at('slides', `${name}.tif`);
const run = (out: string, names: readonly string[], ...more: string[]) => [
  'run',
  ...names,
  '--model',
  at('model'),
  '--out',
  at(out),
  '--device',
  'wasm',
  '--threads',
  '1',
  ...more,
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-batch-'));
  await mkdir(at('slides'));
  for (const [seed, name] of ['a', 'b', 'c', 'd'].entries()) {
    await writeSyntheticSlide(slide(name), { seed, widthPx: 1280, heightPx: 1024, tumour: seed % 2 === 0 });
  }
  await saveRandomModel(at('model'));
  await saveSmallEncoder(at('small.onnx'), at('onnx-model'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('twenty slides of which five are broken in different ways', () => {
  const twenty = () => at('twenty');
  beforeAll(async () => {
    await mkdir(twenty());
    const good = Array.from({ length: 15 }, (_, i) => join(twenty(), `good-${i}.tif`));
    for (const [i, path] of good.entries()) await copyFile(slide('abcd'[i % 4]!), path);
    const bytes = await readFile(slide('a'));
    await writeFile(join(twenty(), 'empty.tif'), '');
    await writeFile(join(twenty(), 'text.svs'), 'This is a shopping list.');
    await writeFile(join(twenty(), 'cut.tif'), bytes.subarray(0, 4000));
    // The head is whole, all tiles are gone.
    await writeFile(
      join(twenty(), 'hollow.tif'),
      Buffer.concat([bytes.subarray(0, 2000), Buffer.alloc(bytes.length - 2000)]),
    );
  });

  it.each([
    ['stain-texture', 'model', []],
    ['a network in ONNX', 'onnx-model', ['--encoder', 'small.onnx']],
  ] as const)('give fifteen that are done and five that are explained: %s', async (name, model, encoder) => {
    const out = `twenty-run ${name}`;
    const how = ['--model', at(model), ...encoder.map((one, i) => (i === 1 ? at(one) : one))];
    const { code } = await lamina(...run(out, [twenty(), join(twenty(), 'missing.svs')], ...how));
    expect(code).toBe(3);
    const found = Object.values(await statuses(out));
    expect(found.filter((status) => status === 'done')).toHaveLength(15);
    const failures = await table(out, 'failures.csv');
    expect(failures.map((row) => row.slide).sort()).toEqual(['cut', 'empty', 'hollow', 'missing', 'text']);
    expect(failures.filter((row) => row.code === 'fault')).toEqual([]);
    for (const { slide, message, hint } of failures) {
      expect(message).toContain(slide);
      expect(hint).toMatch(/\.$/);
    }
  });
});

describe('a slide that fails', () => {
  beforeAll(() => copyFile(slide('a'), at('weak.tif')).then(() => truncate(at('weak.tif'), 5000)));

  it('is tried again after the others, as often as asked', async () => {
    const { code, stderr } = await lamina(...run('again', [at('weak.tif'), slide('a')], '--retry', '2'));
    expect(code).toBe(3);
    expect(stderr.match(/weak: failed .* It is tried again later\.\n/g)).toHaveLength(2);
    expect(stderr.match(/weak: failed/g)).toHaveLength(3);
    expect(stderr.indexOf('2/2 a: ')).toBeLessThan(stderr.lastIndexOf('weak: failed'));
  });

  it('ends the batch with --fail-fast, which goes on later', async () => {
    const many = [at('weak.tif'), ...['a', 'b', 'c', 'd'].map(slide)];
    const first = await lamina(...run('fast', many, '--fail-fast'));
    // Slides that were in the line may have been finished before the first failure was known; the last never begins.
    const { weak, ...others } = await statuses('fast');
    expect(weak).toBe('failed');
    expect(Object.keys(others)).not.toContain('d');
    expect(Object.values(others).every((status) => status === 'done')).toBe(true);
    expect(first.code).toBe(Object.keys(others).length > 0 ? 3 : 1);
    expect((await tree(at('fast', 'slides'))).filter((name) => name.startsWith('.'))).toEqual([]);
    const then = await lamina(...run('fast', many));
    expect(then.code).toBe(3);
    expect(await statuses('fast')).toEqual({ weak: 'failed', a: 'done', b: 'done', c: 'done', d: 'done' });
  });
});

describe('the tables of a run folder', () => {
  it('list all its slides, whichever run made them, and failures until they are mended', async () => {
    await copyFile(slide('c'), at('mended.tif'));
    await truncate(at('mended.tif'), 5000);
    await writeFile(at('first.csv'), `slide,patient,label\n${slide('a')},P1,tumour\nmended.tif,P2,normal\n`);
    await lamina(...run('tables', [at('first.csv')]));
    await lamina(...run('tables', [slide('b')]));
    const rows = await table('tables', 'summary.csv');
    expect(rows.map(({ slide, patient, status, label }) => [slide, patient, status, label])).toEqual([
      ['b', '', 'done', ''],
      ['a', 'P1', 'done', 'tumour'],
      ['mended', 'P2', 'failed', 'normal'],
    ]);
    expect((await table('tables', 'failures.csv')).map((row) => row.slide)).toEqual(['mended']);
    await copyFile(slide('c'), at('mended.tif'));
    await lamina(...run('tables', [at('first.csv')]));
    expect(await statuses('tables')).toEqual({ a: 'done', mended: 'done', b: 'done' });
    expect(await table('tables', 'failures.csv')).toEqual([]);
  });
});

describe('several processes on one run folder', () => {
  it('as shards: each does its part, and the tables have all', async () => {
    const all = ['a', 'b', 'c', 'd'].map(slide);
    const parts = await Promise.all(
      ['1/3', '2/3', '3/3'].map((shard) => lamina(...run('shards', all, '--shard', shard, '--json'))),
    );
    expect(parts.map(({ code }) => code)).toEqual([0, 0, 0]);
    const done = parts.map(({ stdout }) => JSON.parse(stdout).slides.map(({ id }: { id: string }) => id));
    expect(done).toEqual([['a', 'd'], ['b'], ['c']]);
    expect(await statuses('shards')).toEqual({ a: 'done', b: 'done', c: 'done', d: 'done' });
    expect((await tree(at('shards'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
    const empty = await lamina(...run('shards', all, '--shard', '9/9'));
    expect(empty).toMatchObject({ code: 0, stderr: 'This part of the batch has no slides.\n' });
  });

  it('on the same slides: each slide is made once, and both end well', async () => {
    const all = ['a', 'b', 'c', 'd'].map(slide);
    const both = await Promise.all([1, 2].map(() => lamina(...run('shared', all, '--json'))));
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    const made = both.flatMap(({ stdout }) => JSON.parse(stdout).slides as { id: string; skipped: boolean }[]);
    expect(
      made
        .filter(({ skipped }) => !skipped)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['a', 'b', 'c', 'd']);
    expect((await tree(at('shared'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });

  it('takes over what a killed one left', async () => {
    const killed = start(run('left', [slide('a')]));
    await killed.until(/./).catch(() => {});
    await lamina(...run('left', [slide('a')]));
    await cp(at('left/slides/a'), at('left/slides/.a.partial/killed'), { recursive: true });
    // The locks are those of a process of this machine that is gone.
    const lock = (await tryLock(at('left/slides/.lock')))!;
    const holder = JSON.parse(await readFile(at('left/slides/.lock'), 'utf8'));
    await lock.release();
    for (const name of ['.a.lock', '.lock']) {
      await writeFile(at('left/slides', name), JSON.stringify({ ...holder, pid: killed.process.pid, began: '0' }));
    }
    await writeFile(at(`left/slides/.a.lock.${lock.token}`), 'aside');
    await writeFile(at('left/summary.csv.partial'), 'half');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const { code, stdout } = await lamina(...run('left', [slide('a')], '--json'));
    expect(code).toBe(0);
    expect(JSON.parse(stdout).slides).toMatchObject([{ id: 'a', skipped: true }]);
    expect((await tree(at('left'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });
});

describe('--no-keep-bags', () => {
  it('says the same and keeps the scores, but no features', async () => {
    for (const dtype of ['f16', 'f32']) {
      const [kept, not] = [`kept-${dtype}`, `not-${dtype}`];
      await lamina(...run(kept, [slide('a')], '--dtype', dtype));
      await lamina(...run(not, [slide('a')], '--dtype', dtype, '--no-keep-bags'));
      for (const name of ['prediction.json', 'heatmap.png']) {
        expect(await readFile(at(not, 'slides/a', name))).toEqual(await readFile(at(kept, 'slides/a', name)));
      }
      const [whole, scores] = [
        await readBag(at(kept, 'slides/a/bag.arrow')),
        await readBag(at(not, 'slides/a/bag.arrow')),
      ];
      expect(scores.features).toHaveLength(0);
      expect(scores.dimension).toBe(0);
      expect(scores.coords).toEqual(whole.coords);
      expect(scores.scores).toEqual(whole.scores);
    }
    const bag = await openBag(at('kept-f32/slides/a/bag.arrow'));
    const { features, dimension, count } = await readBag(at('kept-f32/slides/a/bag.arrow'));
    expect(await bag.read(1, count - 1)).toEqual(features.subarray(dimension));
    await bag.close();
  });
});

/** A disk of four megabytes, where this machine lets one be made. */
function mountSmall(path: string): boolean {
  return (
    process.platform === 'linux' && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', path]).status === 0
  );
}
const probe = spawnSync('sh', [
  '-c',
  'd=$(mktemp -d) && mount -t tmpfs -o size=4m tmpfs "$d" && umount "$d" && rmdir "$d"',
]);
const canMount = probe.status === 0;

describe.skipIf(!canMount)(`a full disk${canMount ? '' : ' (skipped: no small disk can be mounted here)'}`, () => {
  it('is said of each slide that met it, spoils no finished one, and the run goes on when there is room', async () => {
    await mkdir(at('small'));
    expect(mountSmall(at('small'))).toBe(true);
    try {
      const { size } = await stat(slide('a'));
      expect(size).toBeGreaterThan(0);
      await lamina(...run('small/run', [slide('a')]));
      const before = await readFile(at('small/run/slides/a/bag.arrow'));
      const room = spawnSync('df', ['--output=avail', '-B1', at('small')])
        .stdout.toString()
        .split('\n')[1]!;
      await writeFile(at('small/filler'), Buffer.alloc(Number(room) - 20_000));
      const full = await lamina(...run('small/run', ['a', 'b', 'c'].map(slide), '--json'));
      const outcomes = JSON.parse(full.stdout).slides as {
        status: string;
        failure: { code: string; hint: string } | null;
      }[];
      expect(full.code).toBe(3);
      expect(outcomes.map(({ status }) => status)).toEqual(['done', 'failed', 'failed']);
      expect(outcomes[1]!.failure).toMatchObject({ code: 'disk-full', hint: expect.stringMatching(/space/) });
      expect(full.stderr).not.toMatch(/^\s+at /m);
      expect(await readFile(at('small/run/slides/a/bag.arrow'))).toEqual(before);
      await rm(at('small/filler'));
      const again = await lamina(...run('small/run', ['a', 'b', 'c'].map(slide)));
      expect(again.code).toBe(0);
      expect((await tree(at('small/run'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
    } finally {
      spawnSync('umount', [at('small')]);
    }
  });
});

describe('run.json', () => {
  it('has the resolved options, the defaults among them', async () => {
    await writeFile(at('lamina.config.json'), JSON.stringify({ retry: 1, 'patch-size': 512, run: { seed: 5 } }));
    const args = run('resolved', [slide('a')], '--seed', '7');
    const { code } = await start(args, { cwd: folder, env: { LAMINA_RETRY: '2' } }).ended;
    await rm(at('lamina.config.json'));
    expect(code).toBe(0);
    const { configuration } = JSON.parse(await readFile(at('resolved/run.json'), 'utf8')) as RunResult;
    expect(configuration).toMatchObject({ retry: 2, patchPx: 512, seed: 7, dtype: 'f16', batch: 64, keepBags: true });
  });
});
