import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { hashOf, readFinished, stampOf } from '../../src/run/slide-record.ts';
import { hashSlide } from '../../src/tiling/slide-hash.ts';

const folders: string[] = [];
let folder = '';
let slide = '';

beforeEach(async () => {
  folders.push((folder = await mkdtemp(join(tmpdir(), 'lamina-record-'))));
  slide = join(folder, 'a.svs');
  await writeFile(slide, 'pixels');
  const madeFrom = { configuration: 'this', file: await stampOf(slide) };
  await mkdir(join(folder, 'a'));
  await writeFile(join(folder, 'a/slide.json'), JSON.stringify({ id: 'a', hash: await hashSlide(slide), madeFrom }));
});
afterAll(() => Promise.all(folders.map((path) => rm(path, { recursive: true }))));

const finished = async (configuration = 'this') =>
  (await readFinished(join(folder, 'a'), slide, configuration))?.slide.id ?? null;

describe('a slide is finished', () => {
  it('when its record is of the same file and the same configuration', async () => {
    expect(await finished()).toBe('a');
  });

  it('when only the time of the file changed', async () => {
    await utimes(slide, 1, 1);
    expect(await finished()).toBe('a');
  });

  it('not when the file changed', async () => {
    await writeFile(slide, 'others');
    await utimes(slide, 1, 1);
    expect(await finished()).toBe(null);
  });

  it('not when the configuration changed', async () => {
    expect(await finished('that')).toBe(null);
  });

  it('not when the record is damaged', async () => {
    await writeFile(join(folder, 'a/slide.json'), '{"id":"a"');
    expect(await finished()).toBe(null);
  });

  it('not when the file is gone', async () => {
    await rm(slide);
    expect(await finished()).toBe(null);
  });
});

describe('the hash of a configuration', () => {
  it('does not depend on the order of its keys, but on every value', () => {
    expect(hashOf({ a: 1, b: null })).toBe(hashOf({ b: null, a: 1 }));
    expect(hashOf({ a: 1, b: null })).not.toBe(hashOf({ a: 1, b: 0 }));
  });
});
