/**
 * Hamamatsu NDPI: levels are pages of one huge JPEG each, cut at its restart markers; macro picture and map are marked by their lens.
 * As in OpenSlide, three more levels are made of the smallest one, at a half, a quarter and an eighth of its size.
 */
import { UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { isNdpi, type NdpiPage, readNdpiPages } from './ndpi-directory.ts';
import { mppOfResolution, scaleOf } from './physical-scale.ts';
import { restartTiles } from './restart-tiles.ts';
import type { SlideFormat } from './slide-format.ts';
import { damagedTiff } from './tiff-file.ts';
import type { TileGrid } from './tile-grid.ts';
import { createTiledSlide } from './tiled-slide.ts';

const tags = {
  width: 256,
  height: 257,
  make: 271,
  model: 272,
  offset: 273,
  length: 279,
  xResolution: 282,
  resolutionUnit: 296,
  software: 305,
  lens: 65421,
  focalPlane: 65424,
  restarts: 65426,
  upperRestarts: 65432,
  scannerText: 65449,
} as const;

/** What the scanner writes for the lens of its macro picture. */
const macroLens = -1;

export const hamamatsuNdpi: SlideFormat = {
  name: 'hamamatsu-ndpi',

  recognises: ({ source, head }) => isNdpi(source, head),

  async open({ source, head }, given) {
    try {
      const pages = await readNdpiPages(source, head);
      const planes = pages.filter((page) => lensOf(page) > 0 && number(page, tags.focalPlane, 0) === 0);
      planes.sort((a, b) => number(b, tags.width, 0) - number(a, tags.width, 0));
      const full = planes[0];
      if (full === undefined) throw new Error('it has no levels');
      checkWhole(source, full);
      const stored = await Promise.all(
        planes.filter((page) => isLevelOf(full, page)).map((page) => tilesOf(source, page)),
      );
      const macro = pages.find((page) => lensOf(page) === macroLens);
      const objectivePower = lensOf(full);
      const mpp = mppOfResolution(number(full, tags.xResolution, 0), number(full, tags.resolutionUnit, 2));
      return createTiledSlide(source, {
        format: 'hamamatsu-ndpi',
        vendor: 'hamamatsu',
        scale: scaleOf(source.name, given, mpp, objectivePower),
        objectivePower,
        properties: propertiesOf(full),
        levels: [...stored, ...[2, 4, 8].flatMap((by) => reduced(stored.at(-1)!, by))],
        associated: new Map(macro ? [['macro', await tilesOf(source, macro)]] : []),
      });
    } catch (error) {
      throw error instanceof UserError ? error : damagedTiff(source, error);
    }
  },
};

function number(page: NdpiPage, tag: number, missing: number): number {
  const value = page.get(tag);
  const first = typeof value === 'object' ? value[0] : undefined;
  return first !== undefined && Number.isFinite(first) ? first : missing;
}

function lensOf(page: NdpiPage): number {
  return number(page, tags.lens, 0);
}

function isLevelOf(full: NdpiPage, page: NdpiPage): boolean {
  const downsample = number(full, tags.width, 0) / number(page, tags.width, 0);
  return Math.abs(number(full, tags.height, 0) / downsample - number(page, tags.height, 0)) <= 2;
}

async function tilesOf(source: ByteSource, page: NdpiPage): Promise<TileGrid> {
  const width = number(page, tags.width, 0);
  const height = number(page, tags.height, 0);
  if (!(width > 0 && height > 0 && width < 2 ** 31 && height < 2 ** 31))
    throw new Error(`a page has ${width} x ${height} pixels`);
  const lower = page.get(tags.restarts);
  const upper = page.get(tags.upperRestarts);
  const restarts = Array.isArray(lower)
    ? lower.map((low, i) => low + (Array.isArray(upper) ? (upper[i] ?? 0) : 0) * 2 ** 32)
    : [];
  return restartTiles(source, {
    width,
    height,
    offset: number(page, tags.offset, 0),
    length: number(page, tags.length, 0),
    restarts,
  });
}

/** A level of whole pixels out of a stored one, none if it would be nothing. */
function reduced(grid: TileGrid, by: number): TileGrid[] {
  const width = Math.floor(grid.width / by);
  const height = Math.floor(grid.height / by);
  if (width === 0 || height === 0) return [];
  return [
    {
      ...grid,
      width,
      height,
      tileWidth: Math.floor(grid.tileWidth / by),
      tileHeight: Math.floor(grid.tileHeight / by),
      encoding: { ...grid.encoding, reduce: by },
    },
  ];
}

function checkWhole(source: ByteSource, page: NdpiPage): void {
  const end = number(page, tags.offset, 0) + number(page, tags.length, 0);
  if (end > source.length) {
    throw new UserError(
      'truncated',
      `${source.name} is cut off: it has ${source.length} bytes, and its full resolution reaches to byte ${end}.`,
      'Copy it again from where it came from and compare the sizes.',
    );
  }
}

/** The scanner's `key=value` lines as `hamamatsu.<key>`. */
function propertiesOf(page: NdpiPage): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const [name, tag] of [
    ['make', tags.make],
    ['model', tags.model],
    ['software', tags.software],
  ] as const) {
    const value = page.get(tag);
    if (typeof value === 'string' && value) properties[name] = value;
  }
  const text = page.get(tags.scannerText);
  for (const line of typeof text === 'string' ? text.split(/\r?\n/) : []) {
    const equals = line.indexOf('=');
    if (equals > 0) properties[`hamamatsu.${line.slice(0, equals)}`] = line.slice(equals + 1);
  }
  return properties;
}
