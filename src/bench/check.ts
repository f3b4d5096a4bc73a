/** A benchmark first proves that the result is right: a fast wrong answer has no time. */

export class WrongResult extends Error {
  override readonly name = 'WrongResult';
}

/**
 * Passes if max |got - wanted| <= tolerance max |wanted|.
 * @throws WrongResult that says what is wrong, and where it is worst.
 */
export function expectClose(
  what: string,
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number,
  scale = largest(wanted),
): void {
  if (got.length !== wanted.length) {
    throw new WrongResult(`${what} is wrong: ${got.length} numbers instead of ${wanted.length}`);
  }
  let [worst, at] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    const off = Math.abs(got[i]! - wanted[i]!);
    if (off <= worst) continue; // NaN goes on
    [worst, at] = [off, i];
    if (Number.isNaN(off)) break;
  }
  if (worst <= tolerance * scale) return;
  throw new WrongResult(
    `${what} is wrong: number ${at} of ${wanted.length} is ${got[at]}, not ${wanted[at]} (allowed ${(tolerance * scale).toPrecision(2)})`,
  );
}

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}
