/** What becomes of a job when one of its threads fails, comes late or is no more. */
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import { type Exports, Team } from '../../../src/kernels/wasm/threads.ts';

const built = new URL('../../../dist/src/kernels/wasm/threads.js', import.meta.url).href;
const workers: Worker[] = [];

afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.terminate();
});

const newMemory = () => new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
/** Where tests and their workers meet, beside the control block. */
const seenOf = (memory: WebAssembly.Memory) => new Int32Array(memory.buffer, 65536, 4);

/** A worker of part 1 that serves `f`, a body with `seen`. */
async function startWorker(memory: WebAssembly.Memory, body: string): Promise<void> {
  const code = `
    const { parentPort, workerData: memory } = require('node:worker_threads');
    const seen = new Int32Array(memory.buffer, 65536, 4);
    import(${JSON.stringify(built)}).then(({ serve }) => {
      parentPort.postMessage('ready');
      serve({ f: () => { ${body} } }, memory, 1);
    });`;
  const worker = new Worker(code, { eval: true, workerData: memory, execArgv: [] });
  workers.push(worker);
  await once(worker, 'message');
}

/** A team of two: this thread, which runs `own`, and a real one that runs `body`. */
async function teamOf(own: Exports[string], body: string, mostTurns?: number) {
  const memory = newMemory();
  await startWorker(memory, body);
  return { team: new Team({ f: own }, memory, 2, mostTurns), seen: seenOf(memory) };
}

describe('a team of threads', () => {
  it('passes on what went wrong in another thread, and computes nothing afterwards', async () => {
    const { team } = await teamOf(() => 0, 'throw new Error("out of bounds ✗")');
    expect(() => team.share('f', [])).toThrow('the wasm kernel f failed: out of bounds ✗');
    expect(() => team.requireUsable()).toThrow('kernel f failed: out of bounds');
  });

  it('waits for the other threads when its own part fails', async () => {
    const slow = 'Atomics.wait(seen, 1, 0, 300); Atomics.store(seen, 0, 1);';
    const { team, seen } = await teamOf(() => {
      throw new Error('unreachable');
    }, slow);
    expect(() => team.share('f', [])).toThrow('kernel f failed: unreachable');
    expect(seen[0], 'the other thread has finished').toBe(1);
  });

  it('gives up when a thread has ended in its part', { timeout: 30_000 }, async () => {
    const { team } = await teamOf(() => 0, 'process.exit(3)', 2);
    expect(() => team.share('f', [])).toThrow(expect.objectContaining({ code: 'thread-ended' }));
    expect(() => team.requireUsable()).toThrow('began its part of f');
  });

  it('is patient with a slow one', { timeout: 30_000 }, async () => {
    const slow = 'Atomics.wait(seen, 1, 0, 1500); Atomics.add(seen, 0, 1);';
    const { team, seen } = await teamOf(() => 0, slow, 10);
    team.share('f', []);
    team.share('f', []);
    expect(seen[0]).toBe(2);
  });

  it('does the part of one that comes late, which then does not do it again', { timeout: 30_000 }, async () => {
    const memory = newMemory();
    const parts: number[] = [];
    const team = new Team({ f: (part = -1) => parts.push(part) }, memory, 2);
    team.share('f', []);
    expect(parts).toEqual([0, 1]);
    await startWorker(memory, 'Atomics.add(seen, 0, 1);');
    await setTimeout(200);
    expect(seenOf(memory)[0]).toBe(0);
    team.share('f', []);
    expect([parts, seenOf(memory)[0]]).toEqual([[0, 1, 0], 1]);
  });
});

describe('the wasm device with a thread that has ended', () => {
  const workersOf = (device: Device) => (device as unknown as { workers: Worker[] }).workers;
  const doubled = (device: Device, n: number) => {
    const storage = device.create(n);
    device.write(storage, new Float32Array(n).fill(2));
    const view = { storage, offset: 0, length: n };
    device.run('add', [view, null, view], [n, 2, 0]);
    return device.read(view);
  };

  it('finishes what it is at, and refuses from when it knows', { timeout: 30_000 }, async () => {
    const device = await openWasm({ threads: 3, native: false });
    const ended = once(workersOf(device)[1]!, 'exit');
    void workersOf(device)[1]!.terminate();
    const values = await doubled(device, 400_000);
    expect(values.every((value) => value === 4)).toBe(true);
    await ended;
    await expect(async () => doubled(device, 400_000)).rejects.toThrow(
      expect.objectContaining({
        code: 'thread-ended',
        problem: expect.stringContaining('exit code'),
        hint: expect.stringContaining('--threads'),
      }),
    );
    await device.close();
  });

  it('says what a kernel did when it trapped, and runs no more', async () => {
    const device = await openWasm({ threads: 2, native: false });
    const [x, index, y] = [device.create(4), device.create(1), device.create(4)];
    const view = (storage: typeof x) => ({ storage, offset: 0, length: storage.length });
    device.write(index, Int32Array.of(2 ** 27));
    expect(() => device.run('gatherRows', [view(x), view(index), view(y)], [1, 4, 0])).toThrow(
      /kernel gatherRows failed: .*out of bounds/,
    );
    expect(() => device.run('fill', [view(x)], [4, 0])).toThrow('kernel gatherRows failed');
    await device.close();
  });
});
