/** The pass rule of the golden README: max|got - ref| <= tol max|ref| + atol, over a whole tensor. */
import type { OutputRule } from './source.ts';

/** Error over tolerance: at most 1 passes. A NaN, an infinity or another length is infinitely wrong. */
export function errorRatio(
  got: ArrayLike<number>,
  reference: ArrayLike<number>,
  rule: Pick<OutputRule, 'tol' | 'atol'>,
): number {
  if (got.length !== reference.length) return Number.POSITIVE_INFINITY;
  let [error, size] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    const difference = Math.abs(got[i]! - reference[i]!);
    if (!Number.isFinite(difference)) return Number.POSITIVE_INFINITY;
    error = Math.max(error, difference);
    size = Math.max(size, Math.abs(reference[i]!));
  }
  const allowed = rule.tol * size + rule.atol;
  if (allowed > 0) return error / allowed;
  return error === 0 ? 0 : Number.POSITIVE_INFINITY;
}
