import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { parseTable } from '../../src/csv.ts';
import { readBag } from '../../src/features/store.ts';
import type { PredictionResult, RunResult, SlideResult } from '../../src/mil/result.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina, start, tree } from './spawn.ts';

let folder = '';
let slides: string[] = [];
const at = (...parts: string[]) => join(folder, ...parts);
const json = async <T>(...path: string[]) => JSON.parse(await readFile(at(...path), 'utf8')) as T;
const table = async (...path: string[]) => parseTable(path.join('/'), await readFile(at(...path), 'utf8')).rows;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-run-'));
  await mkdir(at('slides'));
  slides = ['a', 'b', 'c'].map((name) => at('slides', `${name}.tif`));
  for (const [seed, path] of slides.entries()) {
    await writeSyntheticSlide(path, { seed, widthPx: 2048, heightPx: 1536, tumour: seed % 2 === 0 });
  }
  const glass = { width: 2048, height: 1024, channels: 3 as const, background: '#f3f2f5' };
  await sharp({ create: glass })
    .tiff({ tile: true, tileWidth: 256, tileHeight: 256, compression: 'jpeg', xres: 2000, yres: 2000 })
    .toFile(at('glass.tif'));
  await writeFile(at('notes.svs'), 'This is a shopping list.');
  await writeFile(at('empty.svs'), '');
  await copyFile(slides[0]!, at('cut.tif'));
  await truncate(at('cut.tif'), 5000);
  await saveRandomModel(at('model'));
  await saveRandomModel(at('other-encoder'), { encoder: 'resnet50@0123abcd' });
  await saveRandomModel(at('other-width'), { input: 1024 });
  await saveRandomModel(at('no-encoder'), { encoder: null });
});
afterAll(() => rm(folder, { recursive: true }));

const run = (out: string, names: readonly string[], ...more: string[]) => [
  'run',
  ...names,
  '--model',
  at('model'),
  '--out',
  at(out),
  '--device',
  'wasm',
  ...more,
];

describe('lamina run on one slide', () => {
  beforeAll(async () => {
    await writeFile(at('slides/manifest.csv'), 'slide,patient,label\na.tif,"Doe, J",tumour\n');
    const { code, stdout } = await lamina(...run('one', [at('slides/manifest.csv')]));
    expect(code).toBe(0);
    expect(stdout).toMatch(/^slide +status +label +patches +prediction +probability +seconds\na +done/);
    expect(stdout).toContain('untrained');
  });

  it('writes the files of a run and nothing else', async () => {
    expect(await tree(at('one'))).toEqual([
      'failures.csv',
      'run.json',
      'slides',
      'slides/a',
      ...['bag.arrow', 'heatmap.png', 'prediction.json', 'slide.json', 'thumbnail.jpg', 'tissue.geojson'].map(
        (name) => `slides/a/${name}`,
      ),
      'summary.csv',
    ]);
  });

  it('predicts with attention that sums to one over the patches', async () => {
    const bag = await readBag(at('one/slides/a/bag.arrow'));
    const slide = await json<SlideResult>('one/slides/a/slide.json');
    const prediction = await json<PredictionResult>('one/slides/a/prediction.json');
    expect(bag.count).toBe(slide.nPatches);
    expect(bag.meta).toMatchObject({ slideHash: slide.hash, patchPx: 256, patchMpp: 0.5, order: 'row-major' });
    expect(prediction).toMatchObject({ slideHash: slide.hash, label: 'tumour', model: { trained: false } });
    expect(prediction.probabilities.reduce((sum, p) => sum + p)).toBeCloseTo(1, 5);
    const [first, second] = prediction.logits as [number, number];
    expect(prediction.probabilities[0]).toBeCloseTo(1 / (1 + Math.exp(second - first)), 5);
    const { attention, attention_raw } = bag.scores as Record<string, Float32Array>;
    expect(attention!.reduce((sum, a) => sum + a)).toBeCloseTo(1, 4);
    const [p, q] = [attention!.indexOf(Math.max(...attention!)), attention!.indexOf(Math.min(...attention!))];
    expect(attention![p]! / attention![q]!).toBeCloseTo(Math.exp(attention_raw![p]! - attention_raw![q]!), 3);
  });

  it('takes patches where the slide has tissue', async () => {
    const bag = await readBag(at('one/slides/a/bag.arrow'));
    const { features } = await json<GeoJSON.FeatureCollection<GeoJSON.Polygon>>('one/slides/a/tissue.geojson');
    const rings = features.map((feature) => feature.geometry.coordinates[0]!);
    for (let i = 0; i < bag.count; i++) {
      const [x, y] = [bag.coords![2 * i]!, bag.coords![2 * i + 1]!];
      const near = rings.some((ring) => {
        const [xs, ys] = [ring.map((point) => point[0]!), ring.map((point) => point[1]!)];
        return x < Math.max(...xs) && x + 256 > Math.min(...xs) && y < Math.max(...ys) && y + 256 > Math.min(...ys);
      });
      expect(near).toBe(true);
    }
  });

  it('draws the heatmap over the thumbnail and leaves the glass alone', async () => {
    const [heatmap, thumbnail] = await Promise.all(
      ['heatmap.png', 'thumbnail.jpg'].map((name) =>
        sharp(at('one/slides/a', name)).raw().toBuffer({ resolveWithObject: true }),
      ),
    );
    expect(heatmap!.info.width).toBe(thumbnail!.info.width);
    const differs = (x: number, y: number) => {
      const pixel = 3 * (y * thumbnail!.info.width + x);
      return [0, 1, 2].some(
        (channel) => Math.abs(heatmap!.data[pixel + channel]! - thumbnail!.data[pixel + channel]!) > 40,
      );
    };
    const { width, height } = thumbnail!.info;
    let tinted = 0;
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) tinted += differs(x, y) ? 1 : 0;
    expect(tinted).toBeGreaterThan(0.05 * width * height);
    for (const [x, y] of [
      [0, 0],
      [width - 1, 0],
      [0, height - 1],
      [width - 1, height - 1],
    ] as const)
      expect(differs(x, y)).toBe(false);
  });

  it('says in the tables and in run.json how it went', async () => {
    expect(await table('one/summary.csv')).toMatchObject([
      { slide: 'a', patient: 'Doe, J', status: 'done', label: 'tumour' },
    ]);
    expect(await table('one/failures.csv')).toEqual([]);
    const result = await json<RunResult>('one/run.json');
    expect(result).toMatchObject({
      model: { trained: false, type: 'lbmamba' },
      encoder: { id: expect.stringMatching(/^stain-texture@/) },
      configuration: { patchPx: 256, device: 'wasm' },
    });
    expect(Object.keys(result.timings).sort()).toEqual(['aggregate', 'extract', 'heatmap', 'open', 'tissue', 'write']);
    expect(Date.parse(result.finishedAt!)).toBeGreaterThan(Date.parse(result.startedAt));
  });

  it('skips the slide when it is finished, and runs it again for other patches', async () => {
    const before = await stat(at('one/slides/a/bag.arrow'));
    const again = await lamina(...run('one', [at('slides/manifest.csv')], '--json'));
    expect(JSON.parse(again.stdout).slides).toMatchObject([{ id: 'a', status: 'done', skipped: true }]);
    expect((await stat(at('one/slides/a/bag.arrow'))).mtimeMs).toBe(before.mtimeMs);
    const other = await lamina(...run('one', [at('slides/manifest.csv')], '--json', '--patch-size', '512'));
    expect(JSON.parse(other.stdout).slides).toMatchObject([{ id: 'a', status: 'done', skipped: false }]);
    expect((await json<SlideResult>('one/slides/a/slide.json')).patch.px).toBe(512);
  });
});

describe('lamina run on many slides', () => {
  it('explains the bad ones, finishes the others, and ends with 3', async () => {
    const bad = ['notes.svs', 'empty.svs', 'cut.tif', 'gone.svs'].map((name) => at(name));
    const { code, stderr } = await lamina(...run('mixed', [slides[0]!, ...bad, at('glass.tif')]));
    expect(code).toBe(3);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect((await table('mixed/summary.csv')).map(({ slide, status }) => [slide, status])).toEqual([
      ['a', 'done'],
      ['notes', 'failed'],
      ['empty', 'failed'],
      ['cut', 'failed'],
      ['gone', 'failed'],
      ['glass', 'no-tissue'],
    ]);
    const failures = await table('mixed/failures.csv');
    expect(failures.map(({ slide }) => slide)).toEqual(['notes', 'empty', 'cut', 'gone']);
    for (const { slide, stage, code, message, hint } of failures) {
      expect({ stage, known: code !== 'fault' }).toEqual({ stage: 'open', known: true });
      expect(message).toContain(slide);
      expect(hint).toMatch(/\.$/);
    }
    expect(await tree(at('mixed/slides/glass'))).toEqual([
      'bag.arrow',
      'slide.json',
      'thumbnail.jpg',
      'tissue.geojson',
    ]);
    expect((await tree(at('mixed/slides'))).filter((name) => !name.includes('/'))).toEqual(['a', 'glass']);
  });

  it('leaves out the patches on tiles that cannot be read, and says so', async () => {
    const bytes = await readFile(slides[0]!);
    bytes.fill(0, 40_000, 60_000);
    await writeFile(at('torn.tif'), bytes);
    const { code, stdout } = await lamina(...run('torn', [at('torn.tif'), slides[0]!], '--json'));
    expect(code).toBe(0);
    const [torn, whole] = JSON.parse(stdout).slides as { nPatches: number; warnings: string[] }[];
    expect(torn!.nPatches).toBeGreaterThan(0);
    expect(torn!.nPatches).toBeLessThan(whole!.nPatches);
    expect(torn!.warnings).toEqual([
      expect.stringMatching(/^\d+ stored tiles cannot be read; \d+ patches on them were left out\.$/),
    ]);
    expect(whole!.warnings).toEqual([]);
    const record = await json<SlideResult>('torn/slides/torn/slide.json');
    expect(record.unreadableTiles).toBeGreaterThan(0);
    expect((await readBag(at('torn/slides/torn/bag.arrow'))).count).toBe(record.nPatches);
  });

  it('ends with 1 when all are bad', async () => {
    const { code, stderr } = await lamina(...run('bad', [at('notes.svs')]));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^1\/1 notes: failed \(open\)\. .*notes\.svs.*\.\n$/);
    expect(await tree(at('bad/slides'))).toEqual([]);
  });
});

describe('lamina run that is stopped', () => {
  // So many that what stops it arrives long before the last of them.
  const names = Array.from({ length: 24 }, (_, i) => `copy-${i}`);
  const copies = names.map((name) => `${name}.tif`);
  const done = names.map(() => 'done');

  beforeAll(async () => {
    await Promise.all(copies.map((name) => copyFile(slides[0]!, at('slides', name))));
  });
  const runAll = (out: string, ...more: string[]) =>
    run(
      out,
      copies.map((name) => at('slides', name)),
      ...more,
    );

  it('goes on after a kill with what is left', async () => {
    const killed = start(runAll('killed'));
    await killed.until(/1\/24 copy-0: .*\n/);
    killed.process.kill('SIGKILL');
    await killed.ended;
    const left = await tree(at('killed'));
    // The one that was reported, and what else was finished before the kill arrived.
    const finished = names.map((id) => left.includes(`slides/${id}/slide.json`));
    expect(finished[0]).toBe(true);
    expect(finished[23]).toBe(false);
    const { code, stdout } = await lamina(...runAll('killed', '--json'));
    expect(code).toBe(0);
    expect(JSON.parse(stdout).slides.map(({ skipped }: { skipped: boolean }) => skipped)).toEqual(finished);
    expect((await tree(at('killed'))).filter((name) => name.includes('.partial'))).toEqual([]);
    expect((await table('killed/summary.csv')).map(({ status }) => status)).toEqual(done);
  });

  it('ends tidily on Ctrl-C, with 130, and goes on later', async () => {
    const stopped = start(runAll('stopped'));
    await stopped.until(/1\/24 copy-0: .*\n/);
    stopped.process.kill('SIGINT');
    const { code, stderr } = await stopped.ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(/lamina: Interrupted\..*\n$/);
    expect((await tree(at('stopped'))).filter((name) => name.includes('.partial'))).toEqual([]);
    expect(await json<RunResult>('stopped/run.json')).toMatchObject({ finishedAt: null });
    const { stdout } = await lamina(...runAll('stopped', '--json'));
    expect(JSON.parse(stdout).slides.map(({ status }: { status: string }) => status)).toEqual(done);
  });
});

describe('lamina run --explain', () => {
  const columns = async (out: string) => (await readBag(at(out, 'slides/a/bag.arrow'))).scores;

  it('writes what lamina explain would write afterwards, kept bags or not', async () => {
    expect((await lamina(...run('plain', [slides[0]!]))).code).toBe(0);
    const explain = ['explain', at('plain'), '--model', at('model'), '--device', 'wasm', '--faithfulness', '0'];
    expect((await lamina(...explain)).code).toBe(0);
    const afterwards = await columns('plain');
    expect(Object.keys(afterwards)).toEqual(expect.arrayContaining(['attention', 'evidence', 'hidden_attention']));

    expect((await lamina(...run('explained', [slides[0]!], '--explain'))).code).toBe(0);
    expect(await columns('explained')).toEqual(afterwards);
    expect((await json<RunResult>('explained/run.json')).timings.explain).toBeGreaterThan(0);
    expect((await lamina(...run('unkept', [slides[0]!], '--explain', '--no-keep-bags'))).code).toBe(0);
    expect(await columns('unkept')).toEqual(afterwards);
  });

  it('goes on where it stopped, and explains what was run without', async () => {
    const skipped = async (...more: string[]) =>
      JSON.parse((await lamina(...run('explained', [slides[0]!], '--json', ...more))).stdout).slides[0].skipped;
    expect(await skipped('--explain')).toBe(true);
    expect(await skipped()).toBe(false);
    expect(await columns('explained')).not.toHaveProperty('evidence');
    expect(await skipped('--explain')).toBe(false);
    expect(await columns('explained')).toHaveProperty('evidence');
  });
});

describe('lamina run refuses before it touches a slide', () => {
  it.each([
    ['a model that is not there', ['--model', 'no-model'], 1, /no-model/],
    ['a model of another encoder', ['--model', 'other-encoder'], 1, /other-encoder.*resnet50@0123abcd/],
    ['a model of another feature width', ['--model', 'other-width'], 1, /other-width.*1024/],
    ['a model that does not say for which encoder', ['--model', 'no-encoder'], 1, /no-encoder.*--encoder/],
    [
      'an encoder that there is none of',
      ['--model', 'model', '--encoder', 'nowhere'],
      1,
      /There is no encoder nowhere/,
    ],
    [
      'patches of another scale than the model knows',
      ['--model', 'model', '--target-mpp', '1'],
      1,
      /1 um\/px.*0\.5 um\/px/,
    ],
  ])('%s', async (_, args, expected, sentence) => {
    const { code, stdout, stderr } = await start(['run', slides[0]!, '--out', 'refused', '--device', 'wasm', ...args], {
      cwd: folder,
    }).ended;
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
    expect(stderr).toMatch(/^lamina: .*\.\n$/);
    expect(stderr).toMatch(sentence);
    expect(existsSync(at('refused'))).toBe(false);
  });

  it('a folder that cannot be written', async () => {
    const { code, stderr } = await lamina(...run('notes.svs/run', [slides[0]!]));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^lamina: .*notes\.svs.*cannot be written.*\.\n$/);
  });

  it('a pattern that matches nothing, with 4', async () => {
    const { code, stderr } = await lamina(...run('nothing', [at('*.mrxs')]));
    expect(code).toBe(4);
    expect(stderr).toMatch(/^lamina: .*no slide found\..*\.\n$/);
  });
});

describe('lamina view', () => {
  it('serves a run until Ctrl-C', async () => {
    const viewer = start(['view', at('mixed'), '--port', '0']);
    const [, url] = await viewer.until(/(http:\/\/127\.0\.0\.1:\d+\/)/);
    const listed = (await (await fetch(`${url}api/slides`)).json()) as { id: string; status: string }[];
    expect(listed.find(({ id }) => id === 'a')).toMatchObject({ status: 'done' });
    viewer.process.kill('SIGINT');
    expect((await viewer.ended).code).toBe(0);
  });

  it('says when the port is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const { port } = server.address() as { port: number };
    const { code, stderr } = await lamina('view', at('mixed'), '--port', `${port}`);
    server.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^lamina: Port ${port} is in use\\..*--port.*\\.\\n$`));
  });

  it('says when the folder is no run', async () => {
    const { code, stderr } = await lamina('view', at('slides'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^lamina: .*is not a run.*\.\n$/);
  });
});
