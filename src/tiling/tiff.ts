/** TIFF and BigTIFF as any program writes them: the first page is the slide, pages of the same picture in smaller are its levels, or its SubIFDs. */
import { mppOfResolution, scaleOf } from './physical-scale.ts';
import { pyramidOf } from './pyramid.ts';
import type { SlideFormat } from './slide-format.ts';
import { checkWhole, tiffTiles } from './tiff-tiles.ts';
import { createTiledSlide } from './tiled-slide.ts';

export const tiff: SlideFormat = {
  name: 'tiff',

  async recognises(candidate) {
    return (await candidate.tiffPages()) !== null;
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    const first = pages[0]!;
    checkWhole(source, first);
    const { description, software, make } = first;
    return createTiledSlide(source, {
      format: 'tiff',
      vendor: make || null,
      scale: scaleOf(source.name, given, mppOfResolution(first.xResolution, first.resolutionUnit), null),
      objectivePower: null,
      properties: Object.fromEntries(Object.entries({ description, software, make }).filter(([, text]) => text !== '')),
      levels: pyramidOf(first.subPages.length ? [first, ...first.subPages] : pages).map((page) =>
        tiffTiles(source, page),
      ),
      associated: new Map(),
    });
  },
};
