/**
 * Ventana BIF: a BigTIFF whose pages say `level=N`, with an `iScan` document in tag 700. Scanners that stitch let their tiles overlap,
 * by amounts that the document lists; such slides are left to libopenslide.
 */
import { openWithOpenSlide } from './openslide.ts';
import { scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import { damagedTiff, type TiffPage } from './tiff-file.ts';
import { canRead, checkWhole, tiffTiles } from './tiff-tiles.ts';
import { createTiledSlide } from './tiled-slide.ts';
import { elementsNamed, parseXml, type XmlElement } from './xml.ts';

export const ventanaBif: SlideFormat = {
  name: 'ventana-bif',

  async recognises(candidate) {
    const pages = (await candidate.tiffPages()) ?? [];
    return pages.some(({ xmp }) => xmp.includes('<iScan')) && pages.some((page) => levelOf(page) !== null);
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    let documents: XmlElement[];
    try {
      documents = pages.filter(({ xmp }) => xmp.trim() !== '').map(({ xmp }) => parseXml(xmp));
    } catch (error) {
      throw damagedTiff(source, error);
    }
    const joints = documents.flatMap((document) => elementsNamed(document, 'TileJointInfo'));
    if (joints.some(({ attributes }) => Number(attributes.OverlapX) !== 0 || Number(attributes.OverlapY) !== 0)) {
      return openWithOpenSlide(source, given, 'a slide of overlapping tiles');
    }
    const scan = documents.flatMap((document) => elementsNamed(document, 'iScan'))[0]?.attributes ?? {};
    const levels = pages.filter((page) => levelOf(page) !== null).sort((a, b) => levelOf(a)! - levelOf(b)!);
    checkWhole(source, levels[0]!);
    const [mpp, power] = [Number(scan.ScanRes), Number(scan.Magnification)];
    const objectivePower = power > 0 ? power : null;
    return createTiledSlide(source, {
      format: 'ventana-bif',
      vendor: 'ventana',
      scale: scaleOf(source.name, given, mpp > 0 ? mpp : null, objectivePower),
      objectivePower,
      properties: { 'ventana.ScannerModel': scan.ScannerModel ?? '' },
      levels: levels.map((page) => tiffTiles(source, page)),
      associated: new Map(
        pages.flatMap((page) => {
          const name = /^(label|thumbnail|probability)/i.exec(page.description)?.[0].toLowerCase();
          // The scanner's label image shows the whole glass.
          return name && name !== 'probability' && canRead(page)
            ? [[name === 'label' ? 'macro' : name, tiffTiles(source, page)] as const]
            : [];
        }),
      ),
    });
  },
};

function levelOf(page: TiffPage): number | null {
  const level = /^level=(\d+)/.exec(page.description)?.[1];
  return level === undefined ? null : Number(level);
}
