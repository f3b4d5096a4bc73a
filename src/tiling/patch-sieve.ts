/** Which patches of a stream are worth keeping, and why the others are not. */
import { patchQuality } from './patch-quality.ts';
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

export interface PatchMeasures {
  /** Variance of the Laplacian. */
  readonly focus: number;
  /** Share that looks like ink of any colour. */
  readonly pen: number;
  readonly saturation: number;
  /** Share that could not be read. */
  readonly missing: number;
}

/** Sorts patches as they stream by. */
export class PatchSieve {
  /** By index of the patch in the grid. */
  readonly excluded = new Map<number, Exclusion>();
  readonly #limits: PatchLimits;
  readonly #inkBlock: number | null;

  /** @param inkBlock as of `patchQuality`; null where the colours of ink are the slide's own (`canTellInk`): then there is none */
  constructor(limits: PatchLimits, inkBlock: number | null) {
    this.#limits = limits;
    this.#inkBlock = inkBlock;
  }

  /**
   * Rows of the batch to keep; null for all of them. Pixels are looked at only when a limit asks for it.
   * @param onMeasured makes it look at all of them.
   */
  rows(batch: PatchStreamBatch, onMeasured?: (patch: number, measures: PatchMeasures) => void) {
    const { pixels, count, size, first, holes } = batch;
    const { minFocus, maxPen } = this.#limits;
    const looks = onMeasured !== undefined || minFocus !== null || maxPen !== null;
    const missing = new Map(holes.map((hole) => [hole.patch, hole.missing]));
    const kept: number[] = [];
    for (let row = 0; row < count; row++) {
      const patch = first + row;
      const bytes = size * size * 3;
      const missed = missing.get(patch) ?? 0;
      const measured = looks ? this.#measure(pixels.subarray(row * bytes, (row + 1) * bytes), size, missed) : null;
      if (measured) onMeasured?.(patch, measured);
      const reason = this.#exclusionOf(measured, missed);
      if (reason) this.excluded.set(patch, reason);
      else kept.push(row);
    }
    return kept.length === count ? null : kept;
  }

  #measure(pixels: Uint8Array, size: number, missing: number): PatchMeasures {
    const { focus, saturation, ink } = patchQuality(pixels, size, this.#inkBlock ?? size);
    const pen = this.#inkBlock === null ? 0 : penColours.reduce((sum, colour) => sum + ink[colour], 0);
    return { focus, pen, saturation, missing };
  }

  #exclusionOf(measured: PatchMeasures | null, missing: number): Exclusion | null {
    const { minFocus, maxPen, maxBadFraction } = this.#limits;
    if (missing > maxBadFraction) return 'unreadable';
    if (measured && maxPen !== null && measured.pen > maxPen) return 'pen';
    if (measured && minFocus !== null && measured.focus < minFocus) return 'blurred';
    return null;
  }
}
