/** Slides through libopenslide, against our own reading of the same file. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openByteSource } from '../../src/tiling/byte-source.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { isOpenSlideInstalled, openWithOpenSlide } from '../../src/tiling/openslide.ts';
import { findSlide } from '../real-data.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha } from './pictures.ts';
import { type HandPage, writeHandTiff } from './write-tiff.ts';

const svs = findSlide('CMU-1-Small-Region.svs', '.svs');
const folder = await temporaryFolder();

describe.skipIf(!isOpenSlideInstalled() || svs === null)(
  'libopenslide on a real slide (skipped if it is missing, or an SVS among the slides)',
  () => {
    it('gives the same slide: levels, scale, pixels over the edge, associated images', async () => {
      const [theirs, ours] = await Promise.all([
        openByteSource(svs!).then((source) => openWithOpenSlide(source, {}, '')),
        openSlide(svs!),
      ]);
      const { scale, objectivePower } = ours;
      expect(theirs).toMatchObject({ format: 'openslide', vendor: 'aperio', scale, objectivePower });
      expect(theirs.levels.map(({ width, height }) => [width, height])).toEqual(
        ours.levels.map(({ width, height }) => [width, height]),
      );
      const { width, height } = ours.levels[0]!;
      for (const [right, below] of [
        [720, 1667],
        [120, 117],
      ] as const) {
        const [x, y] = [Math.max(0, width - right), Math.max(0, height - below)];
        const regions = await Promise.all([theirs, ours].map((slide) => slide.readRegion(x, y, 0, 300, 300)));
        expect(meanDifference(regions[0]!.data, regions[1]!.data)).toBeLessThan(0.5);
      }
      expect(theirs.associated).toEqual(expect.arrayContaining([...ours.associated]));
      if (ours.associated.includes('label')) {
        const labels = await Promise.all([theirs, ours].map((slide) => slide.readAssociated('label')));
        expect(labels[0]).toEqual(labels[1]);
      }
      await Promise.all([theirs.close(), ours.close()]);
    });
  },
);

/** As much of the scanners' documents as libopenslide asks for. */
const philips = (() => {
  const level = (number: number, mm: number) =>
    `<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">&quot;${mm}&quot; &quot;${mm}&quot;</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER">${number}</Attribute></DataObject>`;
  return `<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_MANUFACTURER">PHILIPS</Attribute><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute><Attribute Name="DICOM_PIXEL_SPACING">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>${level(0, 0.00025)}${level(1, 0.0005)}</Array></Attribute></DataObject></Array></Attribute></DataObject>`;
})();

const leica = (() => {
  const settings = (power: number) =>
    `<scanSettings><objectiveSettings><objective>${power}</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>`;
  return `<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c" sizeX="1000000" sizeY="2000000"><barcode></barcode><image name="m"><creationDate>2020</creationDate><device model="SCN400" version="1"/><pixels sizeX="40" sizeY="30"><dimension sizeX="40" sizeY="30" r="0" ifd="0"/></pixels><view sizeX="1000000" sizeY="2000000" offsetX="0" offsetY="0"/>${settings(1)}</image><image name="i"><creationDate>2020</creationDate><device model="SCN400" version="1"/><pixels sizeX="320" sizeY="192"><dimension sizeX="320" sizeY="192" r="0" ifd="1"/><dimension sizeX="160" sizeY="96" r="1" ifd="2"/></pixels><view sizeX="160000" sizeY="96000" offsetX="0" offsetY="0"/>${settings(20)}</image></collection></scn>`;
})();

const ventana = (() => {
  const [columns, rows] = [5, 3];
  // Numbered from the bottom left, there and back, as the scanner goes.
  const number = (column: number, row: number) => row * columns + (row % 2 === 0 ? column : columns - 1 - column) + 1;
  const joint = (direction: string, first: number, second: number) =>
    `<TileJointInfo FlagJoined="1" Confidence="99" Direction="${direction}" Tile1="${first}" Tile2="${second}" OverlapX="0" OverlapY="0"/>`;
  const joints = Array.from({ length: columns * rows }, (_, i) => {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    const right = column + 1 < columns ? joint('RIGHT', number(column, row), number(column + 1, row)) : '';
    return right + (row + 1 < rows ? joint('UP', number(column, row), number(column, row + 1)) : '');
  });
  return `<EncodeInfo Ver="2"><SlideInfo><AoiInfo XIMAGESIZE="64" YIMAGESIZE="64" NumOfAoi="1"/></SlideInfo><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="${rows}" NumCols="${columns}" Width="64" Height="64" Pos-X="0" Pos-Y="0">${joints.join('')}</ImageInfo></SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>`;
})();

describe.skipIf(!isOpenSlideInstalled())('libopenslide (skipped if it is missing)', () => {
  const picture = createPicture(320, 192);
  const half = createPicture(160, 96, 2);
  const macro = createPicture(40, 30, 3);

  // No file of these scanners is at hand. That a reader by others takes the ones of our tests for theirs is the next best thing.
  it.each<[string, string, readonly HandPage[]]>([
    [
      'philips',
      'a.tiff',
      [
        { image: picture, tile: 64, description: philips, software: 'Philips DP v1.0' },
        { image: half, tile: 64, says: { width: 192, height: 128 } },
      ],
    ],
    [
      'leica',
      'a.scn',
      [
        { image: macro, tile: 16, description: leica },
        { image: picture, tile: 64 },
        { image: half, tile: 64 },
      ],
    ],
    [
      'ventana',
      'a.bif',
      [
        {
          image: macro,
          tile: 16,
          description: 'Label_Image',
          xmp: '<iScan Magnification="20" ScanRes="0.5" ScannerModel="VENTANA DP 200" Z-layers="1"/>',
        },
        { image: picture, tile: 64, description: 'level=0 mag=20 quality=95', xmp: ventana },
        { image: half, tile: 64, description: 'level=1 mag=10 quality=95' },
      ],
    ],
  ])('takes our file of %s for one, and reads the same in it', async (vendor, name, pages) => {
    const path = join(folder, name);
    await writeHandTiff(path, pages);
    const [theirs, ours] = await Promise.all([
      openByteSource(path).then((source) => openWithOpenSlide(source, {}, '')),
      openSlide(path),
    ]);
    expect(theirs.vendor).toBe(vendor);
    expect(ours.format).toContain(vendor);
    expect(theirs.levels).toHaveLength(ours.levels.length);
    for (const [level, image] of [picture, half].entries()) {
      const regions = await Promise.all(
        [theirs, ours].map((slide) => slide.readRegion(0, 0, level, image.width, image.height)),
      );
      expect(withoutAlpha(regions[1]!.data)).toEqual(image.data);
      expect(regions[0]!.data).toEqual(regions[1]!.data);
    }
    await Promise.all([theirs.close(), ours.close()]);
  });
});

describe('a slide of another scanner that nobody can read', () => {
  it('is refused with what to install, or with what the library says', async () => {
    const path = join(folder, 'a.mrxs');
    await writeFile(path, Buffer.from('ffd8ffe0', 'hex'));
    const error = await openSlide(path).catch((caught) => caught);
    expect(error.code).toBe(isOpenSlideInstalled() ? 'damaged-slide' : 'needs-openslide');
    expect(error.message).toContain(path);
    if (error.code === 'needs-openslide') expect(error.hint).toMatch(/^Install it: apt install/);
  });
});
