/** Runs many golden cases one after another and says how each went. Browser-safe, as `run-case.ts`. */
import { messageOf } from '../../src/errors.ts';
import type { Device } from '../../src/kernels/device.ts';
import { runCase } from './run-case.ts';
import type { Golden, GoldenCase } from './source.ts';

export interface CaseReport {
  readonly kind: string;
  readonly name: string;
  readonly passed: boolean;
  /** Largest error over tolerance of its outputs, and that output's name; null when the case failed without a comparison. */
  readonly worst: number | null;
  readonly output: string | null;
  /** Why there is nothing to compare. */
  readonly error: string | null;
  readonly seconds: number;
}

/** A failing case does not stop the others. */
export async function* runCases(
  golden: Golden,
  device: Device,
  cases: readonly GoldenCase[] = golden.cases,
): AsyncGenerator<CaseReport> {
  for (const goldenCase of cases) {
    const { kind, name } = goldenCase;
    const start = performance.now();
    const seconds = () => Math.round(performance.now() - start) / 1000;
    try {
      const { worst, output } = await runCase(golden, goldenCase, device);
      yield { kind, name, passed: worst <= 1, worst: finite(worst), output, error: null, seconds: seconds() };
    } catch (error) {
      yield { kind, name, passed: false, worst: null, output: null, error: messageOf(error), seconds: seconds() };
    }
  }
}

/** JSON has no infinity. */
function finite(worst: number): number {
  return Math.min(worst, Number.MAX_VALUE);
}
