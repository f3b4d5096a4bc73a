/** One thing to time on a device: kernels, how to know that they are right, and what they cost at least. */
import { createRandom } from '../random.ts';

/** What a run must move and compute, counted as in lbmamba-scan.md §7; every tensor crosses memory once. */
export interface Cost {
  readonly bytes: number;
  /** Multiplications and additions; exponentials and the like are not counted. */
  readonly flops: number;
}

export interface KernelCase extends Cost {
  readonly name: string;
  run(): void;
  /** Compares what `run` left with plain loops in double precision. @throws WrongResult */
  check(): Promise<void>;
}

export function sumOf(...costs: readonly Cost[]): Cost {
  return {
    bytes: costs.reduce((sum, { bytes }) => sum + bytes, 0),
    flops: costs.reduce((sum, { flops }) => sum + flops, 0),
  };
}

/** Uniform numbers in [low, high). */
export function uniform(seed: number, length: number, low = -1, high = 1): Float32Array {
  const random = createRandom(seed);
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) values[i] = low + (high - low) * random();
  return values;
}

/** Up to `count` different whole numbers below `n`, spread over all of them, the first and the last among them. */
export function spreadOver(n: number, count: number): number[] {
  const steps = Math.min(count, n) - 1;
  return [...new Set(Array.from({ length: steps + 1 }, (_, i) => Math.round((i * (n - 1)) / Math.max(1, steps))))];
}
