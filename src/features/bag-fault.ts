/** What is wrong with a bag, in words. */
import { UserError } from '../errors.ts';

export interface Fault {
  /** What to do, where it is not what helps against damage. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** @param why goes on after "not a readable bag, ". */
export function badBag(path: string, why: string, { hint, cause }: Fault = {}): UserError {
  const again = 'Copy it again, or delete it and extract the slide again.';
  return new UserError('bad-bag', `${path}: not a readable bag, ${why}.`, hint ?? again, { cause });
}

/** Which of some rows' numbers is none: "feature 3 of patch 1200 is NaN"; null when all are finite. */
export function notFinite(features: Float32Array, dimension: number, firstRow = 0): string | null {
  for (let i = 0; i < features.length; i++) {
    if (Number.isFinite(features[i])) continue;
    return `feature ${i % dimension} of patch ${firstRow + Math.floor(i / dimension)} is ${features[i]}`;
  }
  return null;
}
