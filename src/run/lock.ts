/**
 * Lock files: who works on a slide, by process and host, so that runs, array jobs and workers may share a run folder.
 *
 * A lock whose process is gone is stale and is taken over. On the same machine that is known at once; of another machine one only
 * sees that it no longer touches its lock.
 */
import { readFileSync } from 'node:fs';
import { open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { cannotWrite, UserError } from '../errors.ts';

export interface Lock {
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, in the kernel's words: a number is given to another process some day. Null where it is not told. */
  readonly began: string | null;
  /** ISO 8601 */
  readonly since: string;
}

/** How often a holder touches its locks, and after how long without a touch one of another machine is stale. */
const TOUCH_MS = 10_000;
const STALE_MS = 60_000;
/** A lock without a name in it is being written, or its writer died just then. */
const NAMELESS_MS = 5000;
const POLL_MS = 250;

/** Takes a lock, or gives null when another process has it. @throws UserError `cannot-write`, `disk-full` */
export async function tryLock(path: string): Promise<Lock | null> {
  for (;;) {
    if (await create(path)) return held(path);
    const found = await readLock(path);
    if (found === 'gone') continue;
    if (!found.isStale) return null;
    await takeAway(path, found.text);
  }
}

/** Waits for a lock. @throws as `tryLock`; the signal's reason. */
export async function waitForLock(path: string, signal?: AbortSignal): Promise<Lock> {
  for (;;) {
    const lock = await tryLock(path);
    if (lock) return lock;
    await sleep(POLL_MS, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

/** Whether somebody works under a lock. */
export async function isHeld(path: string): Promise<boolean> {
  const found = await readLock(path).catch(() => 'gone' as const);
  return found !== 'gone' && !found.isStale;
}

/** Who has a lock, for a message. */
export async function lockedError(path: string, what: string): Promise<UserError> {
  const found = await readLock(path);
  const holder = found === 'gone' ? null : holderOf(found.text);
  const who = holder ? `process ${holder.pid} on ${holder.host} since ${holder.since}` : 'another process';
  return new UserError('locked', `${what} is being worked on by ${who}.`, 'Wait for it, or end it.');
}

async function create(path: string): Promise<boolean> {
  const holder: Holder = {
    pid: process.pid,
    host: hostname(),
    began: began(process.pid),
    since: new Date().toISOString(),
  };
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(JSON.stringify(holder));
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    await rm(path, { force: true }).catch(() => {});
    throw cannotWrite(path, error);
  }
}

const touched = new Set<string>();
let timer: NodeJS.Timeout | undefined;

function held(path: string): Lock {
  touched.add(path);
  timer ??= setInterval(() => {
    const now = new Date();
    for (const one of touched) void utimes(one, now, now).catch(() => {});
  }, TOUCH_MS).unref();
  return {
    async release() {
      if (!touched.delete(path)) return;
      if (touched.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
      await rm(path, { force: true });
    },
  };
}

type Found = 'gone' | { readonly text: string; readonly isStale: boolean };

async function readLock(path: string): Promise<Found> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
    return { text, isStale: isStale(holderOf(text), Date.now() - mtimeMs) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'gone';
    throw cannotWrite(path, error);
  }
}

function holderOf(text: string): Holder | null {
  try {
    const holder = JSON.parse(text) as Holder;
    return typeof holder.pid === 'number' && typeof holder.host === 'string' ? holder : null;
  } catch {
    return null;
  }
}

function isStale(holder: Holder | null, ageMs: number): boolean {
  if (!holder) return ageMs > NAMELESS_MS;
  if (holder.host !== hostname()) return ageMs > STALE_MS;
  // A lock of this very process that nobody here holds was left by one of the same number.
  if (!isAlive(holder.pid)) return true;
  return holder.began !== null && began(holder.pid) !== holder.began;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Linux tells when a process began, in ticks since the machine did: the 22nd field, the 20th after its name in brackets. */
function began(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

/** Of several who find a lock stale one moves it away; if that was a new one by then, it goes back. */
async function takeAway(path: string, stale: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw cannotWrite(path, error);
  }
  if ((await readFile(aside, 'utf8')) === stale) await rm(aside, { force: true });
  else await rename(aside, path);
}
