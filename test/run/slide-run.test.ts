import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { readBag } from '../../src/features/store.ts';
import { tryLock } from '../../src/lock.ts';
import { type BatchEvent, runBatch } from '../../src/run/batch.ts';
import { findSlides, type SlideInput } from '../../src/run/slide-inputs.ts';
import type { Line } from '../../src/run/slide-job.ts';
import { runSlideOnce, type SlideOutcome } from '../../src/run/slide-run.ts';
import { Stations } from '../../src/run/station.ts';
import { plainTiling } from '../../src/run/survey.ts';
import { makeFolder } from '../../src/run/whole-file.ts';
import { tree } from '../cli/spawn.ts';

let folder = '';
let input: SlideInput;
let line: Line;
const at = (...parts: string[]) => join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-slide-run-'));
  await writeSyntheticSlide(at('a.tif'), { seed: 1, widthPx: 1280, heightPx: 1024, tumour: true });
  await writeFile(at('weak.svs'), 'This is a shopping list.');
  [input] = (await findSlides([at('a.tif')])) as [SlideInput];
  line = { encoder: await openEncoder('stain-texture'), predictor: null };
});
afterAll(async () => {
  await line.encoder?.close();
  await rm(folder, { recursive: true });
});

const options = (out: string) => ({
  out: at(out),
  mpp: null,
  tiling: plainTiling(256, 0.5),
  batchSize: 4,
  dtype: 'f16' as const,
  keepBags: true,
  live: true,
  signal: new AbortController().signal,
});

/** @param onPatches called once, when the first patches are encoded. */
async function runOnce(out: string, onPatches: () => void = () => {}): Promise<SlideOutcome> {
  await makeFolder(at(out, 'slides'));
  let begun = false;
  const onProgress = () => {
    if (!begun) onPatches();
    begun = true;
  };
  return await runSlideOnce(input, line, new Stations(), { ...options(out), onProgress, waits: false });
}

/** Makes a lock look like that of a process that is gone, as it looks to another machine when its holder is cut off. */
function forsake(path: string): void {
  const holder = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...holder, token: 'forsaken', began: '1' }));
}

describe('a slide whose lock is taken over while it is on the line', () => {
  it('is made by the other, whole, and by nobody else', async () => {
    let other: Promise<SlideOutcome> | null = null;
    const first = await runOnce('taken', () => {
      forsake(at('taken/slides/.a.lock'));
      other = runOnce('taken');
    });
    expect(await other).toMatchObject({ status: 'done', failure: null });
    expect(first).toMatchObject({ status: 'failed', failure: { code: 'lock-lost' } });
    const made = at('taken/slides/a');
    const { files, nPatches, seconds } = JSON.parse(await readFile(join(made, 'slide.json'), 'utf8'));
    expect((await readdir(made)).sort()).toEqual([...files, 'slide.json'].sort());
    expect((await readBag(join(made, 'bag.arrow'))).count).toBe(nPatches);
    expect(Object.keys(seconds).sort()).toEqual(['extract', 'open', 'tissue', 'write']);
    expect((await tree(at('taken'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });

  it('leaves the lock and the files of the other alone, and has nothing put in place', async () => {
    const lock = at('busy/slides/.a.lock');
    const attempts = at('busy/slides/.a.partial');
    let own: string[] = [];
    const outcome = await runOnce('busy', () => {
      own = readdirSync(attempts);
      forsake(lock);
      mkdirSync(join(attempts, 'other'));
      writeFileSync(join(attempts, 'other/bag.arrow.partial'), 'half');
    });
    expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'lock-lost', stage: 'write' } });
    expect(own).toHaveLength(1);
    expect(await tree(at('busy/slides'))).toEqual([
      '.a.lock',
      '.a.partial',
      '.a.partial/other',
      '.a.partial/other/bag.arrow.partial',
    ]);
    expect(JSON.parse(await readFile(lock, 'utf8'))).toMatchObject({ token: 'forsaken' });
    // The next one cleans up after both.
    expect(await runOnce('busy')).toMatchObject({ status: 'done' });
    expect((await tree(at('busy'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });
});

describe('a slide that was finished', () => {
  it('is skipped, and what others left of it goes', async () => {
    await runOnce('again');
    await makeFolder(at('again/slides/.a.partial/killed/live'));
    await writeFile(at('again/slides/a/bag.arrow.partial'), 'half');
    expect(await runOnce('again')).toMatchObject({ status: 'done', skipped: true });
    expect((await tree(at('again'))).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });

  it('is made again when its bag is gone', async () => {
    await rm(at('again/slides/a/bag.arrow'));
    expect(await runOnce('again')).toMatchObject({ status: 'done', skipped: false });
    expect(existsSync(at('again/slides/a/bag.arrow'))).toBe(true);
  });
});

describe('a slide that another process was at', () => {
  it('is tried again as often as the others when it fails', async () => {
    const inputs = await findSlides([at('weak.svs')]);
    await makeFolder(at('weak/slides'));
    const lock = (await tryLock(at('weak/slides/.weak.lock')))!;
    const ends: Extract<BatchEvent, { kind: 'end' }>[] = [];
    const onEvent = (event: BatchEvent) => {
      if (event.kind !== 'end') return;
      ends.push(event);
      void lock.release();
    };
    await runBatch(inputs, line, { ...options('weak'), retries: 1, failFast: false, asked: {}, onEvent });
    expect(ends.map(({ outcome, again }) => [outcome.failure?.code, again])).toEqual([
      ['locked', true],
      ['not-a-slide', true],
      ['not-a-slide', false],
    ]);
  });
});
