/** A page of a TIFF file as a grid of tiles. */
import { UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { jpegPrefix, spliceJpeg } from './jpeg-stream.ts';
import type { TiffPage } from './tiff-file.ts';
import { joinPlanes, type TileEncoding } from './tile-encoding.ts';
import type { TileGrid } from './tile-grid.ts';

/** TIFF compression schemes that are read. */
const codecs: Readonly<Record<number, TileEncoding['codec']>> = {
  1: 'none',
  5: 'lzw',
  7: 'jpeg',
  8: 'deflate',
  32946: 'deflate',
  32773: 'packbits',
  33003: 'jpeg2000',
  33004: 'jpeg2000',
  33005: 'jpeg2000',
  34712: 'jpeg2000',
  34926: 'zstd',
  50000: 'zstd',
  34927: 'webp',
  50001: 'webp',
};

const photometricRgb = 2;
/** No tile of a slide is larger; a strip may be, and is read if it can be cut. */
const maxTilePixels = 64 * 1024 * 1024;
/** Rows to cut large uncompressed strips into. */
const bandRows = 256;

/** @throws UserError `unsupported-tiff` with what the page has and how to convert it. */
export function tiffTiles(source: ByteSource, page: TiffPage): TileGrid {
  const codec = codecs[page.compression];
  const obstacle = obstacleOf(page);
  if (codec === undefined || obstacle) {
    throw new UserError(
      'unsupported-tiff',
      `${source.name} has ${obstacle}, which is not read.`,
      'Convert it: vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --bigtiff.',
    );
  }
  const { width, height } = page;
  const encoding: TileEncoding = {
    codec,
    width: page.tileWidth,
    height: page.tileHeight,
    colour: colourOf(page, codec),
    samples: page.samplesPerPixel,
    differenced: page.predictor === 2,
    signed: page.sampleFormat === 2,
  };
  if (page.planar && page.samplesPerPixel > 1) return planes(planePages(page).map((plane) => tiffTiles(source, plane)));
  if (codec === 'none' && !page.tiled && page.predictor === 1 && page.tileHeight > bandRows)
    return bandedStrips(source, page, encoding);
  const columns = Math.ceil(width / page.tileWidth);
  const rgbInJpeg = page.photometric === photometricRgb && page.samplesPerPixel === 3;
  const prefix = codec === 'jpeg' ? jpegPrefix(page.jpegTables, rgbInJpeg) : null;
  return {
    width,
    height,
    tileWidth: page.tileWidth,
    tileHeight: page.tileHeight,
    encoding,
    async read(column, row, signal) {
      const index = row * columns + column;
      const length = page.byteCounts[index]!;
      if (length === 0) return null;
      const bytes = await source.read(page.offsets[index]!, length, signal);
      return prefix ? spliceJpeg(prefix, bytes) : bytes;
    },
  };
}

/**
 * Pages of one sample each as the colours of one picture; a single page is taken as it is.
 * @throws UserError as `tiffTiles`
 */
export function tiffTilesOfPlanes(source: ByteSource, pages: readonly TiffPage[]): TileGrid {
  const grids = pages.map((page) => tiffTiles(source, page));
  const first = grids[0]!;
  const alike = grids.every((grid) => grid.width === first.width && grid.tileHeight === first.tileHeight);
  return grids.length > 1 && alike && isPacked(first.encoding.codec) ? planes(grids) : first;
}

/** Codecs that know nothing of colours. */
function isPacked(codec: TileEncoding['codec']): boolean {
  return !['jpeg', 'jpeg2000', 'webp', 'png'].includes(codec);
}

/** The samples of a page with its colours apart, each as a page of its own. */
function planePages(page: TiffPage): TiffPage[] {
  const tiles = Math.ceil(page.width / page.tileWidth) * Math.ceil(page.height / page.tileHeight);
  return Array.from({ length: Math.min(3, page.samplesPerPixel) }, (_, sample) => ({
    ...page,
    planar: false,
    samplesPerPixel: 1,
    photometric: 1,
    bitsPerSample: [8],
    offsets: page.offsets.subarray(sample * tiles, (sample + 1) * tiles),
    byteCounts: page.byteCounts.subarray(sample * tiles, (sample + 1) * tiles),
  }));
}

function planes(grids: readonly TileGrid[]): TileGrid {
  const first = grids[0]!;
  return {
    ...first,
    encoding: { ...first.encoding, colour: 'rgb', samples: grids.length, planar: true },
    async read(column, row, signal) {
      const tiles = await Promise.all(grids.map((grid) => grid.read(column, row, signal)));
      return tiles.some((tile) => tile === null) ? null : joinPlanes(tiles as Uint8Array[]);
    },
  };
}

/** Whether `tiffTiles` takes the page. */
export function canRead(page: TiffPage): boolean {
  return obstacleOf(page) === null;
}

function obstacleOf(page: TiffPage): string | null {
  const codec = codecs[page.compression];
  if (codec === undefined) return `compression ${page.compression}`;
  if (page.planar && page.samplesPerPixel > 1 && !isPacked(codec)) return `its colours in separate planes of ${codec}`;
  if (page.bitsPerSample.some((bits) => bits !== 8)) return `samples of ${page.bitsPerSample.join(', ')} bits`;
  if (page.sampleFormat !== 1 && !(page.sampleFormat === 2 && isPacked(codec)))
    return `samples of format ${page.sampleFormat}`;
  if (page.photometric === 3) return 'a colour palette';
  if (![1, 3, 4].includes(page.samplesPerPixel)) return `${page.samplesPerPixel} samples per pixel`;
  if (page.predictor > 2) return `predictor ${page.predictor}`;
  const rows = codec === 'none' && !page.tiled ? Math.min(page.tileHeight, bandRows) : page.tileHeight;
  if (page.tileWidth * rows > maxTilePixels) {
    return `${page.tiled ? 'tiles' : 'strips'} of ${page.tileWidth} x ${page.tileHeight} pixels`;
  }
  return null;
}

function colourOf(page: TiffPage, codec: TileEncoding['codec']): TileEncoding['colour'] {
  if (codec === 'jpeg') return 'rgb';
  if (page.samplesPerPixel === 1) return page.photometric === 0 ? 'grey-inverted' : 'grey';
  // Aperio's 33003 and libvips' 33004 are JPEG 2000 of YCbCr samples; the page calls it RGB or YCbCr as the writer pleases.
  return page.compression === 33003 || page.compression === 33004 || (codec === 'jpeg2000' && page.photometric === 6)
    ? 'ycbcr'
    : 'rgb';
}

/** Uncompressed strips can be read from any row: high ones (often the whole picture is one strip) are read in bands. */
function bandedStrips(source: ByteSource, page: TiffPage, encoding: TileEncoding): TileGrid {
  const rowBytes = page.width * page.samplesPerPixel;
  // A band must not span two strips.
  const rows = page.tileHeight === page.height ? bandRows : largestDivisorUpTo(page.tileHeight, bandRows);
  return {
    width: page.width,
    height: page.height,
    tileWidth: page.width,
    tileHeight: rows,
    encoding: { ...encoding, height: rows },
    async read(_column, row, signal) {
      const strip = Math.floor((row * rows) / page.tileHeight);
      const within = row * rows - strip * page.tileHeight;
      const count = Math.min(rows, page.height - row * rows);
      return source.read(page.offsets[strip]! + within * rowBytes, count * rowBytes, signal);
    },
  };
}

function largestDivisorUpTo(number: number, limit: number): number {
  let divisor = Math.min(number, limit);
  while (number % divisor !== 0) divisor--;
  return divisor;
}

/**
 * A single tile outside the file is a hole; many are a copy that was interrupted, which must not pass for a whole slide.
 * @throws UserError `truncated`
 */
export function checkWhole(source: ByteSource, page: TiffPage): void {
  let outside = 0;
  let end = 0;
  for (let i = 0; i < page.offsets.length; i++) {
    const tileEnd = page.offsets[i]! + page.byteCounts[i]!;
    if (tileEnd > source.length) outside++;
    if (tileEnd > end) end = tileEnd;
  }
  if (outside > page.offsets.length * 0.05) {
    throw new UserError(
      'truncated',
      `${source.name} is cut off: it has ${source.length} bytes, and its tiles reach to byte ${end}.`,
      'Copy it again from where it came from and compare the sizes.',
    );
  }
}
