import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { activations } from '../../../src/kernels/kernels.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { dropoutHash, functions, matmul } from '../reference/basic.ts';
import { expectClose, randomArray, runKernel } from '../run-kernel.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

describe.skipIf(withoutSwiftShader)(`element-wise kernels and matmul in WGSL ${withoutSwiftShader ?? ''}`, () => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await openSwiftShader();
  });
  afterAll(() => device.close());

  it('fills and adds, in place too', async () => {
    const n = 1000;
    const { x } = await runKernel(device, 'fill', { x: new Float32Array(n) }, { n, value: 2.5 });
    expect(x!.every((v) => v === 2.5)).toBe(true);
    const [a, b] = [randomArray(1, n), randomArray(2, n)];
    const sum = await runKernel(device, 'add', { a, b, y: new Float32Array(n) }, { n, alpha: 2, beta: -0.5 });
    expectClose(
      sum.y!,
      a.map((v, i) => 2 * v - 0.5 * b[i]!),
      1e-6,
      'y',
    );
    const scaled = await runKernel(device, 'add', { a, b: null, y: new Float32Array(n) }, { n, alpha: 3, beta: 9 });
    expectClose(
      scaled.y!,
      a.map((v) => 3 * v),
      1e-6,
      'y',
    );

    const storage = device.create(300);
    device.write(storage, randomArray(3, 300));
    const before = await device.read({ storage, offset: 0, length: 300 });
    const [first, second] = [0, 150].map((offset) => ({ storage, offset, length: 150 }));
    device.run('add', [first!, second!, first!], [150, 1, 1]);
    const after = await device.read({ storage, offset: 0, length: 300 });
    expectClose(
      after,
      before.map((v, i) => (i < 150 ? v + before[i + 150]! : v)),
      1e-6,
      'in place',
    );
    device.release(storage);
  });

  it('multiplies, and adds to what is there', async () => {
    const n = 333;
    const [a, b, y] = [randomArray(1, n), randomArray(2, n), randomArray(3, n)];
    const once = await runKernel(device, 'multiply', { a, b, y }, { n, accumulate: 0 });
    expectClose(
      once.y!,
      a.map((v, i) => v * b[i]!),
      1e-6,
      'y',
    );
    const added = await runKernel(device, 'multiply', { a, b, y }, { n, accumulate: 1 });
    expectClose(
      added.y!,
      a.map((v, i) => v * b[i]! + y[i]!),
      1e-6,
      'y',
    );
  });

  it.each([
    [1, 1],
    [5, 70],
    [64, 33],
    [129, 2],
  ])('transposes %d x %d', async (r, c) => {
    const x = randomArray(1, r * c);
    const { y } = await runKernel(device, 'transpose', { x, y: new Float32Array(r * c) }, { r, c });
    for (let i = 0; i < r; i++) for (let j = 0; j < c; j++) expect(y![j * r + i]).toBe(x[i * c + j]);
  });

  it.each(activations)('%s and its derivative', async (name) => {
    const limit = name === 'negExp' ? 20 : 100;
    const wide = Array.from({ length: 401 }, (_, i) => ((i - 200) / 200) * limit);
    const narrow = Array.from({ length: 400 }, (_, i) => (i - 200) / 33.3);
    for (const range of [wide, narrow]) {
      const x = Float32Array.from(range);
      const n = x.length;
      const kind = activations.indexOf(name);
      const { y } = await runKernel(device, 'activation', { x, y: new Float32Array(n) }, { n, kind });
      expectClose(y!, x.map(functions[name].f), 2e-6, 'y');
      const [dy, dx] = [randomArray(1, n), randomArray(2, n)];
      const slope = Float64Array.from(x, (v, i) => functions[name].slope(v) * dy[i]!);
      const back = { x, y: y!, dy, dx };
      const set = await runKernel(device, 'activationBackward', back, { n, kind, accumulate: 0 });
      expectClose(set.dx!, slope, 2e-6, 'dx');
      const added = await runKernel(device, 'activationBackward', back, { n, kind, accumulate: 1 });
      expectClose(
        added.dx!,
        slope.map((v, i) => v + dx[i]!),
        2e-6,
        'dx',
      );
    }
  });

  it('softplus keeps small values, where 1 + exp(x) rounds to 1', async () => {
    const x = Float32Array.from([-60, -30, -18, -10, -5, 0, 19.99, 20.01, 110]);
    const n = x.length;
    const { y } = await runKernel(device, 'activation', { x, y: new Float32Array(n) }, { n, kind: 5 });
    const wanted = x.map(functions.softplus.f);
    for (let i = 0; i < n; i++) expect(Math.abs(y![i]! / wanted[i]! - 1)).toBeLessThan(2e-5);
  });

  it('drops by the hash of seed and index', async () => {
    const n = 5000;
    const x = randomArray(1, n);
    const seed = 0xfedcba98;
    const { y } = await runKernel(
      device,
      'dropout',
      { x, y: new Float32Array(n) },
      { n, p: 0.25, seed, accumulate: 0 },
    );
    let dropped = 0;
    for (let i = 0; i < n; i++) {
      const drop = dropoutHash(seed, i) < 0.25 * 2 ** 32;
      dropped += Number(drop);
      expect(y![i]).toBeCloseTo(drop ? 0 : x[i]! / 0.75, 5);
    }
    expect(dropped / n).toBeCloseTo(0.25, 1);
  });

  const shapes: [number, number, number][] = [
    [1, 1, 1],
    [3, 5, 7],
    [65, 70, 33],
    [130, 64, 129],
    [1, 200, 90],
    [300, 1, 40],
    [8, 9, 1500],
  ];
  it.each(shapes)('matmul %d x %d over %d', async (m, n, k) => {
    for (const [transA, transB] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const [A, B, bias, C] = [
        randomArray(1, m * k, k ** -0.5),
        randomArray(2, k * n),
        randomArray(3, n),
        randomArray(4, m * n),
      ];
      const product = matmul(A, B, m, n, k, transA === 1, transB === 1);
      const size = { m, n, k, transA, transB };
      const plain = await runKernel(
        device,
        'matmul',
        { A, B, bias: null, C },
        { ...size, accumulate: 0, activation: -1 },
      );
      expectClose(plain.C!, product, 3e-6, `plain ${transA}${transB}`);
      const full = await runKernel(device, 'matmul', { A, B, bias, C }, { ...size, accumulate: 1, activation: 2 });
      const wanted = product.map((v, i) => Math.tanh(v + C[i]! + bias[i % n]!));
      expectClose(full.C!, wanted, 5e-6, `with everything ${transA}${transB}`);
    }
  });
});
