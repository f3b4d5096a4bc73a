/** Gradients of the ops on fresh random shapes, against central differences: scan, convolution, branch, norms, pools. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { conv1d } from '../../src/kernels/conv1d.ts';
import { conv2d } from '../../src/kernels/conv2d.ts';
import type { Device } from '../../src/kernels/device.ts';
import { concatRows, gatherRows } from '../../src/kernels/gather.ts';
import { mambaBranch } from '../../src/kernels/mamba-branch.ts';
import { addMatmul } from '../../src/kernels/matmul.ts';
import { layerNorm, rmsNorm } from '../../src/kernels/norm.ts';
import { attentionPool, poolRows, softmaxRows } from '../../src/kernels/pool.ts';
import { selectiveScan } from '../../src/kernels/selective-scan.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { type Build, expectGradients, type Inputs } from './gradients.ts';
import { randomNumbers } from './small-models.ts';

let device: Device;
beforeAll(async () => {
  device = await openWasm({ threads: 2 });
});
afterAll(() => device.close());

/** Lengths of packed bags. */
const bagLengths = fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 1, maxLength: 4 });
const offsetsOf = (lengths: readonly number[]) => {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + length);
  return offsets;
};
const seed = fc.integer({ min: 1, max: 1e6 });
const K = fc.constantFrom(0, 1, 2, 3, 4, 8, 16, 'auto' as const);
/** LAMINA_SEED and LAMINA_RUNS try other and more shapes than the usual ones. */
const more = Number(process.env.LAMINA_RUNS ?? 1);
const RUNS = { seed: Number(process.env.LAMINA_SEED ?? 1), numRuns: 8 * more };

/** Standard normal inputs of the given shapes. */
function inputsOf(seed: number, shapes: Readonly<Record<string, readonly number[]>>): Record<string, Inputs[string]> {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [
      name,
      {
        shape,
        data: randomNumbers(
          seed + i,
          shape.reduce((a, b) => a * b, 1),
        ),
      },
    ]),
  );
}

const check = (inputs: Inputs, build: Build, seed: number) => expectGradients(device, inputs, build, seed);

describe('gradients by central differences', () => {
  it('of the scan: any K, packed bags, both directions, with and without gate and skip', async () => {
    const shape = fc.record({ D: fc.integer({ min: 1, max: 6 }), N: fc.integer({ min: 1, max: 5 }) });
    await fc.assert(
      fc.asyncProperty(
        bagLengths,
        shape,
        K,
        fc.boolean(),
        fc.boolean(),
        seed,
        async (lengths, { D, N }, K, reversed, optional, seed) => {
          const offsets = offsetsOf(lengths);
          const L = offsets.at(-1)!;
          const inputs = inputsOf(seed, {
            u: [D, L],
            delta: [D, L],
            A: [D, N],
            B: [N, L],
            C: [N, L],
            ...(optional ? { D: [D], z: [D, L], deltaBias: [D] } : {}),
          });
          inputs.A!.data.forEach((value, i, data) => {
            data[i] = -Math.exp(0.3 * value);
          });
          const build: Build = (tape, tensors) =>
            selectiveScan(tape, tensors as never, new Sequence(tape, offsets), { K, reversed });
          await check(inputs, build, seed);
        },
      ),
      { ...RUNS, numRuns: 20 * more },
    );
  });

  it('of the convolution', async () => {
    await fc.assert(
      fc.asyncProperty(
        bagLengths,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        fc.boolean(),
        seed,
        async (lengths, D, W, silu, reversed, seed) => {
          const offsets = offsetsOf(lengths);
          const inputs = inputsOf(seed, { x: [D, offsets.at(-1)!], weight: [D, 1, W], bias: [D] });
          const build: Build = (tape, { x, weight, bias }) =>
            conv1d(tape, x!, weight!, bias!, new Sequence(tape, offsets), { silu, reversed });
          await check(inputs, build, seed);
        },
      ),
      RUNS,
    );
  });

  it('of a branch of a Mamba block', async () => {
    await fc.assert(
      fc.asyncProperty(bagLengths, K, fc.boolean(), seed, async (lengths, K, reversed, seed) => {
        const offsets = offsetsOf(lengths);
        const [E, N, R, W] = [5, 3, 2, 4];
        const inputs = inputsOf(seed, {
          xz: [2 * E, offsets.at(-1)!],
          convWeight: [E, 1, W],
          convBias: [E],
          xProj: [R + 2 * N, E],
          dtProj: [E, R],
          dtBias: [E],
          ALog: [E, N],
          D: [E],
        });
        for (const name of ['xProj', 'convWeight', 'ALog', 'dtProj']) {
          inputs[name]!.data.forEach((value, i, data) => {
            data[i] = 0.4 * value;
          });
        }
        const build: Build = (tape, { xz, ...weights }) =>
          mambaBranch(tape, xz!, weights as never, new Sequence(tape, offsets), { K, reversed });
        await check(inputs, build, seed);
      }),
      RUNS,
    );
  });

  const rows = fc.integer({ min: 1, max: 9 });
  // Few columns are nearly one number to a norm: it turns too sharply for a difference.
  const columns = fc.integer({ min: 5, max: 40 });

  it('of the norms', async () => {
    await fc.assert(
      fc.asyncProperty(rows, columns, fc.constantFrom('layer', 'rms', 'residual'), seed, async (r, d, kind, seed) => {
        const inputs = inputsOf(seed, {
          x: [r, d],
          weight: [d],
          ...(kind === 'layer' ? { bias: [d] } : kind === 'residual' ? { residual: [r, d] } : {}),
        });
        const build: Build = (tape, { x, weight, bias, residual = null }) => {
          if (kind === 'layer') return layerNorm(tape, x!, weight!, bias!);
          const { y, sum } = rmsNorm(tape, x!, residual, weight!);
          return residual ? concatRows(tape, [y, sum]) : y;
        };
        await check(inputs, build, seed);
      }),
      RUNS,
    );
  });

  it('of the pools and the softmax', async () => {
    await fc.assert(
      fc.asyncProperty(
        bagLengths,
        columns,
        fc.constantFrom('attention', 'mean', 'max', 'softmax'),
        seed,
        async (lengths, d, kind, seed) => {
          const offsets = offsetsOf(lengths);
          const L = offsets.at(-1)!;
          const build: Build = (tape, { h, scores }) => {
            const sequence = new Sequence(tape, offsets);
            if (kind === 'attention') return attentionPool(tape, h!, scores!, sequence).pooled;
            return kind === 'softmax' ? softmaxRows(tape, h!) : poolRows(tape, h!, sequence, kind as 'mean');
          };
          await check(inputsOf(seed, { h: [L, d], ...(kind === 'attention' ? { scores: [L] } : {}) }), build, seed);
        },
      ),
      RUNS,
    );
  });

  it('of products added to a residual, gathered rows, and 2-D convolutions', async () => {
    await fc.assert(
      fc.asyncProperty(rows, rows, rows, fc.boolean(), fc.boolean(), seed, async (m, n, k, transA, transB, seed) => {
        const product = inputsOf(seed, { residual: [m, n], A: transA ? [k, m] : [m, k], B: transB ? [n, k] : [k, n] });
        await check(
          product,
          (tape, { residual, A, B }) => addMatmul(tape, residual!, A!, B!, { transA, transB }),
          seed,
        );
        const index = Int32Array.from({ length: m + n }, (_, i) => ((i * 7 + seed) % (k + 1)) - 1);
        const gathered: Build = (tape, { x }) => gatherRows(tape, x!, tape.constant(index, [index.length]));
        await check(inputsOf(seed, { x: [k, n] }), gathered, seed);
        const picture = inputsOf(seed, { x: [2, m, n], weight: [2, 1, 3, 5], bias: [2] });
        await check(picture, (tape, { x, weight, bias }) => conv2d(tape, x!, weight!, bias!), seed);
      }),
      RUNS,
    );
  });
});
