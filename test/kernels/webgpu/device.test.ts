import { afterEach, describe, expect, it } from 'vitest';
import { UserError } from '../../../src/errors.ts';
import { adapterName, requestAdapter, requestDevice } from '../../../src/kernels/webgpu/adapter.ts';
import { listAdapters } from '../../../src/kernels/webgpu/adapters.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { WebGpuDevice as Device } from '../../../src/kernels/webgpu/device.ts';
import { lanesFollowThreads } from '../../../src/kernels/webgpu/lanes.ts';
import { createDawn, openWebGpu, readShaders } from '../../../src/kernels/webgpu/open-node.ts';
import { loadSwiftShader, openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

describe.skipIf(withoutSwiftShader)(`the WebGPU device ${withoutSwiftShader ?? ''}`, () => {
  const open: WebGpuDevice[] = [];
  afterEach(async () => {
    for (const device of open.splice(0)) await device.close();
  });
  const openDevice = async (...options: Parameters<typeof openSwiftShader>) => {
    const device = await openSwiftShader(...options);
    open.push(device);
    return device;
  };
  /** A device whose GPUDevice the test holds, to lose it, and whose shaders it may spoil. */
  const openBare = async (change: (sources: Record<string, string>) => void = () => {}, restrict = {}) => {
    loadSwiftShader();
    const owner = await createDawn();
    const adapter = await requestAdapter(owner, { software: true, required: true });
    const gpu = await requestDevice(adapter!, restrict);
    const sources = readShaders();
    change(sources);
    const device = new Device(gpu, { name: adapterName(adapter!), sources, owner });
    open.push(device);
    return { gpu, device };
  };

  it('never takes a software adapter by itself', async () => {
    loadSwiftShader();
    expect((await listAdapters()).some(({ software }) => software)).toBe(true);
    expect(await openWebGpu()).toBeNull();
    await expect(openWebGpu({ required: true })).rejects.toMatchObject({ code: 'no-gpu' });
  });

  it('keeps writes, kernels and reads in order', async () => {
    const device = await openDevice();
    const x = device.create(300);
    const total = device.create(300);
    const view = { storage: x, offset: 0, length: 300 };
    const sum = { storage: total, offset: 0, length: 300 };
    device.run('fill', [sum], [300, 0]);
    for (let i = 1; i <= 150; i++) {
      device.write(x, new Float32Array(300).fill(i));
      device.run('add', [sum, view, sum], [300, 1, 1]);
    }
    const half = await device.read({ storage: total, offset: 10, length: 5 });
    expect([...half]).toEqual(new Array(5).fill((150 * 151) / 2));
    // More kernels than one submit takes, and memory that is given back while kernels still use it.
    for (let i = 0; i < 250; i++) {
      const copy = device.create(300);
      const there = { storage: copy, offset: 0, length: 300 };
      device.run('add', [sum, null, there], [300, 1, 0]);
      device.run('add', [there, null, sum], [300, 1, 0]);
      device.release(copy);
    }
    device.run('add', [sum, null, sum], [300, 2, 0]);
    expect((await device.read(sum))[299]).toBe(150 * 151);
  });

  it('writes from shared memory and at an offset, and refuses what does not fit', async () => {
    const device = await openDevice();
    const x = device.create(8);
    device.write(x, new Float32Array(8).fill(1));
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([5, 6]);
    device.write(x, shared, 3);
    expect([...(await device.read({ storage: x, offset: 0, length: 8 }))]).toEqual([1, 1, 1, 5, 6, 1, 1, 1]);
    expect(() => device.write(x, shared, 7)).toThrow(/at 7 into storage of 8/);
    expect(() => device.run('fill', [{ storage: x, offset: 4, length: 9 }], [9, 0])).toThrow(
      /view x is 4 to 13 of 8 elements/,
    );
    expect(() => device.run('fill', [null], [9, 0])).toThrow(/view x is missing/);
  });

  it('counts memory and uses it again', async () => {
    const device = await openDevice();
    const before = device.memory().live;
    const first = device.create(1000);
    const second = device.create(1000);
    const both = device.memory().live - before;
    expect(both).toBeGreaterThanOrEqual(8000);
    expect(both).toBeLessThan(9200);
    device.release(first);
    device.release(second);
    device.release(second);
    expect(device.memory().live).toBe(before);
    for (let i = 0; i < 100; i++) device.release(device.create(1000));
    expect(device.memory().peak - before).toBe(both);
  });

  it('says how much is too much', async () => {
    const device = await openDevice({ limits: { maxStorageBufferBindingSize: 1 << 27 } });
    expect(() => device.create(2 ** 40)).toThrow(/4194304 MiB is larger.*Use smaller chunks/);
    const large = device.create(2 ** 25 + 64);
    const whole = { storage: large, offset: 0, length: large.length };
    // Elements by ranges; a row is never divided.
    device.run('fill', [whole], [large.length, 7]);
    expect([...(await device.read({ ...whole, offset: 2 ** 25 + 60, length: 4 }))]).toEqual([7, 7, 7, 7]);
    const row = () => device.run('softmaxRows', [whole, whole], [1, large.length]);
    expect(row).toThrow(UserError);
    expect(row).toThrow(/128 MiB/);
  });

  it('gives back what a kernel took that came to nothing', async () => {
    const device = await openDevice({ maxBinding: 4096 });
    const x = { storage: device.create(4000), offset: 0, length: 4000 };
    const before = device.memory().live;
    // One row of 16 kB.
    expect(() => device.run('sumRows', [x, x], [1, 4000])).toThrow(UserError);
    expect(device.memory().live).toBe(before);
  });

  it('shows the line that does not compile', async () => {
    const { device } = await openBare((sources) => {
      sources.fill = sources.fill!.replace('args.value;', 'args.volume;');
    });
    const x = device.create(4);
    const view = { storage: x, offset: 0, length: 4 };
    device.run('fill', [view], [4, 1]);
    await expect(device.read(view)).rejects.toThrow(/fill\.wgsl: .*volume[\s\S]*\d+ \| .*args\.volume;/);
  });

  it('tells of a lost device, and nothing hangs', async () => {
    const { gpu, device } = await openBare();
    const x = device.create(4);
    const view = { storage: x, offset: 0, length: 4 };
    device.run('fill', [view], [4, 1]);
    const reading = device.read(view).catch((error: unknown) => error);
    gpu.destroy();
    await gpu.lost;
    const result = await reading;
    // The read may have been served before; then it holds the truth.
    if (result instanceof Float32Array) expect([...result]).toEqual([1, 1, 1, 1]);
    else expect(result).toMatchObject({ code: 'device-lost' });
    expect(() => device.create(4)).toThrow(/was lost/);
    await expect(device.read(view)).rejects.toMatchObject({ code: 'device-lost' });
    await expect(device.finish()).rejects.toMatchObject({ code: 'device-lost' });
  });

  it('has finished nothing when it is lost on the way', async () => {
    const { gpu, device } = await openBare();
    const view = { storage: device.create(4), offset: 0, length: 4 };
    device.run('fill', [view], [4, 1]);
    const finishing = device.finish();
    gpu.destroy();
    await expect(finishing).rejects.toMatchObject({ code: 'device-lost' });
  });

  it('uses subgroups only where threads lie in them in their order', async () => {
    const { gpu, device } = await openBare();
    expect(await lanesFollowThreads(gpu)).toBe(true);
    expect(device.capabilities.subgroup).toBe(4);
    const unordered = new Device(gpu, { name: 'other', sources: readShaders(), subgroups: false });
    expect(unordered.capabilities.subgroup).toBe(0);
    expect(await lanesFollowThreads((await openBare(undefined, { subgroups: false })).gpu)).toBe(false);
  });

  it('closes under running work, and the process lives', async () => {
    const size = 256;
    for (const pause of [0, 10, 30]) {
      const device = await openDevice();
      const view = { storage: device.create(size * size), offset: 0, length: size * size };
      for (let i = 0; i < 8; i++)
        device.run(
          'matmul',
          [view, view, null, { ...view, storage: device.create(size * size) }],
          [size, size, size, 0, 0, 0, 0],
        );
      await new Promise((resolve) => setTimeout(resolve, pause));
      await device.close();
    }
    // Had a driver's thread outlived its device, this process would be gone before the next test ends.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await expect((await openDevice()).finish()).resolves.toBeUndefined();
  });

  it('closes twice, and is closed then', async () => {
    const device = await openDevice();
    await device.close();
    await device.close();
    expect(() => device.create(1)).toThrow(/closed/);
  });
});
