/** Formats of scanners, on files put together by hand after their published layout, and on real ones where there are any. */
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { RgbImage, Slide } from '../../src/tiling/slide.ts';
import { readTiffPages, tagValue } from '../file-tags.ts';
import { dataFolder, findSlide, isMeasured, slideNames } from '../real-data.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha } from './pictures.ts';
import { type HandPage, writeHandTiff } from './write-tiff.ts';

const folder = await temporaryFolder();
const picture = createPicture(300, 200);
const half = createPicture(150, 100, 2);
const macro = createPicture(40, 30, 3);

/** Hamamatsu's tags. */
const [LENS, FOCAL_PLANE] = [65421, 65424];

async function levelOf(slide: Slide, level: number): Promise<Uint8Array> {
  const { width, height } = slide.levels[level]!;
  return withoutAlpha((await slide.readRegion(0, 0, level, width, height)).data);
}

async function write(name: string, pages: readonly HandPage[]): Promise<string> {
  const path = join(folder, name);
  await writeHandTiff(path, pages);
  return path;
}

async function expectLevels(slide: Slide, images: readonly RgbImage[]): Promise<void> {
  expect(slide.levels.map(({ width, height }) => [width, height])).toEqual(
    images.map(({ width, height }) => [width, height]),
  );
  for (const [level, image] of images.entries())
    expect(meanDifference(await levelOf(slide, level), image.data)).toBe(0);
}

const ome = (attributes: string) =>
  `<?xml version="1.0"?><!-- a > comment --><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="I:0"><Microscope Manufacturer="Maker &amp; Co"/><Objective ID="O:0" NominalMagnification="20.0"/></Instrument><Image ID="Image:0" Name="scan"><ObjectiveSettings ID="O:0"/><Pixels DimensionOrder="XYCZT" SizeC="3" SizeZ="1" ${attributes}><TiffData IFD="0"/></Pixels></Image><Image Name="macro image"><Pixels><TiffData IFD="1"/></Pixels></Image></OME>`;

describe('OME-TIFF', () => {
  it.each([
    ['PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"', 0.5],
    ['PhysicalSizeX="500" PhysicalSizeXUnit="nm"', 0.5],
    ['', 0.5],
  ])('with its levels as SubIFDs; scale %s', async (attributes, mpp) => {
    const path = await write('a.ome.tif', [
      { image: picture, tile: 64, description: ome(attributes), subPages: [{ image: half, tile: 64 }] },
      { image: macro, tile: 16 },
    ]);
    const slide = await openSlide(path);
    expect(slide).toMatchObject({
      format: 'ome-tiff',
      vendor: 'Maker & Co',
      objectivePower: 20,
      scale: { mpp, source: attributes ? 'file' : 'objective' },
      associated: ['macro'],
    });
    await expectLevels(slide, [picture, half]);
    expect(meanDifference(withoutAlpha((await slide.readAssociated('macro')).data), macro.data)).toBe(0);
    await slide.close();
  });

  it('whose XML is cut off is refused', async () => {
    const path = await write('b.ome.tif', [{ image: half, tile: 64, description: ome('').slice(0, 300) }]);
    await expect(openSlide(path)).rejects.toMatchObject({
      code: 'damaged-slide',
      problem: expect.stringContaining('XML'),
    });
  });

  const real = slideNames.filter((name) => /\.ome\.tiff?$/.test(name));
  it.skipIf(real.length === 0).each(real.length > 0 ? real : ['none among the slides'])(
    'a real one, %s',
    async (name) => {
      const path = join(dataFolder, 'slides', name);
      const [page] = readTiffPages(path);
      const images = String(page!.get(270))
        .match(/<(?:\w+:)?Pixels\b[^>]*>/g)!
        .map((pixels) =>
          ['SizeX', 'SizeY', 'SizeC'].map((key) => Number(new RegExp(`${key}="(\\d+)"`).exec(pixels)![1])),
        );
      const [width, height, channels] = images.reduce((widest, image) => (image[0]! > widest[0]! ? image : widest));
      const slide = await openSlide(path);
      expect(slide.format).toBe('ome-tiff');
      expect(slide.levels[0]).toMatchObject({ width, height });
      const samples = page!.has(277) ? tagValue(page!, 277) : 1;
      expect(slide.properties['ome.channels']).toBe(String(samples > 1 ? 1 : channels));
      await slide.close();
    },
  );

  it.skipIf(!isMeasured('slides/multi-channel.ome.tif'))(
    'a real one of three signed channels on pages of their own (skipped if missing or another file)',
    async () => {
      const slide = await openSlide(join(dataFolder, 'slides/multi-channel.ome.tif'));
      expect(slide).toMatchObject({ format: 'ome-tiff', properties: { 'ome.channels': '3' } });
      const level = await levelOf(slide, 0);
      // By ImageMagick's reading of the samples: -1 to 96, shown from black at -128.
      expect(Math.min(...level.subarray(0, 30_000))).toBeGreaterThanOrEqual(127);
      expect(new Set(level).size).toBeGreaterThan(50);
      await slide.close();
    },
  );
});

describe('TIFF', () => {
  it('with its levels as SubIFDs, and with its colours in planes', async () => {
    const path = await write('c.tif', [
      { image: picture, tile: 64, planar: true, subPages: [{ image: half, tile: 64 }] },
    ]);
    const slide = await openSlide(path);
    expect(slide.format).toBe('tiff');
    await expectLevels(slide, [picture, half]);
    await slide.close();
  });

  it('tiles of lossless WebP, by libvips', async () => {
    const path = join(folder, 'webp.tif');
    const raw = { width: picture.width, height: picture.height, channels: 3 } as const;
    await sharp(picture.data, { raw })
      .tiff({ tile: true, pyramid: true, compression: 'webp', quality: 100 })
      .toFile(path);
    const slide = await openSlide(path);
    const expected = await sharp(path).removeAlpha().raw().toBuffer();
    expect(meanDifference(await levelOf(slide, 0), expected)).toBe(0);
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });

  it('tiles of zstd', async () => {
    const slide = await openSlide(await write('zstd.tif', [{ image: picture, tile: 64, zstd: true }]));
    await expectLevels(slide, [picture]);
    await slide.close();
  });

  it('of 16 bits is refused with a sentence', async () => {
    const path = await write('16.tif', [{ image: half, tile: 64, bits: 16 }]);
    await expect(openSlide(path)).rejects.toMatchObject({
      code: 'unsupported-tiff',
      problem: expect.stringContaining('16, 16, 16 bits'),
    });
  });
});

describe('Philips TIFF', () => {
  it('levels without their filling, tiles that are not stored, the label in base64', async () => {
    const label = await sharp(macro.data, { raw: { width: 40, height: 30, channels: 3 } })
      .jpeg()
      .toBuffer();
    const description = `<?xml version="1.0" encoding="UTF-8"?><DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_MANUFACTURER">PHILIPS</Attribute><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">LABELIMAGE</Attribute><Attribute Name="PIM_DP_IMAGE_DATA">${label.toString('base64')}</Attribute></DataObject><DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute><Attribute Name="DICOM_PIXEL_SPACING">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute></DataObject></Array></Attribute></DataObject>`;
    const path = await write('philips.tif', [
      { image: picture, tile: 64, description, software: 'Philips DP v1.0', empty: 1 },
      // 150 x 100 of tissue in whole tiles.
      { image: half, tile: 64, says: { width: 192, height: 128 } },
    ]);
    const slide = await openSlide(path);
    expect(slide).toMatchObject({
      format: 'philips-tiff',
      vendor: 'philips',
      scale: { mpp: 0.25, source: 'file' },
      associated: ['label'],
    });
    expect(slide.levels.map(({ width, height, downsample }) => [width, height, downsample])).toEqual([
      [300, 200, 1],
      [150, 100, 2],
    ]);
    expect(meanDifference(await levelOf(slide, 1), half.data)).toBe(0);
    expect(await slide.readTile(0, 1, 0)).toBeNull();
    expect(await slide.readAssociated('label')).toMatchObject({ width: 40, height: 30 });
    await slide.close();
  });
});

describe('Leica SCN', () => {
  const scn = (areas: number) =>
    `<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="1000000" sizeY="2000000"><image><device model="SCN400"/><pixels sizeX="40" sizeY="30"><dimension sizeX="40" sizeY="30" r="0" ifd="0"/></pixels><view sizeX="1000000" sizeY="2000000"/></image>${'<image><device model="SCN400"/><pixels sizeX="300" sizeY="200"><dimension sizeX="300" sizeY="200" r="0" ifd="1"/><dimension sizeX="150" sizeY="100" r="1" ifd="2"/></pixels><view sizeX="150000" sizeY="100000" offsetX="5" offsetY="5"/><scanSettings><objectiveSettings><objective>20</objective></objectiveSettings></scanSettings></image>'.repeat(areas)}</collection></scn>`;
  const pages = (areas: number): HandPage[] => [
    { image: macro, tile: 16, description: scn(areas) },
    { image: picture, tile: 64 },
    { image: half, tile: 64 },
  ];

  it('levels and macro picture by the XML', async () => {
    const slide = await openSlide(await write('a.scn', pages(1)));
    expect(slide).toMatchObject({
      format: 'leica-scn',
      scale: { mpp: 0.5, source: 'file' },
      objectivePower: 20,
      associated: ['macro'],
    });
    await expectLevels(slide, [picture, half]);
    await slide.close();
  });

  it('with several areas is no slide of its own', async () => {
    const path = await write('b.scn', pages(2));
    const error = await openSlide(path).catch((caught) => caught);
    // With the library there is another reason: these files are by hand.
    expect(['needs-openslide', 'damaged-slide']).toContain(error.code);
    expect(error.problem).toContain(path);
  });
});

describe('Ventana BIF', () => {
  const pages = (overlap: number): HandPage[] => [
    {
      image: macro,
      tile: 16,
      description: 'Label_Image',
      xmp: '<iScan Magnification="20" ScanRes="0.5" ScannerModel="VENTANA DP 200"/>',
    },
    {
      image: picture,
      tile: 64,
      description: 'level=0 mag=20 quality=95',
      xmp: `<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo><TileJointInfo Direction="RIGHT" Tile1="1" Tile2="2" OverlapX="${overlap}" OverlapY="0"/></ImageInfo></SlideStitchInfo></EncodeInfo>`,
    },
    { image: half, tile: 64, description: 'level=1 mag=10 quality=95' },
  ];

  it('without overlap', async () => {
    const slide = await openSlide(await write('a.bif', pages(0)));
    expect(slide).toMatchObject({ format: 'ventana-bif', scale: { mpp: 0.5, source: 'file' }, associated: ['macro'] });
    await expectLevels(slide, [picture, half]);
    await slide.close();
  });

  it('with overlap is no slide of its own', async () => {
    const error = await openSlide(await write('b.bif', pages(7))).catch((caught) => caught);
    expect(['needs-openslide', 'damaged-slide']).toContain(error.code);
  });
});

describe('Deep Zoom, by libvips', () => {
  it.each([
    [0, 'png'],
    [1, 'png'],
    [3, 'jpeg'],
  ] as const)('overlap %i, %s', async (overlap, format) => {
    const image = sharp(picture.data, { raw: { width: 300, height: 200, channels: 3 } });
    const path = join(folder, `zoom-${overlap}`);
    await (format === 'png' ? image.png() : image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' }))
      .tile({ size: 64, overlap, layout: 'dz' })
      .toFile(`${path}.dz`);
    const slide = await openSlide(`${path}.dzi`);
    expect(slide).toMatchObject({ format: 'deep-zoom', scale: { mpp: null } });
    expect(slide.levels.map(({ width, height }) => [width, height])).toEqual([
      [300, 200],
      [150, 100],
      [75, 50],
    ]);
    expect(meanDifference(await levelOf(slide, 0), picture.data)).toBeLessThanOrEqual(format === 'png' ? 0 : 2);
    // A missing tile is a hole.
    await rename(`${path}_files/9/1_1.${format}`, `${path}_files/9/away`);
    await expect(slide.readTile(0, 1, 1)).rejects.toMatchObject({ code: 'unreadable-tile' });
    await slide.close();
  });
});

const ndpi = findSlide('test3-DAPI-2-387.ndpi', '.ndpi');

describe.skipIf(ndpi === null)('Hamamatsu NDPI (skipped if there is none among the slides)', () => {
  it('has the levels that lie in the file, and three more as OpenSlide shows them', async () => {
    const pages = readTiffPages(ndpi!);
    // Macro picture and map have lenses of less than nothing, other focal planes a number of their own.
    const sizes = pages
      .filter((page) => tagValue(page, LENS) > 0 && (!page.has(FOCAL_PLANE) || tagValue(page, FOCAL_PLANE) === 0))
      .map((page) => [tagValue(page, 256), tagValue(page, 257)] as const)
      .sort(([a], [b]) => b - a);
    const [full, smallest] = [sizes[0]!, sizes.at(-1)!];
    const slide = await openSlide(ndpi!);
    expect(slide.format).toBe('hamamatsu-ndpi');
    expect(slide.levels.map(({ width, height }) => [width, height])).toEqual([
      ...sizes,
      ...[2, 4, 8].map((by) => smallest.map((size) => Math.floor(size / by))),
    ]);
    const [perUnit, unit] = [tagValue(pages[0]!, 282), tagValue(pages[0]!, 296)];
    expect(slide.scale.mpp).toBeCloseTo((unit === 3 ? 10_000 : 25_400) / perUnit, 5);
    expect(slide.levels[0]).toMatchObject({ width: full[0], height: full[1], downsample: 1 });
    expect(await slide.readStoredTile(sizes.length, 0, 0)).toBeNull();
    await slide.close();
  });

  it.skipIf(!isMeasured('slides/test3-DAPI-2-387.ndpi'))(
    'has what OpenSlide shows (skipped for another file)',
    async () => {
      const slide = await openSlide(ndpi!);
      expect(slide).toMatchObject({ format: 'hamamatsu-ndpi', objectivePower: 40, associated: ['macro'] });
      expect(slide.scale.mpp).toBeCloseTo(0.22818, 5);
      expect(slide.levels.map(({ width, height }) => [width, height])).toEqual(
        [3968, 1984, 992, 496, 248, 124, 62].map((width) => [width, (width * 38) / 31]),
      );
      await slide.close();
    },
  );

  it('stored tiles stand alone, and equal the whole picture as libvips decodes it', async () => {
    const slide = await openSlide(ndpi!);
    const level = slide.levels.length - 4;
    const row = Number(slide.levels[level]!.height >= 2 * slide.levels[level]!.tileHeight);
    const stored = await slide.readStoredTile(level, 0, row);
    const byLibvips = await sharp(stored!.bytes).removeAlpha().raw().toBuffer();
    expect(meanDifference(byLibvips, (await slide.readTileRgb(level, 0, row))!.data)).toBeLessThan(1);
    await slide.close();
  });

  it('beyond 4 GB: next directories of eight bytes, upper halves behind the entries', async () => {
    const original = await readFile(ndpi!);
    const shift = 5_000_000_000;
    const path = join(folder, 'large.ndpi');
    const file = await open(path, 'w');
    await file.write(original, 0, undefined, shift);
    // Each directory anew, behind the copy.
    let at = shift + original.length + 1;
    const header = Buffer.from(original.subarray(0, 12));
    header.writeBigUInt64LE(BigInt(at), 4);
    await file.write(header, 0, 12, 0);
    for (let from = original.readUInt32LE(4); from !== 0; ) {
      const count = original.readUInt16LE(from);
      const bytes = Buffer.alloc(2 + count * 16 + 8);
      original.copy(bytes, 0, from, from + 2 + count * 12);
      const next = original.readUInt32LE(from + 2 + count * 12);
      if (next !== 0) bytes.writeBigUInt64LE(BigInt(at + bytes.length), 2 + count * 12);
      for (let i = 0; i < count; i++) {
        const entry = 2 + i * 12;
        const type = bytes.readUInt16LE(entry + 2);
        const size = bytes.readUInt32LE(entry + 4) * ({ 3: 2, 4: 4, 5: 8, 9: 4, 10: 8, 12: 8 }[type] ?? 1);
        if (size <= 4 && bytes.readUInt16LE(entry) !== 273) continue;
        const place = bytes.readUInt32LE(entry + 8) + shift;
        bytes.writeUInt32LE(place % 2 ** 32, entry + 8);
        bytes.writeUInt32LE(Math.floor(place / 2 ** 32), 2 + count * 12 + 8 + i * 4);
      }
      await file.write(bytes, 0, undefined, at);
      at += bytes.length;
      from = next;
    }
    await file.close();
    const [large, small] = await Promise.all([openSlide(path), openSlide(ndpi!)]);
    expect(large.levels).toEqual(small.levels);
    const level = Math.min(2, small.levels.length - 1);
    const row = Math.floor(small.levels[level]!.height / small.levels[level]!.tileHeight / 2);
    expect(await large.readTileRgb(level, 0, row)).toEqual(await small.readTileRgb(level, 0, row));
    await Promise.all([large.close(), small.close()]);
  });
});
