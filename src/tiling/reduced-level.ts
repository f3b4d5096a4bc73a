/** The level that pixels of a scale are made from, and how much smaller its tiles may be decoded at once. */
import type { Slide } from './slide.ts';

/** All in pixels as they come: means of `reduce` x `reduce` of the level. */
export interface ReducedLevel {
  readonly level: number;
  /** 1, 2, 4 or 8. */
  readonly reduce: number;
  /** Not whole where `reduce` does not divide the level. */
  readonly width: number;
  readonly height: number;
  readonly tileWidth: number;
  readonly tileHeight: number;
  readonly columns: number;
  readonly rows: number;
  /** Pixels per level-0 pixel. */
  readonly scaleX: number;
  readonly scaleY: number;
}

/** Rounding in a level's downsample. */
const slack = 1.0001;

/**
 * The coarsest level there is with at most `level0PerPixel` level-0 pixels per pixel: it is reduced further, never enlarged.
 *
 * @param least of the reduced pixels, each way, that make up a pixel wanted. With 1 a pixel may be made of parts of two that lie askew to it; with
 *   2 or more that is seldom seen.
 */
export function reducedLevel(slide: Slide, level0PerPixel: number, least: number): ReducedLevel {
  const level = coarsestLevel(slide, level0PerPixel);
  const { width, height, tileWidth, tileHeight, downsample } = slide.levels[level]!;
  // Tiles of which a pixel would lie in two are taken whole.
  const fits = (step: number) =>
    downsample * step * least <= level0PerPixel * slack && (tileWidth % step) + (tileHeight % step) === 0;
  const reduce = [8, 4, 2].find(fits) ?? 1;
  const full = slide.levels[0]!;
  return {
    level,
    reduce,
    width: width / reduce,
    height: height / reduce,
    tileWidth: tileWidth / reduce,
    tileHeight: tileHeight / reduce,
    columns: Math.ceil(width / tileWidth),
    rows: Math.ceil(height / tileHeight),
    scaleX: width / reduce / full.width,
    scaleY: height / reduce / full.height,
  };
}

function coarsestLevel(slide: Slide, level0PerPixel: number): number {
  let best = 0;
  slide.levels.forEach(({ downsample }, level) => {
    if (downsample <= level0PerPixel * slack && downsample >= slide.levels[best]!.downsample) best = level;
  });
  return best;
}
