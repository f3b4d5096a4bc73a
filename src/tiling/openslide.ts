/**
 * The formats that are not read here, through libopenslide where it is installed. Its pixels come as tiles of a grid of our own.
 */
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { messageOf, UserError } from '../errors.ts';
import { type ByteSource, isWebAddress } from './byte-source.ts';
import { type GivenScale, scaleOf } from './physical-scale.ts';
import type { Slide } from './slide.ts';
import type { SlideFormat } from './slide-format.ts';
import type { TileGrid } from './tile-grid.ts';
import { createTiledSlide } from './tiled-slide.ts';

/** Files that only libopenslide can make sense of, by the end of their names. */
const foreign = /\.(mrxs|vms|vmu|svslide|czi)$/i;
const tileSide = 512;
const libraryNames = {
  linux: ['libopenslide.so.1', 'libopenslide.so.0'],
  darwin: ['libopenslide.1.dylib', '/opt/homebrew/lib/libopenslide.1.dylib', 'libopenslide.0.dylib'],
  win32: ['libopenslide-1.dll', 'libopenslide-0.dll'],
} as Readonly<Record<string, readonly string[]>>;

export const openslide: SlideFormat = {
  name: 'openslide',

  async recognises(candidate) {
    const { name } = candidate.source;
    if (isWebAddress(name)) return false;
    if (foreign.test(name)) return true;
    return (await candidate.tiffPages()) === null && (library()?.detectVendor(name) ?? null) !== null;
  },

  async open({ source }, given) {
    return openWithOpenSlide(source, given, 'a slide of another scanner');
  },
};

/** @param what why it is not read here @throws UserError `needs-openslide` if the library is missing */
export async function openWithOpenSlide(source: ByteSource, given: GivenScale, what: string): Promise<Slide> {
  if (isWebAddress(source.name)) {
    throw new UserError(
      'remote-slide',
      `${source.name} is ${what}, which is read from disk only.`,
      'Download it first.',
    );
  }
  const openSlideLibrary = library();
  if (openSlideLibrary === null) {
    throw new UserError(
      'needs-openslide',
      `${source.name} is ${what}, which is read through libopenslide, and that is not installed.`,
      'Install it: apt install libopenslide0, brew install openslide, or the Windows build from openslide.org.',
    );
  }
  const handle = openSlideLibrary.open(source.name);
  const failure = handle === null ? 'it does not know the format' : openSlideLibrary.error(handle);
  if (handle === null || failure !== null) {
    if (handle !== null) openSlideLibrary.close(handle);
    throw new UserError(
      'damaged-slide',
      `${source.name} cannot be opened by libopenslide: ${failure}.`,
      'Copy it again, with all files that belong to it.',
    );
  }
  const properties = openSlideLibrary.properties(handle);
  const stated = Number(properties['openslide.mpp-x']);
  const power = Number(properties['openslide.objective-power']);
  const objectivePower = power > 0 ? power : null;
  try {
    return createTiledSlide(
      {
        ...source,
        async close() {
          openSlideLibrary.close(handle);
          await source.close();
        },
      },
      {
        format: 'openslide',
        vendor: properties['openslide.vendor'] ?? null,
        scale: scaleOf(source.name, given, stated > 0 ? stated : null, objectivePower),
        objectivePower,
        properties,
        levels: openSlideLibrary.levels(handle),
        associated: openSlideLibrary.associated(handle),
      },
    );
  } catch (error) {
    openSlideLibrary.close(handle);
    throw error;
  }
}

export function isOpenSlideInstalled(): boolean {
  return library() !== null;
}

type Handle = object;

interface OpenSlideLibrary {
  detectVendor(path: string): string | null;
  open(path: string): Handle | null;
  error(handle: Handle): string | null;
  properties(handle: Handle): Record<string, string>;
  levels(handle: Handle): TileGrid[];
  associated(handle: Handle): Map<string, TileGrid>;
  close(handle: Handle): void;
}

let loaded: OpenSlideLibrary | null | undefined;

/** Null if it is not installed. */
function library(): OpenSlideLibrary | null {
  loaded ??= loadLibrary();
  return loaded;
}

function loadLibrary(): OpenSlideLibrary | null {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  for (const name of libraryNames[process.platform] ?? []) {
    try {
      return bind(koffi, koffi.load(name));
    } catch (error) {
      if (!/load|open|found/i.test(messageOf(error))) throw error;
    }
  }
  return null;
}

function bind(koffi: typeof import('koffi'), native: ReturnType<typeof import('koffi').load>): OpenSlideLibrary {
  const f = (prototype: string) => native.func(prototype);
  const detect = f('const char *openslide_detect_vendor(const char *path)');
  const open = f('void *openslide_open(const char *path)');
  const error = f('const char *openslide_get_error(void *osr)');
  const close = f('void openslide_close(void *osr)');
  const propertyNames = f('void *openslide_get_property_names(void *osr)');
  const propertyValue = f('const char *openslide_get_property_value(void *osr, const char *name)');
  const levelCount = f('int32_t openslide_get_level_count(void *osr)');
  const levelSize = f(
    'void openslide_get_level_dimensions(void *osr, int32_t level, _Out_ int64_t *w, _Out_ int64_t *h)',
  );
  const levelDownsample = f('double openslide_get_level_downsample(void *osr, int32_t level)');
  const readRegion = f(
    'void openslide_read_region(void *osr, _Out_ uint8_t *dest, int64_t x, int64_t y, int32_t level, int64_t w, int64_t h)',
  );
  const imageNames = f('void *openslide_get_associated_image_names(void *osr)');
  const imageSize = f(
    'void openslide_get_associated_image_dimensions(void *osr, const char *name, _Out_ int64_t *w, _Out_ int64_t *h)',
  );
  const readImage = f('void openslide_read_associated_image(void *osr, const char *name, _Out_ uint8_t *dest)');

  const namesAt = (list: unknown): string[] => {
    const names: string[] = [];
    for (;;) {
      const name = koffi.decode(list, names.length * koffi.sizeof('char *'), 'char *') as string | null;
      if (name === null || names.length > 10_000) return names;
      names.push(name);
    }
  };
  const sizeOf = (read: (w: bigint[], h: bigint[]) => void) => {
    const [w, h] = [[0n], [0n]];
    read(w, h);
    return { width: Number(w[0]), height: Number(h[0]) };
  };
  const check = (handle: Handle) => {
    const failure = error(handle) as string | null;
    if (failure !== null) throw new Error(failure);
  };
  const rgbOf = (width: number, height: number) =>
    ({ codec: 'none', width, height, colour: 'rgb', samples: 3, differenced: false }) as const;

  return {
    detectVendor: (path) => detect(path),
    open: (path) => open(path),
    error: (handle) => error(handle),
    close: (handle) => close(handle),
    properties: (handle) =>
      Object.fromEntries(namesAt(propertyNames(handle)).map((name) => [name, propertyValue(handle, name) as string])),
    levels: (handle) =>
      Array.from({ length: levelCount(handle) }, (_, level) => {
        const size = sizeOf((w, h) => levelSize(handle, level, w, h));
        const downsample = levelDownsample(handle, level) as number;
        const readAsync = promisify(readRegion.async);
        return {
          ...size,
          tileWidth: tileSide,
          tileHeight: tileSide,
          encoding: rgbOf(tileSide, tileSide),
          async read(column, row) {
            const argb = new Uint8Array(tileSide * tileSide * 4);
            const [x, y] = [column, row].map((index) => Math.round(index * tileSide * downsample)) as [number, number];
            await readAsync(handle, argb, x, y, level, tileSide, tileSide);
            check(handle);
            return toRgb(argb);
          },
        };
      }),
    associated: (handle) =>
      new Map(
        namesAt(imageNames(handle)).map((name) => {
          const { width, height } = sizeOf((w, h) => imageSize(handle, name, w, h));
          const readAsync = promisify(readImage.async);
          const grid: TileGrid = {
            width,
            height,
            tileWidth: width,
            tileHeight: height,
            encoding: rgbOf(width, height),
            async read() {
              const argb = new Uint8Array(width * height * 4);
              await readAsync(handle, name, argb);
              check(handle);
              return toRgb(argb);
            },
          };
          return [name, grid] as const;
        }),
      ),
  };
}

/** Blue, green, red, alpha in memory, colours multiplied by alpha; what is transparent becomes white. Null if all of it is. */
function toRgb(argb: Uint8Array): Uint8Array | null {
  const rgb = new Uint8Array((argb.length / 4) * 3);
  let opaque = false;
  for (let from = 0, to = 0; from < argb.length; from += 4, to += 3) {
    const glass = 255 - argb[from + 3]!;
    if (glass < 255) opaque = true;
    rgb[to] = argb[from + 2]! + glass;
    rgb[to + 1] = argb[from + 1]! + glass;
    rgb[to + 2] = argb[from]! + glass;
  }
  return opaque ? rgb : null;
}
