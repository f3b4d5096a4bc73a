/**
 * The structure of a TIFF or BigTIFF file: its pages and where their tiles lie. The only file that imports geotiff,
 * which is used for nothing else: pixels are read and decoded by ourselves, ten times faster.
 */
import { GeoTIFF, type ImageFileDirectory } from 'geotiff';
import { messageOf, UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';

/** One image of a TIFF file. Numbers are as in the file, with the defaults of TIFF 6.0. */
export interface TiffPage {
  readonly width: number;
  readonly height: number;
  /** Size of a tile, or of a strip: the full width and `RowsPerStrip` rows. */
  readonly tileWidth: number;
  readonly tileHeight: number;
  readonly tiled: boolean;
  readonly compression: number;
  readonly photometric: number;
  readonly bitsPerSample: readonly number[];
  readonly samplesPerPixel: number;
  readonly planar: boolean;
  readonly predictor: number;
  readonly sampleFormat: number;
  /** Bit 0: a reduced copy of another page. */
  readonly subfileType: number;
  readonly description: string;
  readonly software: string;
  readonly make: string;
  readonly offsets: Float64Array;
  readonly byteCounts: Float64Array;
  readonly jpegTables: Uint8Array | null;
  readonly iccProfile: Uint8Array | null;
  /** The document of tag 700, which some scanners keep their XML in. */
  readonly xmp: string;
  /** Reduced copies of the page (SubIFDs), in the order of the file. */
  readonly subPages: readonly TiffPage[];
  /** Pixels per unit across, 0 if not stated; `resolutionUnit` 1 none, 2 inch, 3 centimetre. */
  readonly xResolution: number;
  readonly resolutionUnit: number;
}

const maxPages = 1000;
/** No list of tiles of a real slide is longer; a damaged count may be. */
const maxRead = 256 * 1024 * 1024;
/** geotiff reads directories in slices of about this, which may hang over the end of the file. */
const sliceLength = 8192;

export function isTiff(head: Uint8Array): boolean {
  const [a, b, c, d] = head;
  return (
    (a === 0x49 && b === 0x49 && (c === 42 || c === 43) && d === 0) ||
    (a === 0x4d && b === 0x4d && c === 0 && (d === 42 || d === 43))
  );
}

/** All pages, in the order of the file. @throws UserError if the directories are damaged or cut off. */
export async function readTiffPages(source: ByteSource): Promise<TiffPage[]> {
  try {
    const tiff = await GeoTIFF.fromSource(geotiffSource(source));
    // Lists read later are taken for little-endian whatever the file is, so everything is read at once.
    tiff.parser.eager = true;
    const pages: TiffPage[] = [];
    const seen = new Set<number>();
    for (let offset = tiff.firstIFDOffset; offset !== 0; ) {
      if (seen.has(offset)) throw new Error('the list of its pages runs in a circle');
      if (seen.size >= maxPages) throw new Error(`it has more than ${maxPages} pages`);
      seen.add(offset);
      const directory = await tiff.parser.parseFileDirectoryAt(offset);
      const subPages: TiffPage[] = [];
      for (const below of subOffsets(directory)) {
        if (seen.has(below) || seen.size >= maxPages)
          throw new Error('its lists of pages run in a circle or never end');
        seen.add(below);
        subPages.push(toPage(await tiff.parser.parseFileDirectoryAt(below), []));
      }
      pages.push(toPage(directory, subPages));
      offset = directory.nextIFDByteOffset;
    }
    if (pages.length === 0) throw new Error('it has no pages');
    return pages;
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw damagedTiff(source, error);
  }
}

/** What is said of a TIFF file whose structure could not be followed. */
export function damagedTiff(source: Pick<ByteSource, 'name' | 'length'>, error: unknown): UserError {
  const cutOff = error instanceof PastEnd || error instanceof RangeError;
  return cutOff
    ? new UserError(
        'truncated',
        `${source.name} (${source.length} bytes) is a TIFF file that is cut off or damaged: its directory points outside the file.`,
        'Copy it again from where it came from and compare the sizes.',
        { cause: error },
      )
    : new UserError(
        'damaged-slide',
        `${source.name} is a damaged TIFF file: ${messageOf(error)}.`,
        'Copy it again from where it came from.',
        { cause: error },
      );
}

class PastEnd extends Error {}

/** Our byte source as geotiff wants it. */
function geotiffSource(source: ByteSource): Parameters<typeof GeoTIFF.fromSource>[0] {
  const fetchSlice = async ({ offset, length }: { offset: number; length: number }) => {
    const available = source.length - offset;
    if (!(available > 0 && length >= 0 && length <= maxRead) || (length > available && length > sliceLength)) {
      throw new PastEnd(`${length} bytes at ${offset} are outside the file`);
    }
    const bytes = await source.read(offset, Math.min(length, available));
    return { data: bytes.buffer as ArrayBuffer, offset, length };
  };
  return {
    fetchSlice,
    fetch: (slices) => Promise.all(slices.map(async (slice) => (await fetchSlice(slice)).data)),
    fileSize: source.length,
    close: async () => {},
  };
}

function subOffsets(directory: ImageFileDirectory): number[] {
  const value = directory.getValue('SubIFDs' as 'ImageWidth') as unknown;
  if (value === undefined) return [];
  return typeof value === 'number' ? [value] : Array.from(value as ArrayLike<number>, Number);
}

function toPage(directory: ImageFileDirectory, subPages: readonly TiffPage[]): TiffPage {
  const value = (name: string | number): unknown => directory.getValue(name as 'ImageWidth');
  const number = (name: string, missing: number): number => {
    const found = value(name);
    return Number(typeof found === 'object' && found !== null ? (found as ArrayLike<number>)[0] : (found ?? missing));
  };
  const text = (name: string): string => String(value(name) ?? '').replace(/\0[\s\S]*$/, '');
  const numbers = (name: string): Float64Array => {
    const found = value(name);
    return typeof found === 'number' ? Float64Array.of(found) : Float64Array.from((found as ArrayLike<number>) ?? []);
  };
  const bytes = (name: string | number): Uint8Array | null => {
    const found = value(name);
    return found instanceof Uint8Array ? found : null;
  };
  const width = number('ImageWidth', 0);
  const height = number('ImageLength', 0);
  const tiled = directory.hasTag('TileOffsets');
  const samplesPerPixel = number('SamplesPerPixel', 1);
  const resolution = value('XResolution') as ArrayLike<number> | undefined;
  const xmp = bytes(700);
  const page: TiffPage = {
    width,
    height,
    tileWidth: tiled ? number('TileWidth', 0) : width,
    tileHeight: tiled ? number('TileLength', 0) : Math.min(number('RowsPerStrip', height), height),
    tiled,
    compression: number('Compression', 1),
    photometric: number('PhotometricInterpretation', 0),
    bitsPerSample: [...(directory.hasTag('BitsPerSample') ? numbers('BitsPerSample') : [1])],
    samplesPerPixel,
    planar: number('PlanarConfiguration', 1) === 2,
    predictor: number('Predictor', 1),
    sampleFormat: number('SampleFormat', 1),
    subfileType: number('NewSubfileType', 0),
    description: text('ImageDescription'),
    software: text('Software'),
    make: text('Make'),
    offsets: numbers(tiled ? 'TileOffsets' : 'StripOffsets'),
    byteCounts: numbers(tiled ? 'TileByteCounts' : 'StripByteCounts'),
    jpegTables: bytes('JPEGTables'),
    iccProfile: bytes(34675),
    xmp: xmp ? Buffer.from(xmp).toString('utf8') : '',
    subPages,
    xResolution: resolution?.[1] ? resolution[0]! / resolution[1] : 0,
    resolutionUnit: number('ResolutionUnit', 2),
  };
  checkGeometry(page);
  return page;
}

function checkGeometry(page: TiffPage): void {
  const sizes = [page.width, page.height, page.tileWidth, page.tileHeight];
  if (!sizes.every((size) => Number.isInteger(size) && size > 0 && size < 2 ** 31)) {
    throw new Error(
      `a page says it has ${page.width} x ${page.height} pixels in tiles of ${page.tileWidth} x ${page.tileHeight}`,
    );
  }
  const planes = page.planar ? page.samplesPerPixel : 1;
  const tiles = Math.ceil(page.width / page.tileWidth) * Math.ceil(page.height / page.tileHeight) * planes;
  if (page.offsets.length < tiles || page.byteCounts.length < tiles) {
    throw new Error(
      `a page of ${tiles} tiles lists the places of ${Math.min(page.offsets.length, page.byteCounts.length)}`,
    );
  }
}
