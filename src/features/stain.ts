/**
 * How the colours of patches are changed before an encoder sees them: plain data, made once a slide, applied on the fly.
 */

/** Two rows of three optical densities (red, green, blue): haematoxylin and eosin, each of length 1. */
export type StainMatrix = readonly [number, number, number, number, number, number];
type Three = readonly [number, number, number];

/** From the stains of a slide to those of a target. */
export type StainTransform =
  /** Amounts of two stains, of optical densities by `unmix` (2 x 3), scaled, and mixed again by other stains. */
  | {
      readonly kind: 'stains';
      readonly unmix: StainMatrix;
      readonly scale: readonly [number, number];
      readonly stains: StainMatrix;
    }
  /** Each of Ruderman's l, alpha and beta times `scale` plus `shift`. */
  | { readonly kind: 'lab'; readonly scale: Three; readonly shift: Three };

/** Random changes of the amount of each stain, patch by patch. */
export interface StainAugmentation {
  readonly seed: number;
  /** Amounts are multiplied by 1 ± strength and shifted by ± strength / 4, evenly. */
  readonly strength: number;
}

export interface Recolouring {
  /** Null leaves the colours as they are. */
  readonly transform: StainTransform | null;
  readonly augmentation: StainAugmentation | null;
  /** Number of the first patch of the batch: the chance of a patch does not depend on the batch it is in. */
  readonly first: number;
}
