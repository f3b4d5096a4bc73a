/**
 * DICOM whole slide images (supplement 145): one file is one level or one associated image, tiles are its frames.
 * A file is a slide of one level; a folder of files of one series is a slide with all of them.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { type ByteSource, openByteSource } from './byte-source.ts';
import {
  type DicomData,
  type DicomFile,
  type DicomTag,
  damagedDicom,
  isDicom,
  numberOf,
  numbersOf,
  readDicom,
  storageClassOf,
  textOf,
} from './dicom-data.ts';
import { openFrames } from './dicom-frames.ts';
import { jpegPrefix, spliceJpeg } from './jpeg-stream.ts';
import { type GivenScale, scaleOf } from './physical-scale.ts';
import type { Slide } from './slide.ts';
import type { SlideFormat } from './slide-format.ts';
import { joinPlanes, type TileEncoding } from './tile-encoding.ts';
import type { TileGrid } from './tile-grid.ts';
import { createTiledSlide } from './tiled-slide.ts';

export const dicom: SlideFormat = {
  name: 'dicom',
  recognises: async ({ head }) => isDicom(head),
  async open({ source }, given) {
    return slideOf(source, [await openInstance(source, await readDicom(source))], given);
  },
};

/**
 * The slide whose levels are the files of a folder; what is no DICOM, or another kind of it (an index, annotations), is passed over.
 * @throws UserError `is-a-folder` if there is none, `several-slides` if they are of more than one series.
 */
export async function openDicomFolder(folder: string, given: GivenScale): Promise<Slide> {
  const names = (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  const sources: ByteSource[] = [];
  const closeAll = async () => {
    await Promise.all(sources.map((source) => source.close()));
  };
  try {
    const instances: Instance[] = [];
    for (const name of names.sort()) {
      const source = await openIfDicom(join(folder, name));
      if (source === null || source === 'another kind') continue;
      sources.push(source);
      const file = await readDicom(source);
      if (textOf(file.data.get(tags.sopClass)) === slideClass) instances.push(await openInstance(source, file));
    }
    if (instances.length === 0) {
      throw new UserError(
        'is-a-folder',
        `${folder} is a folder, not a slide, and holds no DICOM slide.`,
        'Name a slide file in it.',
      );
    }
    if (new Set(instances.map(({ series }) => series)).size > 1) {
      throw new UserError(
        'several-slides',
        `${folder} holds DICOM files of more than one series.`,
        'Put the files of each slide into a folder of their own, or name a single file.',
      );
    }
    const length = sources.reduce((sum, source) => sum + source.length, 0);
    return slideOf({ ...sources[0]!, name: folder, length, close: closeAll }, instances, given);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/**
 * The DICOM slides of a folder, the files of one series together. A file that cannot be read is a series of its own.
 */
export async function dicomSeriesIn(folder: string): Promise<string[][]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const series = new Map<string, string[]>();
  for (const { name } of entries.filter((entry) => !entry.isDirectory()).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, name);
    const key = await seriesOf(path).catch(() => path);
    if (key === null) continue;
    const files = series.get(key);
    if (files) files.push(path);
    else series.set(key, [path]);
  }
  return [...series.values()];
}

/** Null for a file that is no DICOM slide; its own path for one that does not say, and for one that is none in spite of its name. */
async function seriesOf(path: string): Promise<string | null> {
  const source = await openIfDicom(path);
  if (source === 'another kind') return null;
  if (source === null) return /\.dcm$/i.test(path) ? path : null;
  try {
    const { data } = await readDicom(source);
    return textOf(data.get(tags.sopClass)) === slideClass ? (textOf(data.get(tags.series)) ?? path) : null;
  } finally {
    await source.close();
  }
}

/** Null if it is no DICOM, `another kind` if it says that it holds something else than a slide. */
async function openIfDicom(path: string): Promise<ByteSource | 'another kind' | null> {
  const source = await openByteSource(path).catch((error) => {
    if (error instanceof UserError && error.code === 'empty-file') return null;
    throw error;
  });
  if (source === null) return null;
  const head = await source.read(0, Math.min(source.length, 4096));
  const kind = isDicom(head) ? (storageClassOf(head) ?? slideClass) : null;
  if (kind === slideClass) return source;
  await source.close();
  return kind === null ? null : 'another kind';
}

interface Instance {
  /** `VOLUME`, `LABEL`, `OVERVIEW` or `THUMBNAIL`. */
  readonly flavour: string;
  readonly series: string | null;
  readonly data: DicomData;
  /** Micrometres per pixel. */
  readonly mpp: number | null;
  /** Whether it says that it was reduced from a finer one. */
  readonly resampled: boolean;
  readonly grid: TileGrid;
}

const tags = {
  imageType: 0x00080008,
  manufacturer: 0x00080070,
  model: 0x00081090,
  sopClass: 0x00080016,
  series: 0x0020000e,
  samples: 0x00280002,
  photometric: 0x00280004,
  planar: 0x00280006,
  frames: 0x00280008,
  rows: 0x00280010,
  columns: 0x00280011,
  pixelSpacing: 0x00280030,
  bitsAllocated: 0x00280100,
  pixelMeasures: 0x00289110,
  totalColumns: 0x00480006,
  totalRows: 0x00480007,
  opticalPaths: 0x00480105,
  objectivePower: 0x00480112,
  planePosition: 0x0048021a,
  columnPosition: 0x0048021e,
  rowPosition: 0x0048021f,
  organisation: 0x00209311,
  sharedGroups: 0x52009229,
  frameGroups: 0x52009230,
} as const;

const slideClass = '1.2.840.10008.5.1.4.1.1.77.1.6';
const maxTilePixels = 64 * 1024 * 1024;
const maxFrames = 20_000_000;

async function openInstance(source: ByteSource, file: DicomFile): Promise<Instance> {
  const { data } = file;
  const sopClass = textOf(data.get(tags.sopClass));
  if (sopClass !== slideClass) throw unsupported(source, `an object of class ${sopClass}, not a whole slide image`);
  const [, , flavour = 'VOLUME', derivation] = textOf(data.get(tags.imageType))?.split('\\') ?? [];
  const spacing = numbersOf(
    item(item(data, tags.sharedGroups), tags.pixelMeasures)?.get(tags.pixelSpacing) ?? data.get(tags.pixelSpacing),
  );
  return {
    flavour,
    series: textOf(data.get(tags.series)),
    data,
    mpp:
      spacing.length === 2 && spacing.every((mm) => mm > 0)
        ? Number((((spacing[0]! + spacing[1]!) / 2) * 1000).toPrecision(12))
        : null,
    resampled: derivation === 'RESAMPLED',
    grid: await openGrid(source, file),
  };
}

function item(data: DicomData | undefined, sequence: DicomTag): DicomData | undefined {
  return data?.get(sequence)?.items[0];
}

function unsupported(source: ByteSource, what: string): UserError {
  return new UserError(
    'unsupported-dicom',
    `${source.name} has ${what}, which is not read.`,
    'Convert it to a tiled DICOM slide with 8 bits per sample, or to a pyramidal TIFF.',
  );
}

async function openGrid(source: ByteSource, file: DicomFile): Promise<TileGrid> {
  const { data } = file;
  const tileWidth = numberOf(data.get(tags.columns)) ?? 0;
  const tileHeight = numberOf(data.get(tags.rows)) ?? 0;
  const width = numberOf(data.get(tags.totalColumns)) ?? tileWidth;
  const height = numberOf(data.get(tags.totalRows)) ?? tileHeight;
  const count = numberOf(data.get(tags.frames)) ?? 1;
  const sizes = [width, height, tileWidth, tileHeight, count];
  if (!sizes.every((size) => Number.isInteger(size) && size > 0 && size < 2 ** 31) || count > maxFrames) {
    throw damagedDicom(
      source.name,
      `it says it has ${width} x ${height} pixels in ${count} frames of ${tileWidth} x ${tileHeight}`,
    );
  }
  if (tileWidth * tileHeight > maxTilePixels)
    throw unsupported(source, `frames of ${tileWidth} x ${tileHeight} pixels`);
  const encoding = encodingOf(source, file, tileWidth, tileHeight);
  const frameBytes = tileWidth * tileHeight * encoding.samples;
  const columns = Math.ceil(width / tileWidth);
  const frameAt = placesOfFrames(source, data, columns, count);
  const frames = await openFrames(source, file, count, frameBytes).catch((error) => {
    throw damagedDicom(source.name, error);
  });
  if (frames.lastKnownStart >= source.length) {
    throw new UserError(
      'truncated',
      `${source.name} is cut off: it has ${source.length} bytes, and its frames reach beyond byte ${frames.lastKnownStart}.`,
      'Copy it again from where it came from and compare the sizes.',
    );
  }
  const isRgb = textOf(data.get(tags.photometric)) === 'RGB';
  const prefix = encoding.codec === 'jpeg' && isRgb ? jpegPrefix(null, true) : null;
  return {
    width,
    height,
    tileWidth,
    tileHeight,
    encoding,
    async read(column, row, signal) {
      const frame = frameAt(row * columns + column);
      if (frame === null) return null;
      const bytes = await frames.read(frame, signal);
      if (encoding.planar) return planesOf(bytes, encoding.samples);
      return prefix ? spliceJpeg(prefix, bytes) : bytes;
    },
  };
}

function planesOf(bytes: Uint8Array, samples: number): Uint8Array {
  const length = bytes.length / samples;
  return joinPlanes(Array.from({ length: samples }, (_, i) => bytes.subarray(i * length, (i + 1) * length)));
}

function encodingOf(
  source: ByteSource,
  { data, transferSyntax }: DicomFile,
  width: number,
  height: number,
): TileEncoding {
  const photometric = textOf(data.get(tags.photometric)) ?? '';
  const samples = numberOf(data.get(tags.samples)) ?? 1;
  const bits = numberOf(data.get(tags.bitsAllocated)) ?? 8;
  const codec = transferSyntax.endsWith('.4.50') ? 'jpeg' : transferSyntax.includes('.1.2.4.9') ? 'jpeg2000' : 'none';
  if (bits !== 8) throw unsupported(source, `${bits} bits per sample`);
  if (samples !== 1 && samples !== 3) throw unsupported(source, `${samples} samples per pixel`);
  const colour = {
    RGB: 'rgb',
    YBR_FULL: 'ycbcr',
    YBR_ICT: 'rgb',
    YBR_RCT: 'rgb',
    MONOCHROME1: 'grey-inverted',
    MONOCHROME2: 'grey',
  }[photometric] as TileEncoding['colour'] | undefined;
  // A JPEG stream says itself how its colours are stored.
  if (colour === undefined && codec !== 'jpeg') throw unsupported(source, `pixels of kind ${photometric || 'unknown'}`);
  const planar = codec === 'none' && samples > 1 && numberOf(data.get(tags.planar)) === 1;
  return {
    codec,
    width,
    height,
    colour: codec === 'jpeg' ? (colour?.startsWith('grey') ? colour : 'rgb') : colour!,
    samples,
    differenced: false,
    planar,
  };
}

/**
 * From the index of a tile (row by row) to its frame, null where there is none. TILED_FULL lists all tiles in that order, first focal
 * plane and optical path first; TILED_SPARSE says of each frame where it lies, and the first frame at a place is taken.
 */
function placesOfFrames(
  source: ByteSource,
  data: DicomData,
  columns: number,
  count: number,
): (tile: number) => number | null {
  const groups = data.get(tags.frameGroups)?.items ?? [];
  const positions = groups.map((group) => item(group, tags.planePosition));
  if (textOf(data.get(tags.organisation)) === 'TILED_FULL' || !positions.some((position) => position)) {
    return (tile) => (tile < count ? tile : null);
  }
  const tileWidth = numberOf(data.get(tags.columns))!;
  const tileHeight = numberOf(data.get(tags.rows))!;
  const places = new Map<number, number>();
  positions.forEach((position, frame) => {
    const column = ((numberOf(position?.get(tags.columnPosition)) ?? Number.NaN) - 1) / tileWidth;
    const row = ((numberOf(position?.get(tags.rowPosition)) ?? Number.NaN) - 1) / tileHeight;
    if (!Number.isInteger(column) || !Number.isInteger(row))
      throw unsupported(source, 'frames that lie on no common grid');
    const tile = row * columns + column;
    if (!places.has(tile) && frame < count) places.set(tile, frame);
  });
  return (tile) => places.get(tile) ?? null;
}

function slideOf(source: ByteSource, instances: readonly Instance[], given: GivenScale): Slide {
  const levels = instances.filter(({ flavour }) => flavour === 'VOLUME' || instances.length === 1);
  levels.sort((a, b) => b.grid.width - a.grid.width);
  const full = levels[0];
  if (full === undefined) {
    throw new UserError(
      'not-a-slide',
      `${source.name} holds a label or an overview, but no slide.`,
      'Name the folder with all files of the slide.',
    );
  }
  for (const { grid } of levels) {
    const downsample = full.grid.width / grid.width;
    if (Math.abs(full.grid.height / downsample - grid.height) > Math.max(2, grid.height * 0.02)) {
      throw unsupported(
        source,
        `levels of different shape (${full.grid.width} x ${full.grid.height} and ${grid.width} x ${grid.height})`,
      );
    }
  }
  const objectivePower = numberOf(item(full.data, tags.opticalPaths)?.get(tags.objectivePower));
  const text = (tag: DicomTag) => textOf(full.data.get(tag)) ?? '';
  const properties = {
    'dicom.Manufacturer': text(tags.manufacturer),
    'dicom.ManufacturerModelName': text(tags.model),
    'dicom.ImageType': text(tags.imageType),
    'dicom.SeriesInstanceUID': text(tags.series),
  };
  return createTiledSlide(source, {
    format: 'dicom',
    vendor: text(tags.manufacturer) || null,
    scale: scaleOf(source.name, given, full.mpp, objectivePower, { reduced: full.resampled }),
    objectivePower,
    properties: Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== '')),
    // Of several files of one size (focal planes, optical paths) the first is the level.
    levels: levels.filter(({ grid }, i) => i === 0 || grid.width < levels[i - 1]!.grid.width).map(({ grid }) => grid),
    associated: new Map(
      instances
        .filter((instance) => !levels.includes(instance))
        .map(({ flavour, grid }) => [flavour === 'OVERVIEW' ? 'macro' : flavour.toLowerCase(), grid]),
    ),
  });
}
