/** Deep Zoom: `NAME.dzi` says how large the picture is; `NAME_files/LEVEL/COLUMN_ROW.jpg` are its tiles, which may overlap by some pixels. */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { type ByteSource, openByteSource } from './byte-source.ts';
import { scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import type { TileGrid } from './tile-grid.ts';
import { createTiledSlide } from './tiled-slide.ts';
import { elementsNamed, parseXml } from './xml.ts';

const maxDescriptor = 64 * 1024;
/** Smaller levels are of no use: they are one tile that a level above it replaces. */
const smallestLevel = 64;
const codecs = { jpg: 'jpeg', jpeg: 'jpeg', png: 'png', webp: 'webp' } as const;

export const deepZoom: SlideFormat = {
  name: 'deep-zoom',

  async recognises({ source, head }) {
    return /\.dzi$/i.test(source.name.replace(/[?#].*$/, '')) && Buffer.from(head).toString('utf8').includes('<');
  },

  async open({ source }, given) {
    const descriptor = await readDescriptor(source);
    const { width, height } = descriptor;
    const levels: TileGrid[] = [];
    const top = Math.ceil(Math.log2(Math.max(width, height)));
    for (let level = top; level >= 0; level--) {
      const divisor = 2 ** (top - level);
      const size = { width: Math.ceil(width / divisor), height: Math.ceil(height / divisor) };
      if (level < top && Math.max(size.width, size.height) < smallestLevel) break;
      levels.push(gridOf(source, descriptor, level, size));
    }
    return createTiledSlide(source, {
      format: 'deep-zoom',
      vendor: null,
      scale: scaleOf(source.name, given, null, null),
      objectivePower: null,
      properties: {},
      levels,
      associated: new Map(),
    });
  },
};

/** The descriptor that a folder belongs to: the one beside `NAME_files`, or the only one in it, without other pictures. Null if there is none. */
export async function deepZoomOfFolder(folder: string): Promise<string | null> {
  const whole = resolve(folder);
  const beside = whole.replace(/_files$/, '.dzi');
  if (beside !== whole && (await stat(beside).catch(() => null))?.isFile()) return beside;
  const files = (await readdir(whole, { withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const inside = files.map(({ name }) => name).filter((name) => !/^\.|\.(xml|txt|html|json|md|js|css)$/i.test(name));
  return inside.length === 1 && /\.dzi$/i.test(inside[0]!) ? join(whole, inside[0]!) : null;
}

interface Descriptor {
  readonly width: number;
  readonly height: number;
  readonly tileSize: number;
  readonly overlap: number;
  readonly extension: keyof typeof codecs;
}

async function readDescriptor(source: ByteSource): Promise<Descriptor> {
  try {
    const text = Buffer.from(await source.read(0, Math.min(source.length, maxDescriptor))).toString('utf8');
    const image = parseXml(text.replace(/^\uFEFF/, ''));
    const size = elementsNamed(image, 'Size')[0]?.attributes ?? {};
    const [width, height, tileSize, overlap] = [
      size.Width,
      size.Height,
      image.attributes.TileSize,
      image.attributes.Overlap ?? '0',
    ].map(Number) as [number, number, number, number];
    const extension = image.attributes.Format?.toLowerCase() as keyof typeof codecs;
    const whole = [width, height, tileSize].every((value) => Number.isInteger(value) && value > 0);
    if (
      !whole ||
      Math.max(width, height) >= 2 ** 31 ||
      tileSize > 8192 ||
      !(overlap >= 0 && overlap <= 64 && Number.isInteger(overlap))
    ) {
      throw new Error(`it says ${width} x ${height} pixels in tiles of ${tileSize}, overlap ${overlap}`);
    }
    if (codecs[extension] === undefined)
      throw new Error(`its tiles are of format "${extension}"; jpg, png and webp are read`);
    return { width, height, tileSize, overlap, extension };
  } catch (error) {
    throw new UserError(
      'damaged-slide',
      `${source.name} is a damaged Deep Zoom descriptor: ${error instanceof Error ? error.message : error}.`,
      'Copy it again from where it came from.',
      { cause: error },
    );
  }
}

function gridOf(
  source: ByteSource,
  descriptor: Descriptor,
  level: number,
  size: { width: number; height: number },
): TileGrid {
  const { tileSize, overlap, extension } = descriptor;
  const side = tileSize + 2 * overlap;
  return {
    ...size,
    tileWidth: tileSize,
    tileHeight: tileSize,
    overlap,
    encoding: { codec: codecs[extension], width: side, height: side, colour: 'rgb', samples: 3, differenced: false },
    async read(column, row, signal) {
      const tile = await openByteSource(
        source.name.replace(/\.dzi(?=$|[?#])/i, `_files/${level}/${column}_${row}.${extension}`),
      );
      try {
        return await tile.read(0, tile.length, signal);
      } finally {
        await tile.close();
      }
    },
  };
}
