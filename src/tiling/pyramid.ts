/** Which pages of a TIFF file are the levels of one slide. */
import type { TiffPage } from './tiff-file.ts';

/** The first page and the later ones that show the same picture, stored in the same way, each smaller than the one before. */
export function pyramidOf(pages: readonly TiffPage[]): TiffPage[] {
  const full = pages[0]!;
  const levels = [full];
  for (const page of pages.slice(1)) {
    const last = levels.at(-1)!;
    const downsample = full.width / page.width;
    // Each halving may lose a pixel to rounding.
    const sameShape = Math.abs(full.height / downsample - page.height) <= 2;
    const smaller = page.width < last.width && page.height < last.height;
    if (page.tiled === full.tiled && smaller && sameShape) levels.push(page);
  }
  return levels;
}
