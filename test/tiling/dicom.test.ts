/** DICOM slides: real files of two transfer syntaxes, and files put together here after the standard (PS3.3 C.8.12, PS3.5 A.4). */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { dicomNumbers } from '../file-tags.ts';
import { dataFolder, isMeasured, slideNames } from '../real-data.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha } from './pictures.ts';
import { type DicomOptions, dicomFile } from './write-dicom.ts';

async function wholeLevel(slide: Slide, level = 0): Promise<Uint8Array> {
  const { width, height } = slide.levels[level]!;
  return withoutAlpha((await slide.readRegion(0, 0, level, width, height)).data);
}

const slides = join(dataFolder, 'slides');
const real = slideNames.filter((name) => name.endsWith('.dcm'));

describe.skipIf(real.length === 0)(`real DICOM slides (skipped if ${slides} has none)`, () => {
  it.each(real)('%s: size, tiles and scale are those of its header, however coarse', async (name) => {
    const path = join(slides, name);
    const slide = await openSlide(path);
    const [width, height] = [6, 7].map((element) => dicomNumbers(path, 0x48, element, 'UL')[0]);
    const [tileHeight, tileWidth] = [0x10, 0x11].map((element) => dicomNumbers(path, 0x28, element, 'US')[0]);
    expect(slide).toMatchObject({ format: 'dicom', levels: [{ width, height, downsample: 1, tileWidth, tileHeight }] });
    const spacing = dicomNumbers(path, 0x28, 0x30, 'DS');
    expect(slide.scale.source).toBe(spacing.length > 0 ? 'file' : 'none');
    if (spacing.length > 0) expect(slide.scale.mpp).toBeCloseTo((1000 * (spacing[0]! + spacing[1]!)) / 2, 3);
    if (width! * height! < 1e7) await wholeLevel(slide);
    expect(slide.unreadable).toEqual([]);
    const stored = await slide.readStoredTile(0, 0, 0);
    if (stored?.mime === 'image/jpeg') {
      const tile = await slide.readTileRgb(0, 0, 0);
      const byLibvips = await sharp(stored.bytes).removeAlpha().raw().toBuffer();
      if (byLibvips.length === tile!.data.length) expect(meanDifference(byLibvips, tile!.data)).toBeLessThan(1);
    }
    await slide.close();
  });

  it.skipIf(!isMeasured('slides/wsi-jpeg.dcm', 'slides/wsi-jpeg2000-lossless.dcm'))(
    'the same picture in JPEG and in lossless JPEG 2000 differs by what JPEG loses (skipped for other files)',
    async () => {
      const names = ['wsi-jpeg.dcm', 'wsi-jpeg2000-lossless.dcm'];
      const [lossy, lossless] = await Promise.all(names.map((name) => openSlide(join(slides, name))));
      expect(lossy!.scale).toEqual({ mpp: 16.783, source: 'file' });
      expect(lossy!.levels).toEqual([{ width: 957, height: 715, downsample: 1, tileWidth: 256, tileHeight: 256 }]);
      expect(lossless!.levels).toEqual(lossy!.levels);
      const difference = meanDifference(await wholeLevel(lossy!), await wholeLevel(lossless!));
      expect(difference).toBeGreaterThan(0);
      expect(difference).toBeLessThan(2.5);
      const stored = await lossy!.readStoredTile(0, 1, 1);
      const tile = await lossy!.readTileRgb(0, 1, 1);
      expect(meanDifference(await sharp(stored!.bytes).removeAlpha().raw().toBuffer(), tile!.data)).toBeLessThan(1);
      await Promise.all([lossy!.close(), lossless!.close()]);
    },
  );

  it.skipIf(!isMeasured('slides/multiframe_camelyon_challenge_image.dcm'))(
    'a lone low level keeps its true scale (skipped for other files)',
    async () => {
      const slide = await openSlide(join(slides, 'multiframe_camelyon_challenge_image.dcm'));
      expect(slide.scale).toEqual({ mpp: 28.9685, source: 'file' });
      expect(slide.levels[0]).toMatchObject({ width: 1152, height: 700 });
      await slide.close();
    },
  );
});

const folder = await temporaryFolder();
const picture = createPicture(150, 100);

describe('a DICOM slide put together by hand', () => {
  it.each<[string, DicomOptions]>([
    ['uncompressed RGB', {}],
    ['uncompressed RGB, colours apart', { planar: true }],
    ['TILED_SPARSE, frames out of order', { sparse: true }],
    ['sequences of undefined length', { undefinedLengths: true }],
  ])('%s: the pixels are those written', async (name, options) => {
    const path = join(folder, `${name}.dcm`);
    await writeFile(path, await dicomFile(picture, 64, options));
    const slide = await openSlide(path);
    expect(slide).toMatchObject({ scale: { mpp: 0.5, source: 'file' }, objectivePower: 20, vendor: 'by hand' });
    expect(meanDifference(await wholeLevel(slide), picture.data)).toBe(0);
    await slide.close();
  });

  it.each<[string, DicomOptions]>([
    ['with an offset table', { jpeg: 'ycbcr', table: true }],
    ['without an offset table', { jpeg: 'ycbcr' }],
    ['frames in two fragments each, with a table', { jpeg: 'ycbcr', table: true, fragments: 2 }],
    ['frames in two fragments each, without a table', { jpeg: 'ycbcr', fragments: 2 }],
    ['with an extended offset table', { jpeg: 'ycbcr', extended: true }],
  ])('JPEG %s', async (name, options) => {
    const path = join(folder, `jpeg ${name}.dcm`);
    await writeFile(path, await dicomFile(picture, 64, options));
    const slide = await openSlide(path);
    expect(meanDifference(await wholeLevel(slide), picture.data)).toBeLessThan(4);
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });

  it('RGB in JPEG without a marker', async () => {
    // Of mild colours: the writer needs room on both sides.
    const mild = { ...picture, data: picture.data.map((value) => 112 + value / 8) };
    const path = join(folder, 'rgb.dcm');
    await writeFile(path, await dicomFile(mild, 64, { jpeg: 'rgb' }));
    const slide = await openSlide(path);
    const level = await wholeLevel(slide);
    expect(slide.unreadable).toEqual([]);
    expect(meanDifference(level, mild.data)).toBeLessThan(3);
    await slide.close();
  });

  it('a missing place of TILED_SPARSE is empty, not black', async () => {
    const path = join(folder, 'gap.dcm');
    await writeFile(path, await dicomFile(picture, 64, { sparse: true, skip: 1 }));
    const slide = await openSlide(path);
    const { data } = await slide.readRegion(64, 0, 0, 64, 64);
    expect(data.every((value) => value === 0)).toBe(true);
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });

  it('a folder is a slide: levels by size, the label beside them', async () => {
    const path = join(folder, 'study');
    await mkdir(path);
    const half = await sharp(picture.data, { raw: { width: 150, height: 100, channels: 3 } })
      .resize(75, 50)
      .raw()
      .toBuffer();
    await writeFile(join(path, 'a.dcm'), await dicomFile({ width: 75, height: 50, data: half }, 64, { mpp: 1 }));
    await writeFile(join(path, 'b.dcm'), await dicomFile(picture, 64, {}));
    await writeFile(join(path, 'c.dcm'), await dicomFile(createPicture(30, 20), 64, { flavour: 'LABEL' }));
    await writeFile(join(path, 'readme.txt'), 'no slide');
    const slide = await openSlide(path);
    expect(slide.levels.map(({ width }) => width)).toEqual([150, 75]);
    expect(slide).toMatchObject({ scale: { mpp: 0.5 }, associated: ['label'] });
    expect(meanDifference(await wholeLevel(slide, 1), half)).toBe(0);
    expect(await slide.readAssociated('label')).toMatchObject({ width: 30, height: 20 });
    await slide.close();
    await writeFile(join(path, 'd.dcm'), await dicomFile(picture, 64, { series: '1.2.3' }));
    await expect(openSlide(path)).rejects.toMatchObject({ code: 'several-slides' });
  });

  it.each<[string, DicomOptions, string]>([
    ['16 bits', { bits: 16 }, 'unsupported-dicom'],
    ['another transfer syntax', { syntax: '1.2.840.10008.1.2.5' }, 'unsupported-dicom'],
    ['another kind of object', { sopClass: '1.2.840.10008.5.1.4.1.1.2' }, 'unsupported-dicom'],
    ['a scale that the objective contradicts', { mpp: 0.25 }, 'implausible-mpp'],
  ])('%s is refused', async (name, options, code) => {
    const path = join(folder, `${name}.dcm`);
    await writeFile(path, await dicomFile(picture, 64, options));
    await expect(openSlide(path)).rejects.toMatchObject({ code, problem: expect.stringContaining(path) });
  });

  it('cut off in its header or its pixels is refused', async () => {
    const bytes = await dicomFile(picture, 64, {});
    for (const length of [200, 700, bytes.length / 2]) {
      const path = join(folder, `cut ${length}.dcm`);
      await writeFile(path, bytes.subarray(0, length));
      await expect(openSlide(path)).rejects.toMatchObject({ code: 'truncated' });
    }
  });
});
