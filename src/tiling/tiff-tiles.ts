/** A page of a TIFF file as a grid of tiles. */
import { UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { jpegPrefix, spliceJpeg } from './jpeg-stream.ts';
import type { TiffPage } from './tiff-file.ts';
import type { TileEncoding } from './tile-encoding.ts';
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
  33005: 'jpeg2000',
  34712: 'jpeg2000',
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
  };
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

/** Whether `tiffTiles` takes the page. */
export function canRead(page: TiffPage): boolean {
  return obstacleOf(page) === null;
}

function obstacleOf(page: TiffPage): string | null {
  const codec = codecs[page.compression];
  if (codec === undefined) return `compression ${page.compression}`;
  if (page.planar && page.samplesPerPixel > 1) return 'its colours in separate planes';
  if (page.bitsPerSample.some((bits) => bits !== 8) || page.sampleFormat !== 1) {
    return `samples of ${page.bitsPerSample.join(', ')} bits, format ${page.sampleFormat}`;
  }
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
  // 33003 is Aperio's JPEG 2000 of YCbCr samples; the page calls it RGB or YCbCr as the scanner pleases.
  return page.compression === 33003 || (codec === 'jpeg2000' && page.photometric === 6) ? 'ycbcr' : 'rgb';
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
