import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toExpression } from '../../src/run/glob.ts';
import { findSlides } from '../../src/run/slide-inputs.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { createPicture } from '../tiling/pictures.ts';
import { type DicomOptions, dicomFile } from '../tiling/write-dicom.ts';

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

describe('folders that are slides', () => {
  const picture = createPicture(150, 100);
  const at = (...parts: string[]) => join(folder, 'formats', ...parts);
  const dicom = async (path: string, options: DicomOptions) => {
    await mkdir(dirname(at(path)), { recursive: true });
    await writeFile(at(path), await dicomFile(picture, 64, options));
  };

  beforeAll(async () => {
    await dicom('one.study.7/level0.dcm', { series: '1.2' });
    await dicom('one.study.7/IM0002', { series: '1.2', flavour: 'LABEL' });
    await dicom('one.study.7/report.dcm', { series: '1.9', sopClass: '1.2.840.10008.5.1.4.1.1.88.11' });
    await writeFile(at('one.study.7/readme.txt'), 'no slide');
    await mkdir(at('zoomed'));
    await sharp(picture.data, { raw: { width: 150, height: 100, channels: 3 } })
      .tile({ size: 64, layout: 'dz' })
      .toFile(at('zoomed/a.dz'));
    await sharp(picture.data, { raw: { width: 150, height: 100, channels: 3 } })
      .tile({ size: 64, layout: 'dz' })
      .toFile(at('b.dz'));
    await writeFile(at('plain.svs'), '');
    await dicom('alone.dcm', { series: '1.5' });
  });

  const named = async (...parts: string[]) =>
    (await findSlides([at(...parts)])).map(({ source, id }) => `${id} ${source.slice(at().length + 1)}`);

  it('DICOM files of one series are one slide, whatever else lies there', async () => {
    expect(await named('one.study.7')).toEqual(['one.study.7 one.study.7']);
    const slide = await openSlide(at('one.study.7'));
    expect(slide).toMatchObject({ format: 'dicom', levels: [{ width: 150 }], associated: ['label'] });
    await slide.close();
  });

  it('Deep Zoom is one slide, by its folder, by the folder of its tiles, and by its descriptor', async () => {
    expect(await named('zoomed')).toEqual(['a zoomed/a.dzi']);
    expect(await named('zoomed/a_files')).toEqual(['a zoomed/a.dzi']);
    expect(await named('zoomed/a.dzi')).toEqual(['a zoomed/a.dzi']);
    for (const path of ['zoomed', 'zoomed/a_files']) {
      const slide = await openSlide(at(path));
      expect(slide).toMatchObject({ format: 'deep-zoom', levels: [{ width: 150, height: 100 }, {}] });
      await slide.close();
    }
  });

  it('a folder of slides of all kinds has each of them once', async () => {
    expect(await named('')).toEqual([
      'alone alone.dcm',
      'b b.dzi',
      'one.study.7 one.study.7',
      'plain plain.svs',
      'a zoomed/a.dzi',
    ]);
  });

  it('of several series in one folder, what is a slide is taken, and the rest says what is wrong when its turn comes', async () => {
    await dicom('several/a.dcm', { series: '1.6' });
    await dicom('several/b.dcm', { series: '1.7' });
    expect(await named('several')).toEqual(['a several/a.dcm', 'b several/b.dcm']);
    await dicom('several/c.dcm', { series: '1.7', flavour: 'LABEL' });
    expect(await named('several')).toEqual(['several several', 'a several/a.dcm']);
    await expect(openSlide(at('several'))).rejects.toMatchObject({ code: 'several-slides' });
  });

  it('a damaged DICOM file is a slide that fails, not the end of the others', async () => {
    await dicom('damaged/a.dcm', { series: '1.6' });
    await writeFile(at('damaged/b.dcm'), 'DICM? no');
    await writeFile(at('damaged/c.dcm'), (await dicomFile(picture, 64, { series: '1.8' })).subarray(0, 300));
    expect(await named('damaged')).toEqual(['a damaged/a.dcm', 'b damaged/b.dcm', 'c damaged/c.dcm']);
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
