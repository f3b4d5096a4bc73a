import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toExpression } from '../../src/run/glob.ts';
import { findSlides } from '../../src/run/slide-inputs.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-inputs-'));
  await mkdir(join(folder, 'a/b'), { recursive: true });
  for (const name of ['one.svs', 'two.TIF', 'notes.txt', 'a/one.svs', 'a/b/three.ndpi'])
    await writeFile(join(folder, name), '');
});
afterAll(() => rm(folder, { recursive: true }));

const namesOf = async (...inputs: string[]) =>
  (await findSlides(inputs)).map(({ source }) => source.slice(folder.length + 1));

describe('slides named on the command line', () => {
  it('takes a file, also one that is not there', async () => {
    expect(await findSlides([join(folder, 'gone.svs')])).toMatchObject([
      { id: 'gone', source: join(folder, 'gone.svs') },
    ]);
  });

  it('takes the slides of a folder by their extensions', async () => {
    expect(await namesOf(folder)).toEqual(['one.svs', 'two.TIF']);
  });

  it('takes a pattern that the shell left alone', async () => {
    expect(await namesOf(join(folder, '*.svs'))).toEqual(['one.svs']);
    expect(await namesOf(join(folder, '**/*.{svs,ndpi}'))).toEqual(['a/b/three.ndpi', 'a/one.svs', 'one.svs']);
  });

  it('takes an address as it is', async () => {
    const url = 'https://example.org/slides/My%20slide.svs?key=1';
    expect(await findSlides([url])).toMatchObject([{ id: 'My_slide', source: url }]);
  });

  it('takes a slide named twice once, and gives different slides different ids', async () => {
    const slides = await findSlides([folder, join(folder, 'one.svs'), join(folder, 'a')]);
    expect(slides.map(({ source }) => source.slice(folder.length + 1))).toEqual(['one.svs', 'two.TIF', 'a/one.svs']);
    expect(new Set(slides.map(({ id }) => id)).size).toBe(3);
    expect(slides[0]!.id).toMatch(/^one-[0-9a-f]{8}$/);
  });

  it('refuses a folder without slides', async () => {
    await expect(findSlides([join(folder, 'a/b/none-*')])).rejects.toMatchObject({ code: 'nothing-matched' });
  });
});

describe('a manifest', () => {
  const manifest = async (text: string) => {
    const path = join(folder, 'manifest.csv');
    await writeFile(path, text);
    return path;
  };

  it('gives what it knows of each slide, with paths relative to itself', async () => {
    const path = await manifest('slide,patient,label,mpp,split,site\na/one.svs,P1,tumour,0.25,test,B\ntwo.TIF,,,,,\n');
    expect(await findSlides([path])).toEqual([
      {
        id: 'one',
        source: join(folder, 'a/one.svs'),
        patient: 'P1',
        label: 'tumour',
        mpp: 0.25,
        split: 'test',
        site: 'B',
      },
      { id: 'two', source: join(folder, 'two.TIF'), patient: null, label: null, mpp: null, split: null, site: null },
    ]);
  });

  it('is refused without a slide column, without a slide, or with a scale that is no number', async () => {
    for (const text of ['file\na.svs\n', 'slide,patient\n,P1\n', 'slide,mpp\na.svs,20x\n']) {
      await expect(findSlides([await manifest(text)])).rejects.toMatchObject({ code: 'bad-manifest' });
    }
  });
});

describe('patterns', () => {
  it.each([
    ['*.svs', 'a.svs', true],
    ['*.svs', 'b/a.svs', false],
    ['**/*.svs', 'a.svs', true],
    ['**/*.svs', 'b/c/a.svs', true],
    ['slide-?.tif', 'slide-1.tif', true],
    ['slide-[12].tif', 'slide-3.tif', false],
    ['slide.tif', 'slideXtif', false],
  ])('%s on %s: %s', (pattern, path, matches) => {
    expect(toExpression(pattern).test(path)).toBe(matches);
  });
});
