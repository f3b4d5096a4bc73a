/** What was thrown while a slide was run, in words for the person. */
import { messageOf, UserError } from '../errors.ts';
import type { StageName } from './stages.ts';

export interface Failure {
  readonly stage: StageName;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export function failureOf(error: unknown): Omit<Failure, 'stage'> {
  if (error instanceof UserError) return { code: error.code, message: error.problem, hint: error.hint };
  if (isOutOfMemory(error)) {
    const hint = 'Use smaller batches (--batch 16), run fewer slides at once, or take a machine with more memory.';
    return { code: 'out-of-memory', message: `There was not enough memory (${messageOf(error)}).`, hint };
  }
  return { code: 'fault', message: messageOf(error), hint: 'Run the slide again with --verbose and report it.' };
}

/** In the words of V8, of worker threads, of WebAssembly and of the encoders' libraries. */
function isOutOfMemory(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOMEM' || code === 'ERR_WORKER_OUT_OF_MEMORY') return true;
  return /allocation failed|out of memory|could not allocate|failed to allocate|memory size exceeded|unable to grow|bad_alloc/i.test(
    messageOf(error),
  );
}
