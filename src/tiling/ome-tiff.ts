/**
 * OME-TIFF: the first page's description is an OME-XML document that says which pages are which image. Levels are SubIFDs of the
 * image's page, or the pages after it. Of images stored one channel per page, the first three channels are shown as red, green and blue.
 */
import { messageOf } from '../errors.ts';
import { scaleOf } from './physical-scale.ts';
import { pyramidOf } from './pyramid.ts';
import type { SlideFormat } from './slide-format.ts';
import { damagedTiff, type TiffPage } from './tiff-file.ts';
import { canRead, checkWhole, tiffTiles, tiffTilesOfPlanes } from './tiff-tiles.ts';
import { createTiledSlide } from './tiled-slide.ts';
import { elementsNamed, parseXml, type XmlElement } from './xml.ts';

export const omeTiff: SlideFormat = {
  name: 'ome-tiff',

  async recognises(candidate) {
    return /<(\w+:)?OME[\s>]/.test((await candidate.tiffPages())?.[0]?.description.slice(0, 4096) ?? '');
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    const images = imagesOf(source, pages);
    const main = images.reduce((best, image) => (image.width > best.width ? image : best));
    const channels = main.channels.map((page) => pages[page]!);
    const full = channels[0]!;
    checkWhole(source, full);
    const levels = full.subPages.length
      ? pyramidOf([full, ...full.subPages]).map((page, level) =>
          level === 0 ? channels : channels.flatMap((channel) => channel.subPages[full.subPages.indexOf(page)] ?? []),
        )
      : channels.length > 1
        ? [channels]
        : pyramidOf(pages.slice(main.channels[0]!)).map((page) => [page]);
    const associated = images
      .filter((image) => image !== main && /label|macro|thumbnail/i.test(image.name))
      .map(
        (image) => [/label|macro|thumbnail/i.exec(image.name)![0].toLowerCase(), pages[image.channels[0]!]!] as const,
      )
      .filter(([, page]) => canRead(page));
    return createTiledSlide(source, {
      format: 'ome-tiff',
      vendor: main.vendor,
      scale: scaleOf(source.name, given, main.mpp, main.objectivePower),
      objectivePower: main.objectivePower,
      properties: { 'ome.name': main.name, 'ome.channels': String(main.channelCount) },
      levels: levels.map((level) => tiffTilesOfPlanes(source, level)),
      associated: new Map(associated.map(([name, page]) => [name, tiffTiles(source, page)])),
    });
  },
};

interface OmeImage {
  readonly name: string;
  readonly width: number;
  readonly mpp: number | null;
  readonly vendor: string | null;
  readonly objectivePower: number | null;
  /** Pages of its channels: one, or the first three. */
  readonly channels: readonly number[];
  readonly channelCount: number;
}

function imagesOf(source: { name: string; length: number }, pages: readonly TiffPage[]): OmeImage[] {
  try {
    const ome = parseXml(pages[0]!.description);
    const images = elementsNamed(ome, 'Image').flatMap((image) => imageOf(ome, image, pages) ?? []);
    if (images.length === 0) throw new Error('its OME-XML describes no image of this file');
    return images;
  } catch (error) {
    throw damagedTiff(source, new Error(messageOf(error), { cause: error }));
  }
}

function imageOf(ome: XmlElement, image: XmlElement, pages: readonly TiffPage[]): OmeImage | null {
  const pixels = image.children.find(({ name }) => name === 'Pixels');
  if (pixels === undefined) return null;
  const { SizeC, SizeZ, DimensionOrder, PhysicalSizeX, PhysicalSizeXUnit } = pixels.attributes;
  const first = Number(elementsNamed(pixels, 'TiffData')[0]?.attributes.IFD ?? 0);
  const page = pages[first];
  if (page === undefined) return null;
  const channelCount = page.samplesPerPixel > 1 ? 1 : Math.max(1, Number(SizeC) || 1);
  const step = DimensionOrder?.startsWith('XYZ') ? Math.max(1, Number(SizeZ) || 1) : 1;
  const shown = channelCount >= 3 ? [0, 1, 2].map((channel) => first + channel * step) : [first];
  const objectiveId = image.children.find(({ name }) => name === 'ObjectiveSettings')?.attributes.ID;
  const objective = elementsNamed(ome, 'Objective').find(({ attributes }) => attributes.ID === objectiveId);
  const power = Number(objective?.attributes.NominalMagnification);
  const size = Number(PhysicalSizeX);
  return {
    name: image.attributes.Name ?? '',
    width: page.width,
    mpp: size > 0 ? size * micrometresOf(PhysicalSizeXUnit) : null,
    vendor: elementsNamed(ome, 'Microscope')[0]?.attributes.Manufacturer ?? null,
    objectivePower: objectiveId !== undefined && power > 0 ? power : null,
    channels: shown.every((index) => pages[index]) ? shown : [first],
    channelCount,
  };
}

/** The unit is micrometres unless it says otherwise, also where its Greek letter did not survive. */
function micrometresOf(unit = ''): number {
  return { nm: 1e-3, mm: 1e3, cm: 1e4, m: 1e6, pm: 1e-6, in: 25400 }[unit] ?? 1;
}
