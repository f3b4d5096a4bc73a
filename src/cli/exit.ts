/** What the exit code says. */
import { CommanderError } from 'commander';
import { UserError } from '../errors.ts';

export const DONE = 0;
export const FAILED = 1;
export const USAGE = 2;
export const SOME_FAILED = 3;
export const NOTHING_MATCHED = 4;
export const INTERRUPTED = 130;

export const EXIT: readonly (readonly [code: number, meaning: string])[] = [
  [DONE, 'done'],
  [FAILED, 'failed'],
  [USAGE, 'wrong usage'],
  [SOME_FAILED, 'some slides failed'],
  [NOTHING_MATCHED, 'nothing to do matched'],
  [INTERRUPTED, 'interrupted'],
];

/** Commander throws also for `--help` and `--version`, with code 0. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : USAGE;
  if (error instanceof UserError && error.code === 'nothing-matched') return NOTHING_MATCHED;
  if (error instanceof Error && error.name === 'AbortError') return INTERRUPTED;
  return FAILED;
}
