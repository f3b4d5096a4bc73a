/** What the wasm device does when it is asked for too much, closed early, opened often or twice. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { createWasmDevice } from '../../../src/kernels/wasm/device.ts';
import { Heap } from '../../../src/kernels/wasm/heap.ts';
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
        problem: expect.stringMatching(/needs 4\.0 GiB in one piece beside the 0\.0 GiB in use/),
        hint: expect.stringContaining('fewer patches'),
      }),
    );
    expect(device.memory().live).toBe(before);
    expect((await product(device, 33)).every(Number.isFinite)).toBe(true);
    await device.close();
  });

  it('says what was asked for, not where it would have ended', async () => {
    const device = await open(1);
    const held = device.create(2 ** 28);
    expect(() => device.create(2 ** 30 - 2 ** 28)).toThrow(/needs 3\.0 GiB in one piece beside the 1\.0 GiB in use/);
    device.release(held);
    await device.close();
  });

  it('gets what there is just enough of', async () => {
    const device = await open(1);
    // It begins with 64 pages; a machine that has one more has not the eighth more that is asked for first.
    const memory = (device as unknown as { memoryObject: WebAssembly.Memory }).memoryObject;
    const grow = memory.grow.bind(memory);
    const most = 65;
    memory.grow = (pages) => {
      if (memory.buffer.byteLength / 65536 + pages > most) throw new RangeError('no more');
      return grow(pages);
    };
    device.create(50 * 16384);
    device.create(13 * 16384);
    expect(memory.buffer.byteLength / 65536).toBe(most);
    expect(() => device.create(16384)).toThrow(expect.objectContaining({ code: 'out-of-memory' }));
    await device.close();
  });

  it('refuses views that are missing, leave their storage or were given back, and runs on', async () => {
    const device = await open(1);
    const [a, b] = [device.create(8), device.create(8)];
    const view = (storage: typeof a, offset = 0, length = 8) => ({ storage, offset, length });
    const add = (x: ReturnType<typeof view> | null, y: ReturnType<typeof view> | null) =>
      device.run('add', [x, null, y], [8, 1, 0]);
    device.write(a, new Float32Array(8).fill(3));
    expect(() => add(null, view(b))).toThrow('add: view a is missing');
    expect(() => add(view(a), null)).toThrow('add: view y is missing');
    expect(() => add(view(a), view(b, 1))).toThrow('add: view y is 1 to 9 of 8 elements');
    expect(() => add(view(a, -1), view(b))).toThrow('add: view a is -1 to 7 of 8 elements');
    expect(() => device.run('add', [view(a), view(b)], [8, 1, 0])).toThrow('kernel add takes views (a,b?,>y)');
    await expect(async () => device.read(view(a, 4))).rejects.toThrow('is 4 to 12 of 8 elements');
    expect(() => device.write(a, new Float32Array(2), -1)).toThrow('is -1 to 1 of 8 elements');
    add(view(a), view(b));
    expect([...(await device.read(view(b)))]).toEqual(new Array(8).fill(3));
    device.release(a);
    expect(() => add(view(a), view(b))).toThrow('add: view a was released');
    await expect(async () => device.read(view(a))).rejects.toThrow('what is read was released');
    await device.close();
  });

  it('gives back what a kernel has reserved when there is no more for it', async () => {
    const device = await open(1);
    const table = device.create(4);
    const none = { storage: table, offset: 0, length: 4 };
    const { live } = device.memory();
    // As if a segment of 2^28 tokens lay in the table: nothing of it is read before there is room.
    const params = [1, 2 ** 28, 16, 1, 2 ** 28, 1, 1];
    const views = [none, none, none, none, none, null, null, null, none, null, none, null, null];
    expect(() => device.run('selectiveScan', views, params)).toThrow(
      expect.objectContaining({ code: 'out-of-memory' }),
    );
    expect(device.memory().live).toBe(live);
    await device.close();
  });

  it('refuses what would write elsewhere, and storage given back twice', async () => {
    const device = await open(1);
    const storage = device.create(8);
    expect(() => device.write(storage, new Float32Array(5), 4)).toThrow('is 4 to 9 of 8 elements');
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

describe('the heap', () => {
  it.each([-1728053184, 0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, 100.5])('gives no block of %d bytes', (n) => {
    const heap = new Heap(0, () => {});
    expect(() => heap.take(n)).toThrow(`a block of ${n} bytes`);
    expect(heap.live).toBe(0);
  });
});
