/** Refuses to mix what must not be mixed: a bag and a model made for different encoders, widths or scales. */
import { UserError } from '../errors.ts';
import type { Mpp } from '../units.ts';
import type { BagMeta } from './bag.ts';

/** What a model was made for, as its card says. A null scale is not compared. */
export interface BagNeeds {
  readonly encoder: string;
  readonly dimension: number;
  /** Micrometres per pixel of the patches. */
  readonly patchMpp: Mpp | null;
}

/** Scanners and rounding differ by a few percent; the next power of a scanner is a factor of two away. */
const SCALE_TOLERANCE = 0.1;

/** What a bag is, or is going to be. */
export interface BagKind {
  readonly meta: Pick<BagMeta, 'encoder' | 'patchMpp'>;
  readonly dimension: number;
}

/**
 * @param name whose bag it is, for the message: a file, a slide, a run.
 * @throws UserError `encoder-mismatch` naming both sides.
 */
export function requireMatch(name: string, bag: BagKind, needs: BagNeeds): void {
  const { encoder, patchMpp } = bag.meta;
  const mismatch = (found: string, wanted: string, hint: string) =>
    new UserError('encoder-mismatch', `${name}: there are ${found}, the model needs ${wanted}.`, hint);

  if (encoder !== needs.encoder) {
    const hint = `Extract with --encoder ${needs.encoder}, or take a model trained on ${encoder}.`;
    throw mismatch(`features of ${encoder}`, needs.encoder, hint);
  }
  if (bag.dimension !== needs.dimension) {
    const hint = `Extract again with ${needs.encoder}, or take another model.`;
    throw mismatch(`${bag.dimension} features a patch`, `${needs.dimension}`, hint);
  }
  if (patchMpp !== null && needs.patchMpp !== null && Math.abs(patchMpp / needs.patchMpp - 1) > SCALE_TOLERANCE) {
    const hint = `Extract with --target-mpp ${needs.patchMpp}.`;
    throw mismatch(`patches of ${patchMpp} um/px`, `${needs.patchMpp} um/px`, hint);
  }
}
