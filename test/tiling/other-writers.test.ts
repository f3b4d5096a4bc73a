/**
 * Files of writers that share no code with the readers: libvips' and libtiff's own command-line tools, and dcmtk for DICOM. What is not
 * installed is skipped by name; `apt-get install libvips-tools libtiff-tools dcmtk` has all of it.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha } from './pictures.ts';

const run = promisify(execFile);
const folder = await temporaryFolder();
const at = (name: string) => join(folder, name);
const picture = createPicture(700, 531);
const { width, height } = picture;

/** What of the tools is not there, as the end of a test's name; empty if all are. */
function lacking(...tools: string[]): string {
  const missing = tools.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  return missing.length > 0 ? ` (skipped: ${missing.join(', ')} not installed)` : '';
}

beforeAll(async () => {
  const image = sharp(picture.data, { raw: { width, height, channels: 3 } });
  await image.clone().png().toFile(at('picture.png'));
  await image.clone().tiff({ compression: 'none' }).toFile(at('strips.tif'));
});

/** A level of a slide as RGB. */
async function levelOf(path: string, level = 0): Promise<{ rgb: Uint8Array; levels: number[]; format: string }> {
  const slide = await openSlide(path);
  const size = slide.levels[level]!;
  const { data } = await slide.readRegion(0, 0, level, size.width, size.height);
  const levels = slide.levels.map((one): number => one.width);
  expect(slide.unreadable).toEqual([]);
  await slide.close();
  expect(data.every((value, i) => i % 4 !== 3 || value === 255)).toBe(true);
  return { rgb: withoutAlpha(data), levels, format: slide.format };
}

const noVips = lacking('vips');

describe.skipIf(noVips)(`written by vips${noVips}`, () => {
  const save = async (name: string, ...options: string[]) => {
    await run('vips', ['tiffsave', at('picture.png'), at(name), ...options]);
    return at(name);
  };
  const tiles = ['--tile', '--tile-width', '128', '--tile-height', '128', '--pyramid'];

  it.each([
    ['none', []],
    ['lzw', []],
    ['lzw', ['--predictor', 'none']],
    ['deflate', []],
    ['packbits', []],
    ['zstd', []],
    ['zstd', ['--predictor', 'none']],
  ])('tiles, %s %j, as pages and as SubIFDs: the very pixels', async (compression, more) => {
    for (const [layout, options] of Object.entries({
      pages: [],
      subifds: ['--subifd'],
      big: ['--subifd', '--bigtiff'],
    })) {
      const path = await save(
        `${compression}-${layout}-${more.length}.tif`,
        ...tiles,
        ...options,
        '--compression',
        compression,
        ...more,
      );
      const { rgb, levels } = await levelOf(path);
      expect(meanDifference(rgb, picture.data)).toBe(0);
      expect(levels.slice(0, 3)).toEqual([700, 350, 175]);
    }
  });

  it.each([
    ['jpeg', ['--Q', '90']],
    ['jpeg', ['--Q', '75']],
    ['webp', ['--Q', '80']],
    ['jp2k', ['--Q', '60']],
    ['jp2k', ['--lossless']],
  ])('tiles, %s %j: as vips decodes them, at every level', async (compression, more) => {
    const path = await save(`${compression}${more.join('')}.tif`, ...tiles, '--compression', compression, ...more);
    for (const [level, size] of [700, 350, 175].entries()) {
      await run('vips', ['tiffload', path, at('decoded.png'), '--page', `${level}`]);
      const expected = await sharp(at('decoded.png')).removeAlpha().raw().toBuffer();
      const { rgb, levels } = await levelOf(path, level);
      expect(levels[level]).toBe(size);
      expect(meanDifference(rgb, expected)).toBeLessThan(compression === 'webp' ? 0.01 : 1);
    }
  });

  it('Deep Zoom with overlap, as JPEG and PNG', async () => {
    for (const [name, suffix, most] of [
      ['dz-png', '.png', 0],
      ['dz-jpeg', '.jpg[Q=95]', 4],
    ] as const) {
      await run('vips', [
        'dzsave',
        at('picture.png'),
        at(name),
        '--suffix',
        suffix,
        '--tile-size',
        '126',
        '--overlap',
        '2',
      ]);
      const { rgb, format } = await levelOf(at(`${name}.dzi`));
      expect(format).toBe('deep-zoom');
      expect(meanDifference(rgb, picture.data)).toBeLessThanOrEqual(most);
    }
  });
});

const noTiff = lacking('tiffcp');

describe.skipIf(noTiff)(`written by tiffcp${noTiff}`, () => {
  const copy = async (name: string, ...options: string[]) => {
    await run('tiffcp', [...options, at('strips.tif'), at(name)]);
    return at(name);
  };

  it.each([
    [['-c', 'none', '-r', '7']],
    [['-c', 'lzw', '-r', '64']],
    [['-c', 'lzw:2', '-s']],
    [['-c', 'zip', '-s', '-r', '100']],
    [['-c', 'zip:2', '-s', '-8']],
    [['-c', 'packbits', '-s']],
    [['-c', 'lzw:2', '-t', '-w', '64', '-l', '192']],
    [['-c', 'zip:2', '-t', '-w', '128', '-l', '128', '-8']],
    [['-c', 'packbits', '-t', '-w', '128', '-l', '128', '-B']],
    [['-c', 'none', '-t', '-w', '128', '-l', '128', '-B', '-8']],
    [['-c', 'zip', '-t', '-w', '128', '-l', '128', '-p', 'separate']],
    [['-c', 'lzw', '-s', '-p', 'separate', '-r', '50']],
    [['-c', 'none', '-s', '-p', 'separate']],
    [['-c', 'zstd', '-t', '-w', '128', '-l', '128']],
  ])('%j: the very pixels', async (options) => {
    const { rgb } = await levelOf(await copy(`${options.join('')}.tif`.replaceAll(':', ''), ...options));
    expect(meanDifference(rgb, picture.data)).toBe(0);
  });

  it.each([
    ['raw colours', ['-c', 'jpeg:r:90', '-t', '-w', '128', '-l', '128']],
    ['YCbCr', ['-c', 'jpeg:90', '-t', '-w', '128', '-l', '128']],
    ['strips', ['-c', 'jpeg:90', '-s', '-r', '64']],
  ])('JPEG, %s: as libvips decodes it', async (name, options) => {
    const path = await copy(`jpeg ${name}.tif`, ...options);
    const expected = await sharp(path).removeAlpha().raw().toBuffer();
    expect(meanDifference((await levelOf(path)).rgb, expected)).toBeLessThan(1);
  });

  it.skipIf(lacking('tiffset'))('with the description of Aperio or of OME set by tiffset', async () => {
    const aperio = await copy('aperio.tif', '-c', 'zip', '-t', '-w', '256', '-l', '256');
    const line =
      'Aperio Image Library v12.0.15\r\n700x531 (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990|Filename = 1';
    await run('tiffset', ['-s', '270', line, aperio]);
    const svs = await openSlide(aperio);
    expect(svs).toMatchObject({ format: 'aperio-svs', objectivePower: 20, scale: { mpp: 0.499, source: 'file' } });
    await svs.close();
    const ome = await copy('ome.tif', '-c', 'zip', '-t', '-w', '256', '-l', '256');
    const xml = `<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="700" SizeY="531" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.25" PhysicalSizeXUnit="um" PhysicalSizeY="0.25" PhysicalSizeYUnit="um"><Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>`;
    await run('tiffset', ['-s', '270', xml, ome]);
    const { rgb, format } = await levelOf(ome);
    expect(format).toBe('ome-tiff');
    expect(meanDifference(rgb, picture.data)).toBe(0);
  });
});

const noDicom = lacking('dump2dcm', 'dcmcjpeg', 'dcmconv');

describe.skipIf(noDicom)(`written by dcmtk${noDicom}`, () => {
  const side = 128;
  const [columns, rows] = [Math.ceil(width / side), Math.ceil(height / side)];

  /** All frames of TILED_FULL, edges filled up with white; `order` lists them otherwise. */
  function frames(order: readonly number[]): Buffer {
    const pixels = Buffer.alloc(order.length * side * side * 3, 255);
    order.forEach((tile, frame) => {
      const [left, top] = [(tile % columns) * side, Math.floor(tile / columns) * side];
      for (let y = 0; y < Math.min(side, height - top); y++) {
        const from = ((top + y) * width + left) * 3;
        const line = picture.data.subarray(from, from + Math.min(side, width - left) * 3);
        pixels.set(line, (frame * side + y) * side * 3);
      }
    });
    return pixels;
  }

  const uid = '1.2.826.0.1.3680043.9.1';
  const slideClass = '1.2.840.10008.5.1.4.1.1.77.1.6';

  function dump(count: number, raw: string, sparse: readonly number[] | null): string {
    const positions = (sparse ?? []).map(
      (tile) => `(fffe,e000) na
(0048,021a) SQ
(fffe,e000) na
(0048,021e) SL ${(tile % columns) * side + 1}
(0048,021f) SL ${Math.floor(tile / columns) * side + 1}
(fffe,e00d) na
(fffe,e0dd) na
(fffe,e00d) na
`,
    );
    return `(0008,0008) CS ORIGINAL\\PRIMARY\\VOLUME\\NONE
(0008,0016) UI ${slideClass}
(0008,0018) UI ${uid}.2
(0008,0060) CS SM
(0008,0070) LO dcmtk
(0020,000d) UI ${uid}.3
(0020,000e) UI ${uid}.4
(0020,9311) CS ${sparse ? 'TILED_SPARSE' : 'TILED_FULL'}
(0028,0002) US 3
(0028,0004) CS RGB
(0028,0006) US 0
(0028,0008) IS ${count}
(0028,0010) US ${side}
(0028,0011) US ${side}
(0028,0100) US 8
(0028,0101) US 8
(0028,0102) US 7
(0028,0103) US 0
(0048,0006) UL ${width}
(0048,0007) UL ${height}
(5200,9229) SQ
(fffe,e000) na
(0028,9110) SQ
(fffe,e000) na
(0028,0030) DS 0.0005\\0.0005
(fffe,e00d) na
(fffe,e0dd) na
(fffe,e00d) na
(fffe,e0dd) na
${sparse ? `(5200,9230) SQ\n${positions.join('')}(fffe,e0dd) na\n` : ''}(7fe0,0010) OB =${raw}
`;
  }

  /** Writes `NAME.dcm`, uncompressed, explicit lengths unless told otherwise. */
  async function write(name: string, sparse: readonly number[] | null, ...options: string[]): Promise<string> {
    const order = sparse ?? Array.from({ length: columns * rows }, (_, i) => i);
    await writeFile(at(`${name}.raw`), frames(order));
    await writeFile(at(`${name}.dump`), dump(order.length, at(`${name}.raw`), sparse));
    await run('dump2dcm', ['+te', ...options, at(`${name}.dump`), at(`${name}.dcm`)]);
    return at(`${name}.dcm`);
  }

  it('TILED_FULL, with lengths and without: the very pixels', async () => {
    for (const lengths of ['+e', '-e']) {
      const path = await write(`full${lengths}`, null, lengths);
      const { rgb, format } = await levelOf(path);
      expect(format).toBe('dicom');
      expect(meanDifference(rgb, picture.data)).toBe(0);
      const slide = await openSlide(path);
      expect(slide).toMatchObject({ scale: { mpp: 0.5, source: 'file' }, vendor: 'dcmtk' });
      await slide.close();
    }
  });

  it('TILED_SPARSE, its frames shuffled: the very pixels', async () => {
    const order = Array.from({ length: columns * rows }, (_, i) => (i * 7) % (columns * rows));
    expect(meanDifference((await levelOf(await write('sparse', order))).rgb, picture.data)).toBe(0);
  });

  it.each([
    ['with a table of offsets', ['+ot']],
    ['without one', ['-ot']],
    ['in fragments', ['+fs', '2']],
  ])('compressed by dcmcjpeg to JPEG baseline, %s: as dcmdjpeg decodes it', async (name, options) => {
    const path = await write(`jpeg ${name}`, null);
    await run('dcmcjpeg', ['+eb', '+q', '90', ...options, path, at(`compressed ${name}.dcm`)]);
    await run('dcmdjpeg', [at(`compressed ${name}.dcm`), at(`again ${name}.dcm`)]);
    const [ours, theirs] = [await levelOf(at(`compressed ${name}.dcm`)), await levelOf(at(`again ${name}.dcm`))];
    expect(meanDifference(ours.rgb, theirs.rgb)).toBeLessThan(1);
    expect(meanDifference(ours.rgb, picture.data)).toBeLessThan(5);
  });

  it('a folder with a DICOMDIR beside it is one slide', async () => {
    const study = join(folder, 'study');
    await mkdir(study);
    const path = await write('level', null);
    await writeFile(join(study, 'IM0001'), await readFile(path));
    const index = `(0004,1130) CS STUDY\n(0004,1220) SQ\n(fffe,e0dd) na\n`;
    await writeFile(at('index.dump'), index);
    await run('dump2dcm', ['+te', '--generate-new-uids', at('index.dump'), join(study, 'DICOMDIR')]);
    const slide = await openSlide(study);
    expect(slide.levels).toHaveLength(1);
    await slide.close();
  });

  it('another transfer syntax is refused in words', async () => {
    const path = await write('implicit', null);
    for (const [name, tool, ...options] of [
      ['implicit', 'dcmconv', '+ti'],
      ['big-endian', 'dcmconv', '+tb'],
      ['rle', 'dcmcrle'],
    ] as const) {
      await run(tool, [...options, path, at(`${name}.dcm`.replace('implicit', 'implicit-vr'))]);
      const written = at(`${name}.dcm`.replace('implicit', 'implicit-vr'));
      await expect(openSlide(written)).rejects.toMatchObject({ code: 'unsupported-dicom' });
    }
  });
});
