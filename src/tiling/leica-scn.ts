/**
 * Leica SCN: a BigTIFF whose first description is an XML list of images with their place on the glass (nanometres) and their levels by
 * page. The image as large as the glass is the macro picture. Slides with several scanned areas are left to libopenslide.
 */
import { openWithOpenSlide } from './openslide.ts';
import { scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import { damagedTiff, type TiffPage } from './tiff-file.ts';
import { canRead, checkWhole, tiffTiles } from './tiff-tiles.ts';
import { createTiledSlide } from './tiled-slide.ts';
import { elementsNamed, parseXml, type XmlElement } from './xml.ts';

export const leicaScn: SlideFormat = {
  name: 'leica-scn',

  async recognises(candidate) {
    return (await candidate.tiffPages())?.[0]?.description.includes('leica-microsystems.com/scn') ?? false;
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    let images: ScnImage[];
    try {
      images = imagesOf(parseXml(pages[0]!.description), pages);
      if (!images.some(({ isMacro }) => !isMacro)) throw new Error('it has no scanned area');
    } catch (error) {
      throw damagedTiff(source, error);
    }
    const areas = images.filter(({ isMacro }) => !isMacro);
    if (areas.length > 1) return openWithOpenSlide(source, given, `a slide of ${areas.length} scanned areas`);
    const { levels, mpp, objectivePower, model } = areas[0]!;
    checkWhole(source, levels[0]!);
    const macro = images.find(({ isMacro }) => isMacro)?.levels[0];
    return createTiledSlide(source, {
      format: 'leica-scn',
      vendor: 'leica',
      scale: scaleOf(source.name, given, mpp, objectivePower),
      objectivePower,
      properties: { 'leica.device-model': model },
      levels: levels.map((page) => tiffTiles(source, page)),
      associated: new Map(macro && canRead(macro) ? [['macro', tiffTiles(source, macro)]] : []),
    });
  },
};

interface ScnImage {
  /** Full resolution first. */
  readonly levels: readonly TiffPage[];
  readonly isMacro: boolean;
  readonly mpp: number | null;
  readonly objectivePower: number | null;
  readonly model: string;
}

function imagesOf(scn: XmlElement, pages: readonly TiffPage[]): ScnImage[] {
  return elementsNamed(scn, 'collection').flatMap((collection) =>
    elementsNamed(collection, 'image').map((image) => {
      const view = elementsNamed(image, 'view')[0]?.attributes ?? {};
      const levels = elementsNamed(image, 'dimension')
        .filter(({ attributes }) => Number(attributes.z ?? 0) === 0 && Number(attributes.c ?? 0) === 0)
        .map(({ attributes }) => {
          const page = pages[Number(attributes.ifd)];
          if (page === undefined) throw new Error(`it names page ${attributes.ifd}, which is not there`);
          return page;
        })
        .sort((a, b) => b.width - a.width);
      if (levels.length === 0) throw new Error('an image has no levels');
      const mpp = Number(view.sizeX) / 1000 / levels[0]!.width;
      const power = Number(elementsNamed(image, 'objective')[0]?.text);
      const { sizeX, sizeY } = collection.attributes;
      return {
        levels,
        isMacro: view.sizeX === sizeX && view.sizeY === sizeY,
        mpp: mpp > 0 ? mpp : null,
        objectivePower: power > 0 ? power : null,
        model: elementsNamed(image, 'device')[0]?.attributes.model ?? '',
      };
    }),
  );
}
