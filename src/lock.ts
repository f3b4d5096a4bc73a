/**
 * Lock files: who works on a slide, by process and machine, so that runs, array jobs and workers may share a run folder.
 *
 * A lock whose process is gone is stale and is taken over. On the same machine that is known at once; of another machine one only
 * sees that it no longer touches its lock, and it may be alive all the same: suspended, or cut off from a shared folder. So a
 * holder looks whether the lock is still its own before it puts anything in place, and removes no lock but its own.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { cannotWrite, UserError } from './errors.ts';

export interface Lock {
  /** No other lock ever has it: a name for what belongs to this one. */
  readonly token: string;
  /** @throws UserError `lock-lost` if another process took it over. */
  requireHeld(what: string): Promise<void>;
  release(): Promise<void>;
}

/** Where a number names one process. Containers may share the name of their host, and have numbers of their own. */
interface Machine {
  readonly host: string;
  /** The kernel's id of this start of the machine; null where it is not told. */
  readonly boot: string | null;
  /** The kernel's name of the numbers; null likewise. */
  readonly numbers: string | null;
}

interface Holder extends Machine {
  readonly token: string;
  readonly pid: number;
  /** When the process began, in the kernel's words: a number is given to another process some day. Null where it is not told. */
  readonly began: string | null;
  /** ISO 8601 */
  readonly since: string;
}

const here: Machine = {
  host: hostname(),
  boot: orNull(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
  numbers: orNull(() => readlinkSync('/proc/self/ns/pid')),
};

/** How often a holder touches its locks, and after how long without a touch one of another machine is stale. */
const TOUCH_MS = 10_000;
const STALE_MS = 60_000;
/** A lock without a name in it is being written, or its writer died just then. */
const NAMELESS_MS = 5000;
const POLL_MS = 250;

/** Takes a lock, or gives null when another process has it. @throws UserError `cannot-write`, `disk-full` */
export async function tryLock(path: string): Promise<Lock | null> {
  for (;;) {
    const lock = await create(path);
    if (lock) return lock;
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

/** The token of whoever works under a lock; null when nobody does. */
export async function tokenOf(path: string): Promise<string | null> {
  const found = await readLock(path).catch(() => 'gone' as const);
  return found === 'gone' || found.isStale ? null : (holderOf(found.text)?.token ?? null);
}

/** Who has a lock, for a message. */
export async function lockedError(path: string, what: string): Promise<UserError> {
  return new UserError('locked', `${what} is being worked on by ${await whoHas(path)}.`, 'Wait for it, or end it.');
}

async function lostError(path: string, what: string): Promise<UserError> {
  const problem = `${what} was taken over by ${await whoHas(path)}, because for a while there was no sign of this one.`;
  return new UserError(
    'lock-lost',
    problem,
    'Start the same command again: it waits for the other, and does what is left.',
  );
}

async function whoHas(path: string): Promise<string> {
  const holder = holderOf((await textOf(path)) ?? '');
  return holder ? `process ${holder.pid} on ${holder.host} since ${holder.since}` : 'another process';
}

/** Null if there is a lock already. */
async function create(path: string): Promise<Lock | null> {
  const handle = await open(path, 'wx').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return null;
    throw cannotWrite(path, error);
  });
  if (!handle) return null;
  const { pid } = process;
  const holder: Holder = { token: randomUUID(), pid, ...here, began: began(pid), since: new Date().toISOString() };
  const text = JSON.stringify(holder);
  try {
    await handle.writeFile(text);
    await handle.close();
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(path, { force: true }).catch(() => {});
    throw cannotWrite(path, error);
  }
  return held({ path, text }, holder.token);
}

/** A lock of this process, and what it wrote into it. */
interface Held {
  readonly path: string;
  readonly text: string;
}

const touched = new Set<Held>();
let timer: NodeJS.Timeout | undefined;

function held(lock: Held, token: string): Lock {
  const { path, text } = lock;
  touched.add(lock);
  timer ??= setInterval(() => {
    for (const one of touched) void touch(one).catch(() => {});
  }, TOUCH_MS).unref();
  return {
    token,
    async requireHeld(what) {
      if ((await textOf(path)) !== text) throw await lostError(path, what);
    },
    async release() {
      if (!touched.delete(lock)) return;
      if (touched.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
      if ((await textOf(path)) === text) await rm(path, { force: true });
    },
  };
}

/** Another's lock at the same place is not kept alive by it. */
async function touch({ path, text }: Held): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    const now = new Date();
    if ((await handle.readFile('utf8')) === text) await handle.utimes(now, now);
  } finally {
    await handle.close();
  }
}

/** What is in a lock; null if there is none. @throws UserError `cannot-write` */
async function textOf(path: string): Promise<string | null> {
  return await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw cannotWrite(path, error);
  });
}

type Found = 'gone' | { readonly text: string; readonly isStale: boolean };

async function readLock(path: string): Promise<Found> {
  try {
    // Opened first: of a shared folder, what is known of a file may be some time old until then.
    const handle = await open(path, 'r');
    try {
      const text = await handle.readFile('utf8');
      const { mtimeMs } = await handle.stat();
      return { text, isStale: isStale(path, text, mtimeMs) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw cannotWrite(path, error);
    seen.delete(path);
    return 'gone';
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

function isStale(path: string, text: string, mtimeMs: number): boolean {
  const holder = holderOf(text);
  if (!holder || !isHere(holder)) {
    return unchangedMs(path, `${mtimeMs} ${text}`) > (holder ? STALE_MS : NAMELESS_MS);
  }
  // A lock of this very process that nobody here holds was left by one of the same number.
  if (!isAlive(holder.pid)) return true;
  return holder.began !== null && began(holder.pid) !== holder.began;
}

function isHere({ host, boot = null, numbers = null }: Partial<Machine>): boolean {
  return host === here.host && boot === here.boot && numbers === here.numbers;
}

/** Locks as they were when they were first seen so, by the clock of this process: those of two machines need not agree. */
const seen = new Map<string, { readonly state: string; readonly since: number }>();

function unchangedMs(path: string, state: string): number {
  const before = seen.get(path);
  if (before?.state === state) return performance.now() - before.since;
  seen.set(path, { state, since: performance.now() });
  return 0;
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
  return orNull(() => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[19]!);
}

function orNull(read: () => string): string | null {
  try {
    return read() ?? null;
  } catch {
    return null;
  }
}

/** Of several who find a lock stale one moves it away; if that was a new one by then, it goes back. */
async function takeAway(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw cannotWrite(path, error);
  }
  if ((await readFile(aside, 'utf8')) === stale) await rm(aside, { force: true });
  else await rename(aside, path);
}

/** Whether a file is a lock that somebody was about to take over. */
export function isAside(name: string): boolean {
  return /^\.(.+\.)?lock\.[0-9a-f-]{36}$/.test(name);
}
