/** Tensors longer than a binding: what goes by bands of rows comes out as if it had gone whole. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KernelName } from '../../../src/kernels/kernels.ts';
import { crossEntropy } from '../../../src/kernels/loss.ts';
import { Tape } from '../../../src/kernels/tape.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { randomNumbers, relativeError, smallModel } from '../../mil/small-models.ts';
import { expectClose, type HostArray, type Outputs, randomArray, runKernel } from '../run-kernel.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

/** 1,024 elements, wherever they begin. */
const BINDING = 4096 + 256;

type Case = [KernelName, Record<string, HostArray | null>, Record<string, number>];

/** Rows and columns of most cases: 2,560 elements, three bands. */
const [r, d] = [40, 64];
const x = randomArray(1, r * d);
const y = randomArray(2, r * d);
const z = randomArray(3, r * d);
const positive = randomArray(4, r * d).map(Math.abs);
const [weight, bias] = [randomArray(5, d), randomArray(6, d)];
const zeros = (n: number) => new Float32Array(n);
const offsets = Int32Array.of(0, 7, 21, 22, r);
const bags = offsets.length - 1;
const index = Int32Array.from({ length: 50 }, (_, i) => (i % 9 === 4 ? -1 : (i * 17) % r));
const stats = randomArray(7, 2 * r).map(Math.abs);
const rstd = randomArray(8, r).map(Math.abs);
const attention = randomArray(9, r).map(Math.abs);
const pooled = randomArray(10, bags * d);

/** No sum goes over several bands, or it is added in the same order. */
const exact: Case[] = [
  ['fill', { x }, { n: r * d, value: 3 }],
  ['add', { a: x, b: y, y: z }, { n: r * d, alpha: 2, beta: -3 }],
  ['multiply', { a: x, b: y, y: z }, { n: r * d, accumulate: 1 }],
  ['transpose', { x, y: z }, { r, c: d }],
  ['activation', { x, y: z }, { n: r * d, kind: 4 }],
  ['activationBackward', { x, y, dy: z, dx: positive }, { n: r * d, kind: 4, accumulate: 1 }],
  ['dropout', { x, y: z }, { n: r * d, p: 0.3, seed: 7, accumulate: 0 }],
  ['sgd', { w: x, g: y }, { n: r * d, lr: 0.1, decay: 0.01 }],
  [
    'adam',
    { w: x, g: y, m: z, v: positive, squaredNorm: Float32Array.of(90) },
    {
      ...{ n: r * d, lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.05 },
      ...{ correction1: 0.19, correction2: 0.02, decoupled: 1, maxNorm: 2 },
    },
  ],
  ['layerNorm', { x, weight, bias, y: z, stats }, { r, d, eps: 1e-5 }],
  ['rmsNorm', { x, residual: y, weight, y: z, sum: positive, rstd }, { r, d, eps: 1e-5 }],
  ['softmaxRows', { x, y: z }, { r, c: d }],
  ['softmaxRowsBackward', { y: x, dy: y, dx: z }, { r, c: d, accumulate: 1 }],
  ['argmaxRows', { x, index: new Int32Array(r) }, { r, c: d }],
  ['gatherRows', { x, index, y: randomArray(11, 50 * d) }, { n: 50, c: d, accumulate: 0 }],
  ['gatherRows', { x, index, y: randomArray(11, 50 * d) }, { n: 50, c: d, accumulate: 1 }],
  ['scatterRows', { dy: randomArray(11, 50 * d), index, dx: x }, { n: 50, c: d }],
  [
    'gatherColumns',
    { x, index: Int32Array.from({ length: 50 }, (_, i) => ((i * 7) % 65) - 1), y: randomArray(12, r * 50) },
    { r, L: d, n: 50, accumulate: 0 },
  ],
  ['poolRows', { x, offsets, y: zeros(bags * d), rows: new Int32Array(bags * d) }, { L: r, c: d, bags, kind: 1 }],
  ['poolRowsBackward', { dy: pooled, offsets, rows: null, dx: z }, { L: r, c: d, bags, kind: 0, accumulate: 1 }],
  [
    'attentionPoolBackward',
    { h: x, attention, offsets, pooled, dpooled: pooled.map((v) => 1 - v), dh: z, dscores: zeros(r) },
    { L: r, d, bags, accumulateH: 1, accumulateScores: 0 },
  ],
  ['convTail', { x, tailIn: randomArray(13, r * 3), tailOut: zeros(r * 3) }, { D: r, L: d, W: 4, reversed: 1 }],
  ['conv2d', { x, weight: randomArray(14, r * 9), bias: rstd, y: z }, { C: r, H: 8, W: 8, kh: 3, kw: 3 }],
  [
    'conv2dBackward',
    { x, weight: randomArray(14, r * 9), dy: y, dx: z, dweight: zeros(r * 9), dbias: zeros(r) },
    { C: r, H: 8, W: 8, kh: 3, kw: 3, accumulate: 1 },
  ],
  // Rows of A and C; rows of B, and so columns of C; both, and few of them.
  ['matmul', product(40, 9, 64, 0, 0), { ...sizes(40, 9, 64, 0, 0), accumulate: 1, activation: 4 }],
  ['matmul', product(40, 70, 64, 0, 1), { ...sizes(40, 70, 64, 0, 1), accumulate: 0, activation: 2 }],
  ['matmul', product(600, 3, 5, 0, 1), { ...sizes(600, 3, 5, 0, 1), accumulate: 0, activation: -1 }],
  // A long sum, which workgroups share.
  ['matmul', product(3, 40, 1024, 0, 1), { ...sizes(3, 40, 1024, 0, 1), accumulate: 1, activation: -1 }],
  ['matmul', product(40, 30, 1024, 0, 1), { ...sizes(40, 30, 1024, 0, 1), accumulate: 1, activation: 4 }],
];

/** Sums over all rows: each band adds up its own. */
const close: Case[] = [
  ['sumRows', { x, out: bias }, { r, c: d }],
  ['squaredNorm', { g: x, out: Float32Array.of(3) }, { n: r * d }],
  ['layerNormBackward', { x, weight, dy: y, stats, dx: z, dweight: weight, dbias: bias }, { r, d, accumulate: 1 }],
  ['rmsNormBackward', { sum: x, weight, dy: y, dres: positive, rstd, dsum: z, dweight: bias }, { r, d, accumulate: 0 }],
  ['attentionPool', { h: x, scores: rstd, offsets, attention, pooled }, { L: r, d, bags }],
  ['attentionPoolChunk', { h: x, scores: rstd, state: randomArray(15, d + 2).map(Math.abs) }, { L: r, d }],
  ['poolRows', { x, offsets, y: zeros(bags * d), rows: null }, { L: r, c: d, bags, kind: 0 }],
  // Rows of A are those of k, and rows of B are.
  ['matmul', product(40, 9, 64, 1, 1), { ...sizes(40, 9, 64, 1, 1), accumulate: 1, activation: 4 }],
  ['matmul', product(9, 40, 64, 0, 0), { ...sizes(9, 40, 64, 0, 0), accumulate: 0, activation: 2 }],
  ['matmul', product(40, 30, 300, 1, 0), { ...sizes(40, 30, 300, 1, 0), accumulate: 0, activation: -1 }],
];

describe.skipIf(withoutSwiftShader)(`tensors longer than a binding ${withoutSwiftShader ?? ''}`, () => {
  let wide: WebGpuDevice;
  let narrow: WebGpuDevice;
  beforeAll(async () => {
    wide = await openSwiftShader();
    narrow = await openSwiftShader({ maxBinding: BINDING });
  });
  afterAll(() => Promise.all([wide.close(), narrow.close()]));

  const both = async ([kernel, views, params]: Case): Promise<[Outputs, Outputs]> => [
    await runKernel(narrow, kernel, views, params),
    await runKernel(wide, kernel, views, params),
  ];

  it.each(exact)('change no bit of %s', async (...given) => {
    const [got, wanted] = await both(given);
    expect(got).toEqual(wanted);
  });

  it.each(close)('change no more than rounding of %s', async (...given) => {
    const [got, wanted] = await both(given);
    for (const name in wanted) expectClose(got[name]!, wanted[name]!, 2e-6, name);
  });

  it('train a model as it trains on a device with room', { timeout: 300_000 }, async () => {
    const tokens = 1500;
    const features = randomNumbers(5, tokens * 12);
    // Of 64 and 32 channels: xz has 384 kB, u, delta and y half of that.
    const narrow = await openSwiftShader({ maxBinding: 2 ** 17 });
    const [got, wanted] = [await gradients(narrow), await gradients(wide)];
    expect(relativeError(got, wanted)).toBeLessThan(1e-5);
    await narrow.close();

    async function gradients(device: WebGpuDevice): Promise<Float32Array> {
      const { model, parameters } = smallModel(device, { layers: 1, state: 1 });
      const tape = new Tape(device, { training: true, dropout: false });
      parameters.attach(tape);
      const bags = { features: tape.constant(features, [tokens, 12]), offsets: [0, 420, tokens] };
      crossEntropy(tape, model.forward(tape, bags).logits, [0, 2]);
      tape.backward();
      const found = await device.read(parameters.gradients);
      tape.close();
      parameters.close();
      return found;
    }
  });
});

function product(m: number, n: number, k: number, transA: number, transB: number): Record<string, HostArray> {
  const seed = m + 2 * n + 3 * transA + 5 * transB;
  return {
    A: randomArray(seed, m * k),
    B: randomArray(seed + 1, k * n),
    bias: randomArray(6, n),
    C: randomArray(7, m * n),
  };
}

function sizes(m: number, n: number, k: number, transA: number, transB: number) {
  return { m, n, k, transA, transB };
}
