/** The contract of a bag: the feature vectors of one slide's patches, where the patches lie, and what they came from. */
import { cellsOfCoords, type GridOrder } from '../row-order.ts';
import type { Level0Px, Mpp, MppSource } from '../units.ts';

/** How the rows of a bag are ordered. Declared when a bag is made, never inherited from a file. */
export type RowOrder = GridOrder | 'unknown';

export interface BagMeta {
  readonly slideId: string;
  /** `sha256:…` of the slide, or `head:…` (size, time and head) for huge files; null in bags of other tools, which do not say. */
  readonly slideHash: string | null;
  /** Micrometres per level-0 pixel. */
  readonly mpp: Mpp | null;
  readonly mppSource: MppSource;
  /** Micrometres per pixel of the patches as the encoder saw them. */
  readonly patchMpp: Mpp | null;
  /** Side of a patch as the encoder saw it; null when the tool that made the bag does not say. */
  readonly patchPx: number | null;
  /** Side of a patch on the slide; likewise. */
  readonly patchLevel0Px: Level0Px | null;
  /** From one patch to the next on the slide; where it is not said, patches lie side by side. */
  readonly strideLevel0Px?: Level0Px;
  readonly encoder: string;
  readonly order: RowOrder;
  /** Version of the program that wrote the bag. */
  readonly version: string;
}

export interface Bag {
  readonly meta: BagMeta;
  /** Number of instances (patches). */
  readonly count: number;
  readonly dimension: number;
  /** count x dimension, row by row. */
  readonly features: Float32Array;
  /** count x 2, level-0 px of each patch's top-left corner (x, y); null when the file had none. */
  readonly coords: Int32Array | null;
}

/** With what follows from two of scale, pixels and side on the slide, where it is not said. */
export function completed(meta: BagMeta): BagMeta {
  const { mpp, patchPx, patchMpp } = meta;
  const side = meta.patchLevel0Px ?? (patchMpp && patchPx && mpp ? (patchMpp * patchPx) / mpp : null);
  return {
    ...meta,
    patchMpp: patchMpp ?? (side && patchPx && mpp ? (mpp * side) / patchPx : null),
    patchLevel0Px: side,
  };
}

/** Row and column of each patch on the slide's grid (rows x 2), for orders of scanning; null when the bag does not say where they lie. */
export function cellsOfBag({ coords, meta }: Pick<Bag, 'coords' | 'meta'>): Int32Array | null {
  const stride = meta.strideLevel0Px ?? meta.patchLevel0Px;
  return coords && stride ? cellsOfCoords(coords, stride) : null;
}
