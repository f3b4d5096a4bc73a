import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { lockedError, tryLock, waitForLock } from '../../src/run/lock.ts';

const folders: string[] = [];
let folder = '';
let path = '';
beforeEach(async () => {
  folders.push((folder = await mkdtemp(join(tmpdir(), 'lamina-lock-'))));
  path = join(folder, '.a.lock');
});
afterAll(() => Promise.all(folders.map((one) => rm(one, { recursive: true }))));

const holder = (changes: object) =>
  JSON.stringify({ pid: 1, host: hostname(), began: null, since: '2026-01-01T00:00:00Z', ...changes });
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

  it('of another machine is taken over when it was not touched for a minute', async () => {
    await aged(holder({ host: 'elsewhere' }), 30);
    expect(await tryLock(path)).toBe(null);
    await aged(holder({ host: 'elsewhere' }), 90);
    await (await tryLock(path))!.release();
  });

  it('without a name in it is left to its writer for a moment', async () => {
    await aged('', 1);
    expect(await tryLock(path)).toBe(null);
    await aged('{"pid":', 10);
    await (await tryLock(path))!.release();
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
