import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockedError, tokenOf, tryLock, waitForLock } from '../src/lock.ts';

const folders: string[] = [];
let folder = '';
let path = '';
/** What a process of this machine writes into a lock. */
let mine: object;
beforeAll(async () => {
  const own = join(tmpdir(), `lamina-lock-${process.pid}`);
  const lock = (await tryLock(own))!;
  mine = JSON.parse(await readFile(own, 'utf8'));
  await lock.release();
});
beforeEach(async () => {
  folders.push((folder = await mkdtemp(join(tmpdir(), 'lamina-lock-'))));
  path = join(folder, '.a.lock');
});
afterEach(() => void vi.useRealTimers());
afterAll(() => Promise.all(folders.map((one) => rm(one, { recursive: true }))));

const holder = (changes: object) =>
  JSON.stringify({ ...mine, token: 'another', pid: 1, began: null, since: '2026-01-01T00:00:00Z', ...changes });
/** A process that has ended. */
const deadPid = () => spawnSync(process.execPath, ['-e', '']).pid;
async function aged(text: string, seconds: number): Promise<void> {
  await writeFile(path, text);
  const then = new Date(Date.now() - 1000 * seconds);
  await utimes(path, then, then);
}

describe('a lock', () => {
  it('is held by one, says by whom, and leaves nothing when it is released', async () => {
    const lock = (await tryLock(path))!;
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
    expect(await tryLock(path)).toBe(null);
    expect(await lockedError(path, 'slide a')).toMatchObject({
      code: 'locked',
      problem: expect.stringMatching(new RegExp(`^slide a .* process ${process.pid} on ${hostname()} since `)),
    });
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it('goes to one of many who want it at once, and to each in the end', async () => {
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const lock = await waitForLock(path);
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
        await lock.release();
      }),
    );
    expect(most).toBe(1);
  });

  it('of a process that is gone is taken over', async () => {
    await writeFile(path, holder({ pid: deadPid() }));
    await (await tryLock(path))!.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it('of a process that lives is not, however old', async () => {
    const other = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)']);
    await aged(holder({ pid: other.pid }), 3600);
    expect(await tryLock(path)).toBe(null);
    other.kill('SIGKILL');
    await new Promise((ended) => other.once('close', ended));
    await (await tryLock(path))!.release();
  });

  it.skipIf(process.platform !== 'linux')('of a number that another process has by now is taken over', async () => {
    await writeFile(path, holder({ pid: process.pid, began: '1' }));
    await (await tryLock(path))!.release();
  });

  it.each([
    ['behind', 3600],
    ['ahead', -3600],
  ])('of another machine, its clock an hour %s, is taken over when it was not touched for a minute', async (_, age) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    await aged(holder({ host: 'elsewhere' }), age);
    expect(await tryLock(path)).toBe(null);
    vi.advanceTimersByTime(59_000);
    expect(await tryLock(path)).toBe(null);
    await aged(holder({ host: 'elsewhere' }), age - 10);
    vi.advanceTimersByTime(59_000);
    expect(await tryLock(path)).toBe(null);
    vi.advanceTimersByTime(59_000);
    expect(await tokenOf(path)).toBe('another');
    vi.advanceTimersByTime(2000);
    expect(await tokenOf(path)).toBe(null);
    await (await tryLock(path))!.release();
  });

  it.each([
    ['a container with numbers of its own', { numbers: 'pid:[1]' }],
    ['another start of the machine, or another machine of its name', { boot: '0c5e6d2e-0000-4000-8000-000000000000' }],
  ])('of %s is as one of another machine', async (_, changes) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    // What has that number here says nothing of it.
    await writeFile(path, holder({ pid: deadPid(), ...changes }));
    expect(await tryLock(path)).toBe(null);
    vi.advanceTimersByTime(61_000);
    await (await tryLock(path))!.release();
  });

  it('without a name in it is left to its writer for a moment', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    await writeFile(path, '{"pid":');
    expect(await tryLock(path)).toBe(null);
    vi.advanceTimersByTime(6000);
    await (await tryLock(path))!.release();
  });

  it('that was taken over is known to be, and is neither removed nor kept alive by who had it', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const still = (await tryLock(join(folder, '.b.lock')))!;
    const lost = (await tryLock(path))!;
    await lost.requireHeld('slide a');
    await aged(holder({ host: 'elsewhere', pid: 7 }), 100);
    const { mtimeMs } = await stat(path);
    await utimes(join(folder, '.b.lock'), 1, 1);
    vi.advanceTimersByTime(11_000);
    await vi.waitFor(async () => expect((await stat(join(folder, '.b.lock'))).mtimeMs).toBeGreaterThan(1e12));
    expect((await stat(path)).mtimeMs).toBe(mtimeMs);
    await expect(lost.requireHeld('slide a')).rejects.toMatchObject({
      code: 'lock-lost',
      problem: expect.stringMatching(/^slide a was taken over by process 7 on elsewhere since /),
    });
    await lost.release();
    expect(await readFile(path, 'utf8')).toBe(holder({ host: 'elsewhere', pid: 7 }));
    await still.release();
    await rm(path);
    await expect(lost.requireHeld('slide a')).rejects.toMatchObject({ code: 'lock-lost' });
  });

  it('has a token of its own', async () => {
    const first = (await tryLock(path))!;
    expect(await tokenOf(path)).toBe(first.token);
    await first.release();
    expect(await tokenOf(path)).toBe(null);
    const second = (await tryLock(path))!;
    expect(second.token).not.toBe(first.token);
    await second.release();
  });

  it('that is stale goes to one of many processes', async () => {
    await writeFile(path, holder({ pid: deadPid() }));
    const taken = await Promise.all(Array.from({ length: 16 }, () => tryLock(path)));
    expect(taken.filter(Boolean)).toHaveLength(1);
  });

  it('is not waited for when the person does not want to', async () => {
    await writeFile(path, holder({ pid: process.ppid }));
    await expect(waitForLock(path, AbortSignal.timeout(50))).rejects.toThrow(/timeout/);
  });

  it('cannot be taken in a folder that is not there', async () => {
    await expect(tryLock(join(folder, 'none', '.a.lock'))).rejects.toMatchObject({ code: 'cannot-write' });
  });
});
