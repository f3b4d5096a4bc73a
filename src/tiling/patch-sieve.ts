/** Which patches of a stream are worth keeping, and why the others are not. */
import { type PatchQuality, patchQuality } from './patch-quality.ts';
import type { PatchStreamBatch } from './patches.ts';
import { penColours } from './pen.ts';

/** Why a place on the tissue is no patch. */
export const exclusions = ['little-tissue', 'not-chosen', 'blurred', 'pen', 'unreadable'] as const;
export type Exclusion = (typeof exclusions)[number];

export interface PatchLimits {
  /** Least variance of the Laplacian; null takes any. */
  readonly minFocus: number | null;
  /** Largest share of a patch that looks like ink of any colour; null takes any. */
  readonly maxPen: number | null;
  /** Largest share of a patch that could not be read; what is missing is white. */
  readonly maxBadFraction: number;
}

export const noLimits: PatchLimits = { minFocus: null, maxPen: null, maxBadFraction: 0 };

/** Sorts patches as they stream by. */
export class PatchSieve {
  /** By index of the patch in the grid. */
  readonly excluded = new Map<number, Exclusion>();
  readonly #limits: PatchLimits;

  constructor(limits: PatchLimits) {
    this.#limits = limits;
  }

  /**
   * Rows of the batch to keep; null for all of them. Pixels are looked at only when a limit asks for it.
   * @param onMeasured makes it look at all of them.
   */
  rows(batch: PatchStreamBatch, onMeasured?: (patch: number, quality: PatchQuality, missing: number) => void) {
    const { pixels, count, size, first, holes } = batch;
    const { minFocus, maxPen } = this.#limits;
    const looks = onMeasured !== undefined || minFocus !== null || maxPen !== null;
    const missing = new Map(holes.map((hole) => [hole.patch, hole.missing]));
    const kept: number[] = [];
    for (let row = 0; row < count; row++) {
      const patch = first + row;
      const bytes = size * size * 3;
      const quality = looks ? patchQuality(pixels.subarray(row * bytes, (row + 1) * bytes), size) : null;
      if (quality) onMeasured?.(patch, quality, missing.get(patch) ?? 0);
      const reason = this.#exclusionOf(quality, missing.get(patch) ?? 0);
      if (reason) this.excluded.set(patch, reason);
      else kept.push(row);
    }
    return kept.length === count ? null : kept;
  }

  #exclusionOf(quality: PatchQuality | null, missing: number): Exclusion | null {
    const { minFocus, maxPen, maxBadFraction } = this.#limits;
    if (missing > maxBadFraction) return 'unreadable';
    if (quality && maxPen !== null && penShare(quality) > maxPen) return 'pen';
    if (quality && minFocus !== null && quality.focus < minFocus) return 'blurred';
    return null;
  }
}

/** Share of a patch that looks like ink of any colour. */
export function penShare({ ink }: PatchQuality): number {
  return penColours.reduce((sum, colour) => sum + ink[colour], 0);
}
