import { mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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
  await mkdir(join(folder, 'a'));
  for (const name of files) await writeFile(join(folder, 'a', name), '');
  await record();
});
afterAll(() => Promise.all(folders.map((path) => rm(path, { recursive: true }))));

const files = ['bag.arrow', 'thumbnail.jpg'];

/** As a run writes it. */
async function record(changes: object = { files }): Promise<void> {
  const madeFrom = { configuration: 'this', file: await stampOf(slide) };
  const written = { id: 'a', hash: await hashSlide(slide), madeFrom, ...changes };
  await writeFile(join(folder, 'a/slide.json'), JSON.stringify(written));
}

/** The slide in several files, the pixels in one of them. */
async function several(source: string, pixels: string): Promise<void> {
  slide = join(folder, source);
  await mkdir(dirname(join(folder, pixels)), { recursive: true });
  if (source.endsWith('.mrxs')) await writeFile(slide, 'head');
  await writeFile(join(folder, pixels), 'pixels');
  await record();
}

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

  it('not when a file that its record lists is gone', async () => {
    await rm(join(folder, 'a/thumbnail.jpg'));
    expect(await finished()).toBe(null);
  });

  it('not when its bag is gone, by a record that lists no files', async () => {
    await record({});
    expect(await finished()).toBe('a');
    await rm(join(folder, 'a/bag.arrow'));
    expect(await finished()).toBe(null);
    await writeFile(join(folder, 'a/coords.arrow'), '');
    expect(await finished()).toBe('a');
  });

  it.each([
    ['a folder of DICOM', 'series', 'series/2.dcm'],
    ['a file of MIRAX', 'm.mrxs', 'm/Data0001.dat'],
  ])('not when one file of it was changed in its place: %s', async (_, source, pixels) => {
    await several(source, pixels);
    expect(await finished()).toBe('a');
    await writeFile(join(folder, pixels), 'others');
    expect(await finished()).toBe(null);
    await writeFile(join(folder, pixels), 'pixels');
    expect(await finished()).toBe('a');
    await rename(join(folder, pixels), join(folder, `${pixels}.bak`));
    expect(await finished()).toBe(null);
  });

  it('by the stamp of its one file as it always was', async () => {
    await utimes(slide, 1, 2);
    expect(await stampOf(slide)).toEqual({ bytes: 6, modified: 2000 });
    expect(await stampOf('https://example.org/a.svs')).toBe(null);
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
