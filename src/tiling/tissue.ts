/**
 * Where the tissue is: pixels that differ from the background by more than noise, cleaned up by size.
 *
 * Brightfield (H&E, IHC): the difference is optical density and colour against the slide's own white.
 * Dark background (fluorescence): the difference is brightness.
 */
import type { Micrometres, Mpp } from '../units.ts';
import { DecodePool } from './decode-pool.ts';
import { dilate, fillSmall, intersect, invert, type Mask, removeSmall } from './morphology.ts';
import { maxOverviewPixels, type Overview, readOverview } from './overview.ts';
import { canTellInk, penMask } from './pen.ts';
import type { RgbImage, Slide } from './slide.ts';

export interface TissueMask extends Mask {
  /** Level-0 pixels across one pixel of the mask. */
  readonly level0PerPixel: number;
  /** Null if the scale of the slide is unknown. */
  readonly areaUm2: number | null;
}

export interface TissueOptions {
  /** Tissue is grown by this much, so that its rim is not lost to the threshold. */
  readonly marginUm?: Micrometres;
  /** Smaller pieces, margin included, are dust. */
  readonly fragmentUm2?: number;
  /** Smaller gaps inside tissue are part of it: vessels, lumina, tears. */
  readonly holeUm2?: number;
  /** Whether pen marks count as tissue. */
  readonly keepPen?: boolean;
}

export const tissueDefaults = { marginUm: 25, fragmentUm2: 5_000, holeUm2: 50_000, keepPen: false } as const;

/** Micrometres per pixel of the mask. */
const maskMpp = 8;
/** Less ink in one piece is no pen mark. */
const penUm2 = 6_000;
/** How far a pen mark reaches beyond its full strokes. */
const penReachUm = 60;
/** The pale rim of a pen mark. */
const penRimUm = 20;
/** Taken for a slide that does not say. */
const assumedMpp: Mpp = 0.5;
/** A picture this small without a scale is a thumbnail or a field of view, not a scan. */
const thumbnailPx = 1024;

/** The tissue of an overview, found by a thread of its own: it takes a tenth of a second, for which tiles would have to wait. */
export interface TissueTask {
  readonly kind: 'tissue';
  readonly overview: Overview;
  readonly mpp: Mpp;
  readonly options: TissueOptions;
}

/** It decodes nothing that could be damaged: a minute is for the largest mask on a machine with much else to do. */
const finder = new DecodePool(1, 60_000);

/** Finds the tissue of a slide. Without a scale, 0.5 um/px is assumed for scans, 4 um/px for small pictures. */
export async function readTissue(slide: Slide, signal?: AbortSignal, options: TissueOptions = {}): Promise<TissueMask> {
  const overview = await readOverview(slide, maskScale(slide), signal);
  const task: TissueTask = { kind: 'tissue', overview, mpp: maskMppOf(slide), options };
  const data = new Uint8Array((await finder.run(() => task, signal))!);
  const { width, height, level0PerPixel } = overview;
  return tissueMask({ width, height, data }, level0PerPixel, maskPixelUm2(slide));
}

/** Level-0 pixels per pixel of a slide's masks. */
export function maskScale(slide: Pick<Slide, 'levels' | 'scale'>): number {
  const { width, height } = slide.levels[0]!;
  // A coarsely scanned slide may be so large that its mask must be coarser than that.
  const least = Math.sqrt((width * height * 1.01) / maxOverviewPixels);
  return Math.max(1, maskMpp / maskMppOf(slide), least);
}

/** Square micrometres under one pixel of the slide's masks, null if the scale is unknown. */
export function maskPixelUm2(slide: Pick<Slide, 'levels' | 'scale'>): number | null {
  return slide.scale.mpp === null ? null : (maskScale(slide) * slide.scale.mpp) ** 2;
}

/** Micrometres per level-0 pixel, an assumption if the slide does not say. */
function maskMppOf({ levels, scale }: Pick<Slide, 'levels' | 'scale'>): Mpp {
  const { width, height } = levels[0]!;
  return scale.mpp ?? (Math.max(width, height) <= thumbnailPx ? maskMpp / 2 : assumedMpp);
}

/** @param mpp micrometres per level-0 pixel */
export function tissueOf(overview: Overview, mpp: Mpp, options: TissueOptions = {}): Mask {
  const { marginUm, fragmentUm2, holeUm2, keepPen } = { ...tissueDefaults, ...options };
  const pixelUm = overview.level0PerPixel * mpp;
  const pixelUm2 = pixelUm * pixelUm;
  const pen =
    keepPen || isDark(overview) || !canTellInk(overview)
      ? null
      : dilate(penMask(overview, penUm2 / pixelUm2, penReachUm / pixelUm), penRimUm / pixelUm);
  const stained = withoutPen(threshold(overview), pen);
  const grown = dilate(removeSmall(stained, 3), marginUm / pixelUm);
  // Once more: neither margin nor filled gaps bring a mark back.
  return removeSmall(withoutPen(fillSmall(grown, holeUm2 / pixelUm2), pen), fragmentUm2 / pixelUm2);
}

/** A mask with the area it covers. @param pixelUm2 area of one of its pixels, null if the scale is unknown */
export function tissueMask(mask: Mask, level0PerPixel: number, pixelUm2: number | null): TissueMask {
  let count = 0;
  for (let i = 0; i < mask.data.length; i++) count += mask.data[i]!;
  return { ...mask, level0PerPixel, areaUm2: pixelUm2 === null ? null : count * pixelUm2 };
}

function withoutPen(mask: Mask, pen: Mask | null): Mask {
  return pen ? intersect(mask, invert(pen)) : mask;
}

/** Pixels on the far side of Otsu's threshold of the difference from the background. */
function threshold(image: RgbImage): Mask {
  const { width, height } = image;
  const dark = isDark(image);
  const difference = dark ? brightness(image) : stain(image);
  const { least, most } = dark ? darkBounds : stainBounds;
  const cut = Math.min(most, Math.max(least, otsu(difference)));
  for (let i = 0; i < difference.length; i++) difference[i] = difference[i]! > cut ? 1 : 0;
  return { width, height, data: difference };
}

/**
 * Bounds of the threshold, in hundredths of optical density and in grey levels: below is noise;
 * and a slide that is full of tissue must not lose its pale half.
 */
const stainBounds = { least: 8, most: 25 };
const darkBounds = { least: 8, most: 40 };
/** Ink and folds are so dark that they would draw the threshold past the tissue: density is cut here. */
const saturated = 50;

/** Half of the pixels or more are nearly black. */
function isDark({ data }: RgbImage): boolean {
  let dark = 0;
  for (let i = 0; i < data.length; i += 3) if (data[i]! + data[i + 1]! + data[i + 2]! < 3 * 50) dark++;
  return dark > data.length / 6;
}

function brightness({ data }: RgbImage): Uint8Array {
  const values = new Uint8Array(data.length / 3);
  for (let i = 0; i < values.length; i++) values[i] = Math.max(data[i * 3]!, data[i * 3 + 1]!, data[i * 3 + 2]!);
  return values;
}

/**
 * How much stain a pixel shows, in hundredths of optical density against the slide's white, `saturated` at most: the mean of
 * the three channels plus their spread, because pale tissue is told from a shadow by its colour.
 */
function stain({ data }: RgbImage): Uint8Array {
  const tables = [0, 1, 2].map((channel) => {
    const white = whiteOf(data, channel);
    return Float64Array.from({ length: 256 }, (_, value) => Math.max(0, 100 * Math.log10(white / Math.max(1, value))));
  });
  const values = new Uint8Array(data.length / 3);
  for (let i = 0; i < values.length; i++) {
    const red = tables[0]![data[i * 3]!]!;
    const green = tables[1]![data[i * 3 + 1]!]!;
    const blue = tables[2]![data[i * 3 + 2]!]!;
    const spread = Math.max(red, green, blue) - Math.min(red, green, blue);
    values[i] = Math.min(saturated, (red + green + blue) / 3 + spread);
  }
  return values;
}

/** The value that one pixel in 300 exceeds; at least 200, should the picture have no background. */
function whiteOf(data: Uint8Array, channel: number): number {
  const histogram = new Uint32Array(256);
  for (let i = channel; i < data.length; i += 3) histogram[data[i]!]!++;
  let above = 0;
  for (let value = 255; value > 200; value--) {
    above += histogram[value]!;
    if (above > data.length / 300) return value;
  }
  return 200;
}

/** The value that splits 8-bit values into the two classes of greatest variance between them (Otsu 1979). */
export function otsu(values: Uint8Array): number {
  const histogram = new Float64Array(256);
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    histogram[values[i]!]!++;
    total += values[i]!;
  }
  let best = 0;
  let bestVariance = -1;
  let below = 0;
  let sumBelow = 0;
  for (let cut = 0; cut < 255; cut++) {
    below += histogram[cut]!;
    sumBelow += cut * histogram[cut]!;
    const above = values.length - below;
    if (below === 0 || above === 0) continue;
    const variance = below * above * (sumBelow / below - (total - sumBelow) / above) ** 2;
    if (variance > bestVariance) {
      bestVariance = variance;
      best = cut;
    }
  }
  return best;
}
