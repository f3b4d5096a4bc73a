/**
 * Where the files of a slide are: in a folder of its name when all are there. Before that, each attempt at the slide has a hidden
 * folder of its own, named by its lock, so that it never touches the files of another, whatever became of its lock meanwhile.
 *
 *     RUN/slides/<id>
 *     RUN/slides/.<id>.lock
 *     RUN/slides/.<id>.partial/<token of the lock>
 */
import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cannotWrite } from '../errors.ts';

export function slideFolder(run: string, id: string): string {
  return join(run, 'slides', id);
}

export function slideLock(run: string, id: string): string {
  return join(run, 'slides', `.${id}.lock`);
}

export function attemptFolder(run: string, id: string, token: string): string {
  return join(attemptsAt(run, id), token);
}

/** Ids of slides that somebody works on, or worked on when he was killed. @param names what lies in `RUN/slides` */
export function attemptedIds(names: readonly string[]): string[] {
  return names.flatMap((name) => /^\.(.+)\.partial$/.exec(name)?.[1] ?? []);
}

function attemptsAt(run: string, id: string): string {
  return join(run, 'slides', `.${id}.partial`);
}

/**
 * Gives the files of an attempt the slide's name, instead of what had it.
 * @throws UserError `cannot-write`, `disk-full`
 */
export async function putInPlace(attempt: string, folder: string): Promise<void> {
  try {
    // Moved rather than removed: at no time is there a part of a slide under its name.
    await rename(folder, formerOf(attempt)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rename(attempt, folder);
  } catch (error) {
    throw cannotWrite(folder, error);
  }
}

/** Removes what is left of one's own attempt. What cannot be removed now is left to the next: it is in nobody's way. */
export async function removeAttempt(attempt: string): Promise<void> {
  await removeFolder(attempt);
  await removeFolder(formerOf(attempt));
  await removeIfEmpty(dirname(attempt));
}

/** Removes what others left of a slide when they were killed. Only for who holds its lock. */
export async function removeLeftovers(run: string, id: string): Promise<void> {
  const attempts = attemptsAt(run, id);
  for (const name of await readdir(attempts).catch(() => [])) {
    // One that lost the lock may be about to put it in place: under another name, it finds all of it or nothing.
    const gone = join(attempts, randomUUID());
    await rename(join(attempts, name), gone).catch(() => {});
    await removeFolder(gone);
  }
  await removeIfEmpty(attempts);
  await rm(join(slideFolder(run, id), 'bag.arrow.partial'), { force: true });
}

async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => {});
}

function formerOf(attempt: string): string {
  return `${attempt}.former`;
}

/** Another attempt may be in it. */
async function removeIfEmpty(attempts: string): Promise<void> {
  await rmdir(attempts).catch(() => {});
}
