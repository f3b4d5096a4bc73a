/**
 * What went wrong, in words for the person at the keyboard.
 *
 * A `UserError` is something the person can mend: its message says what happened, to which file, and ends in what to do.
 * The command line prints it without a stack trace. Anything else that is thrown is a fault of the program.
 */
export class UserError extends Error {
  override readonly name = 'UserError';

  constructor(
    /** Stable, machine-readable, kebab-case: `not-a-slide`, `no-mpp`, `model-mismatch`. Appears in failures.csv. */
    readonly code: string,
    /** What happened, with the file's name and the values found and expected. */
    readonly problem: string,
    /** What to do now: one imperative sentence. */
    readonly hint: string,
    options?: { cause?: unknown },
  ) {
    super(`${problem} ${hint}`, options);
  }
}

/** The message of anything that may be thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A file that could not be written: the disk is full, or something that the person can look at. */
export function cannotWrite(path: string, error: unknown): UserError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const problem = `${path}: cannot be written, the disk is full.`;
    return new UserError('disk-full', problem, 'Free some space and start the same command again.', { cause: error });
  }
  const hint = 'Check the folder and its permissions.';
  return new UserError('cannot-write', `${path}: cannot be written (${messageOf(error)}).`, hint, { cause: error });
}
