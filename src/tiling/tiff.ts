/** TIFF and BigTIFF as any program writes them: the first page is the slide, pages of the same picture in smaller are its levels. */
import { mppOfResolution, scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import type { TiffPage } from './tiff-file.ts';
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
      levels: pyramid(pages).map((page) => tiffTiles(source, page)),
      associated: new Map(),
    });
  },
};

/** The first page and the later ones that show the same picture, each smaller than the one before. */
function pyramid(pages: readonly TiffPage[]): TiffPage[] {
  const levels = [pages[0]!];
  for (const page of pages.slice(1)) {
    const full = levels[0]!;
    const last = levels.at(-1)!;
    const downsample = full.width / page.width;
    // Each halving may lose a pixel to rounding.
    const sameShape = Math.abs(full.height / downsample - page.height) <= 2;
    if (page.tiled === full.tiled && page.width < last.width && page.height < last.height && sameShape)
      levels.push(page);
  }
  return levels;
}
