/**
 * Philips TIFF: all tiled pages are levels, filled up to whole tiles at the right and below; tiles without tissue are not stored.
 * The description is XML made of named attributes: pixel spacings in mm, label and macro as JPEG in base64.
 */
import { jpegSize } from './jpeg-stream.ts';
import { scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import { damagedTiff, type TiffPage } from './tiff-file.ts';
import { canRead, checkWhole, tiffTiles } from './tiff-tiles.ts';
import type { TileGrid } from './tile-grid.ts';
import { createTiledSlide } from './tiled-slide.ts';
import { elementsNamed, parseXml, type XmlElement } from './xml.ts';

export const philipsTiff: SlideFormat = {
  name: 'philips-tiff',

  async recognises(candidate) {
    const first = (await candidate.tiffPages())?.[0];
    return first?.tiled === true && first.software.startsWith('Philips') && first.description.includes('DPUfsImport');
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    const tiled = pages.filter((page) => page.tiled);
    const full = tiled[0]!;
    checkWhole(source, full);
    let root: XmlElement;
    try {
      root = parseXml(full.description);
    } catch (error) {
      throw damagedTiff(source, error);
    }
    const slide =
      elementsNamed(root, 'DataObject').find((image) => attribute(image, 'PIM_DP_IMAGE_TYPE') === 'WSI') ?? root;
    const spacing = firstNumber(attribute(slide, 'DICOM_PIXEL_SPACING'));
    const vendor = attribute(root, 'DICOM_MANUFACTURER') ?? 'philips';
    return createTiledSlide(source, {
      format: 'philips-tiff',
      vendor: vendor.toLowerCase(),
      scale: scaleOf(source.name, given, spacing === null ? null : spacing * 1000, null),
      objectivePower: null,
      properties: { software: full.software, 'philips.model': attribute(root, 'DICOM_MANUFACTURERS_MODEL_NAME') ?? '' },
      levels: levelsOf(tiled).map(({ page, width, height }) => ({ ...tiffTiles(source, page), width, height })),
      associated: new Map([
        ...picturesOf(root),
        ...strippedPictures(pages).map(([name, page]) => [name, tiffTiles(source, page)] as const),
      ]),
    });
  },
};

/** Each level is a power of two smaller than the first; what its page has more than that is filling. */
function levelsOf(pages: readonly TiffPage[]): { page: TiffPage; width: number; height: number }[] {
  const full = pages[0]!;
  const levels = pages.map((page) => {
    const downsample = 2 ** Math.round(Math.log2(full.width / page.width));
    const width = Math.min(page.width, Math.ceil(full.width / downsample));
    return { page, width, height: Math.min(page.height, Math.ceil(full.height / downsample)) };
  });
  return levels.filter(({ width }, i) => i === 0 || width < levels[i - 1]!.width);
}

/** The text of an element's own attribute, or of the first one below it. */
function attribute(element: XmlElement, name: string): string | null {
  const own = element.children.find((child) => child.attributes.Name === name);
  const found = own ?? elementsNamed(element, 'Attribute').find((child) => child.attributes.Name === name);
  return found?.text.trim() || null;
}

/** Of `"0.000227" "0.000227"`. */
function firstNumber(text: string | null): number | null {
  const number = Number(/[\d.]+(?:[eE]-?\d+)?/.exec(text ?? '')?.[0]);
  return number > 0 ? number : null;
}

const pictureNames: Readonly<Record<string, string>> = { LABELIMAGE: 'label', MACROIMAGE: 'macro' };

function picturesOf(root: XmlElement): [string, TileGrid][] {
  return elementsNamed(root, 'DataObject').flatMap((image) => {
    const type = image.children.find((child) => child.attributes.Name === 'PIM_DP_IMAGE_TYPE')?.text.trim() ?? '';
    const data = image.children.find((child) => child.attributes.Name === 'PIM_DP_IMAGE_DATA')?.text;
    const name = pictureNames[type];
    if (name === undefined || !data) return [];
    const bytes = new Uint8Array(Buffer.from(data, 'base64'));
    try {
      const { width, height } = jpegSize(bytes);
      const encoding = { codec: 'jpeg', width, height, colour: 'rgb', samples: 3, differenced: false } as const;
      return [
        [name, { width, height, tileWidth: width, tileHeight: height, encoding, read: async () => bytes.slice() }],
      ];
    } catch {
      // A damaged label is no reason to refuse the slide.
      return [];
    }
  });
}

function strippedPictures(pages: readonly TiffPage[]): [string, TiffPage][] {
  return pages.flatMap((page) => {
    const name = /^(label|macro)/i.exec(page.description)?.[0].toLowerCase();
    return name && !page.tiled && canRead(page) ? [[name, page]] : [];
  });
}
