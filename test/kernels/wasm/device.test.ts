/** What the wasm device does when it is asked for too much, closed early, opened often or twice. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { createWasmDevice } from '../../../src/kernels/wasm/device.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import { randomArray } from '../run-kernel.ts';

const open = (threads: number) => openWasm({ threads, native: false });

/** a b of two square matrices. */
async function product(device: Device, n: number): Promise<Float32Array> {
  const [a, b, c] = [device.create(n * n), device.create(n * n), device.create(n * n)];
  const view = (storage: typeof a) => ({ storage, offset: 0, length: n * n });
  device.write(a, randomArray(1, n * n));
  device.write(b, randomArray(2, n * n));
  device.run('matmul', [view(a), view(b), null, view(c)], [n, n, n, 0, 0, 0, -1]);
  const result = await device.read(view(c));
  for (const storage of [a, b, c]) device.release(storage);
  return result;
}

describe('the wasm device', () => {
  it('says how much it would need when there is not so much, and works on', async () => {
    const device = await open(1);
    const before = device.memory().live;
    expect(() => device.create(2 ** 30)).toThrow(
      expect.objectContaining({
        code: 'out-of-memory',
        problem: expect.stringMatching(/needs 4\.0 GiB/),
        hint: expect.stringContaining('fewer patches'),
      }),
    );
    expect(device.memory().live).toBe(before);
    expect((await product(device, 33)).every(Number.isFinite)).toBe(true);
    await device.close();
  });

  it('refuses what would write elsewhere, and storage given back twice', async () => {
    const device = await open(1);
    const storage = device.create(8);
    expect(() => device.write(storage, new Float32Array(5), 4)).toThrow('into 8 elements');
    device.release(storage);
    expect(() => device.release(storage)).toThrow('released twice');
    await device.close();
  });

  it('may be closed twice, and runs nothing afterwards', async () => {
    const device = await open(2);
    const storage = device.create(4);
    await device.close();
    await device.close();
    expect(() => device.run('fill', [{ storage, offset: 0, length: 4 }], [4, 1])).toThrow('closed');
  });

  it('is as good beside another one', async () => {
    const [one, two] = await Promise.all([open(2), open(2)]);
    const alone = await product(one, 150);
    const together = await Promise.all([product(one, 150), product(two, 150)]);
    expect(together).toEqual([alone, alone]);
    await Promise.all([one.close(), two.close()]);
  });

  const threads = '/proc/self/status';
  it.skipIf(!existsSync(threads))(
    'leaves no thread behind, however often it is opened',
    { timeout: 120_000 },
    async () => {
      const count = () => Number(/^Threads:\s+(\d+)/m.exec(readFileSync(threads, 'utf8'))![1]);
      const cycle = async () => {
        const device = await open(3);
        await product(device, 40);
        await device.close();
      };
      await cycle();
      const before = count();
      for (let i = 0; i < 40; i++) await cycle();
      // Node's own pool may have grown by a few; forty devices would have left eighty.
      expect(count()).toBeLessThan(before + 8);
    },
  );

  it('fails at once when a thread cannot be started, and ends those that were', async () => {
    const file = new URL('../../../dist/src/kernels/wasm/lamina.wasm', import.meta.url);
    const module = await WebAssembly.compile(readFileSync(file));
    const ended: number[] = [];
    const startWorker = async (_: WebAssembly.Module, __: WebAssembly.Memory, part: number) => {
      if (part === 2) throw new Error('no threads left');
      return { terminate: () => ended.push(part) };
    };
    const opening = createWasmDevice({ module, build: 'plain', threads: 4, startWorker });
    await expect(opening).rejects.toThrow('no threads left');
    expect(ended).toEqual([1, 3]);
  });
});
