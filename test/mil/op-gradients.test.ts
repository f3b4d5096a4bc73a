/**
 * Gradients of the ops on fresh random shapes, against central differences: scan, convolution, branch, norms, pools, products,
 * activations, reordering, losses.
 */
import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { conv1d } from '../../src/kernels/conv1d.ts';
import { conv2d } from '../../src/kernels/conv2d.ts';
import type { Device } from '../../src/kernels/device.ts';
import { activate, add, multiply, scale, transpose } from '../../src/kernels/elementwise.ts';
import { concatRows, gatherRows, reorderColumns } from '../../src/kernels/gather.ts';
import { activations } from '../../src/kernels/kernels.ts';
import { crossEntropy, survivalLoss } from '../../src/kernels/loss.ts';
import { mambaBranch } from '../../src/kernels/mamba-branch.ts';
import { addMatmul, linear, matmul } from '../../src/kernels/matmul.ts';
import { layerNorm, rmsNorm } from '../../src/kernels/norm.ts';
import { attentionPool, poolRows, softmaxRows } from '../../src/kernels/pool.ts';
import { selectiveScan } from '../../src/kernels/selective-scan.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import type { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { openSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';
import { type Build, expectGradients, type Inputs, type LossBuild } from './gradients.ts';
import { randomNumbers } from './small-models.ts';

/** Fresh shapes each time; LAMINA_SEED repeats those of a failure, LAMINA_RUNS tries more. */
const RUN_SEED = Number(process.env.LAMINA_SEED ?? randomInt(1, 2 ** 31));
const more = Number(process.env.LAMINA_RUNS ?? 1);

/** Lengths of packed bags: some longer than any K, some than a chunk of segments. */
const bagLengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 14, max: 70 })), {
  minLength: 1,
  maxLength: 3,
});
const offsetsOf = (lengths: readonly number[]) => {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + length);
  return offsets;
};
const seed = fc.integer({ min: 1, max: 1e6 });
const K = fc.oneof(fc.constantFrom(0, 1, 4, 8, 16, 'auto' as const), fc.integer({ min: 2, max: 40 }));

/** WGSL runs on a software adapter, which compiles for seconds: of each op a few shapes. */
const devices = [
  { name: 'wasm', skip: null, open: () => openWasm({ threads: 2 }), runs: (n: number) => n * more },
  { name: 'WGSL', skip: withoutSwiftShader, open: openSwiftShader, runs: (n: number) => Math.ceil(n / 8) * more },
];

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

/** Numbers of an order of their own in each column, at least 0.05 apart: a maximum has no slope where two are alike. */
function apart({ shape, data }: Inputs[string]): Inputs[string] {
  const c = shape[1]!;
  const rank = (i: number) => data.filter((v, k) => k % c === i % c && v < data[i]!).length;
  return { shape, data: data.map((_, i) => 0.05 * rank(i) - 1) };
}

/** Whole numbers and, where they are `halved`, halves between them: sums of products that are far from 0, where relu breaks. */
function whole({ shape, data }: Inputs[string], halved = false): Inputs[string] {
  return { shape, data: data.map((v) => Math.round(v) + (halved ? 0.5 : 0)) };
}

describe.each(devices)(
  `gradients by central differences on $name (LAMINA_SEED=${RUN_SEED})`,
  ({ skip, open, runs }) => {
    let device: Device;
    beforeAll(async () => {
      if (!skip) device = await open();
    });
    afterAll(() => device?.close());
    const check = (inputs: Inputs, build: Build | LossBuild, seed: number) =>
      expectGradients(device, inputs, build, seed);
    const property = (title: string, numRuns: number, holds: () => fc.IAsyncProperty<unknown>) =>
      it.skipIf(skip)(title, { timeout: 300_000 }, async () => {
        await fc.assert(holds(), { seed: RUN_SEED, numRuns: runs(numRuns) });
      });
    /** The op, or two of it on the same inputs: then the second adds its gradients to the first's. */
    const once = (twice: boolean, op: (again: boolean) => Tensor, tape: Tape) =>
      twice ? add(tape, op(false), op(true), 1, -0.5) : op(false);

    property('of the scan: any K, packed bags, both directions, with and without gate and skip', 20, () => {
      const shape = fc.record({ D: fc.integer({ min: 1, max: 6 }), N: fc.integer({ min: 1, max: 5 }) });
      const flags = fc.record({ reversed: fc.boolean(), optional: fc.boolean(), twice: fc.boolean() });
      return fc.asyncProperty(bagLengths, shape, K, flags, seed, async (lengths, { D, N }, K, flags, seed) => {
        const offsets = offsetsOf(lengths);
        const L = offsets.at(-1)!;
        const inputs = inputsOf(seed, {
          u: [D, L],
          delta: [D, L],
          A: [D, N],
          B: [N, L],
          C: [N, L],
          ...(flags.optional ? { D: [D], z: [D, L], deltaBias: [D] } : {}),
        });
        inputs.A!.data.forEach((value, i, data) => {
          data[i] = -Math.exp(0.3 * value);
        });
        const build: Build = (tape, tensors) => {
          const sequence = new Sequence(tape, offsets);
          const scan = (again: boolean) =>
            selectiveScan(tape, tensors as never, sequence, { K, reversed: flags.reversed !== again });
          return once(flags.twice, scan, tape);
        };
        await check(inputs, build, seed);
      });
    });

    property('of the convolution', 8, () =>
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
    );

    property('of a branch of a Mamba block, or two on the same xz', 8, () =>
      fc.asyncProperty(bagLengths, K, fc.boolean(), fc.boolean(), seed, async (lengths, K, reversed, twice, seed) => {
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
        const build: Build = (tape, { xz, ...weights }) => {
          const sequence = new Sequence(tape, offsets);
          const branch = (again: boolean) =>
            mambaBranch(tape, xz!, weights as never, sequence, { K, reversed: reversed !== again });
          return once(twice, branch, tape);
        };
        await check(inputs, build, seed);
      }),
    );

    const rows = fc.integer({ min: 1, max: 9 });
    // Few columns are nearly one number to a norm: it turns too sharply for a difference.
    const columns = fc.integer({ min: 5, max: 40 });

    property('of the norms', 8, () =>
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
    );

    property('of the pools, with and without gated scores, and the softmax', 12, () =>
      fc.asyncProperty(
        bagLengths,
        columns,
        fc.constantFrom('attention', 'gated', 'mean', 'max', 'softmax'),
        seed,
        async (lengths, d, kind, seed) => {
          const offsets = offsetsOf(lengths);
          const L = offsets.at(-1)!;
          const hidden = 3;
          const inputs = inputsOf(seed, {
            h: [L, d],
            ...(kind === 'attention' ? { scores: [L] } : {}),
            ...(kind === 'gated' ? { V: [hidden, d], U: [hidden, d], w: [1, hidden] } : {}),
          });
          if (kind === 'max') inputs.h = apart(inputs.h!);
          const build: Build = (tape, { h, scores, V, U, w }) => {
            const sequence = new Sequence(tape, offsets);
            if (kind === 'softmax') return softmaxRows(tape, h!);
            if (kind === 'mean' || kind === 'max') return poolRows(tape, h!, sequence, kind);
            if (kind === 'attention') return attentionPool(tape, h!, scores!, sequence).pooled;
            const gate = linear(tape, h!, U!, null, 'sigmoid');
            const gated = multiply(tape, linear(tape, h!, V!, null, 'tanh'), gate);
            return attentionPool(tape, h!, linear(tape, gated, w!, null), sequence).pooled;
          };
          await check(inputs, build, seed);
        },
      ),
    );

    property('of products, with bias and with each activation', 14, () =>
      fc.asyncProperty(
        fc.tuple(rows, rows, rows),
        fc.constantFrom(null, ...activations),
        fc.record({ transA: fc.boolean(), transB: fc.boolean(), biased: fc.boolean(), twice: fc.boolean() }),
        seed,
        async ([m, n, k], activation, { transA, transB, biased, twice }, seed) => {
          const inputs = inputsOf(seed, {
            A: transA ? [k, m] : [m, k],
            B: transB ? [n, k] : [k, n],
            ...(biased || activation === 'relu' ? { bias: [n] } : {}),
          });
          if (activation === 'relu') for (const name in inputs) inputs[name] = whole(inputs[name]!, name === 'bias');
          // exp of a sum of nine products turns too sharply for a difference.
          if (activation === 'negExp')
            for (const name in inputs) inputs[name]!.data.forEach((v, i, data) => void (data[i] = 0.3 * v));
          const build: Build = (tape, { A, B, bias = null }) =>
            once(twice, () => matmul(tape, A!, B!, { transA, transB, bias, activation }), tape);
          await check(inputs, build, seed);
        },
      ),
    );

    property('of each activation, and of sums and products of elements', 14, () =>
      fc.asyncProperty(rows, columns, fc.constantFrom(...activations), seed, async (r, c, f, seed) => {
        const inputs = inputsOf(seed, { x: [r, c], other: [r, c] });
        if (f === 'relu') inputs.x!.data.forEach((v, i, data) => void (data[i] = v + 0.1 * Math.sign(v)));
        const build: Build = (tape, { x, other }) => {
          const y = activate(tape, x!, f);
          return multiply(tape, add(tape, y, other!, 0.7, -0.3), scale(tape, other!, 1.5));
        };
        await check(inputs, build, seed);
      }),
    );

    property('of products added to a residual, gathered rows, and 2-D convolutions', 8, () =>
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
    );

    property('of reordered columns and transposed rows', 8, () =>
      fc.asyncProperty(rows, columns, fc.integer({ min: 0, max: 5 }), seed, async (r, L, pads, seed) => {
        const places = Array.from({ length: L + pads }, (_, i) => (i < L ? i : -1));
        const keys = randomNumbers(seed + 9, places.length);
        const index = Int32Array.from(
          places.map((_, i) => i).sort((a, b) => keys[a]! - keys[b]!),
          (i) => places[i]!,
        );
        const build: Build = (tape, { x }) => transpose(tape, reorderColumns(tape, x!, index));
        await check(inputsOf(seed, { x: [r, L] }), build, seed);
      }),
    );

    property('of the losses', 12, () =>
      fc.asyncProperty(
        rows,
        fc.integer({ min: 2, max: 6 }),
        fc.constantFrom('plain', 'weighted', 'survival'),
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        seed,
        async (bags, classes, kind, scale, seed) => {
          const labels = Array.from({ length: bags }, (_, i) => (i * 5 + seed) % classes);
          const censored = labels.map((_, i) => (i + seed) % 2);
          const weights = randomNumbers(seed + 1, classes).map((v) => 0.2 + Math.abs(v));
          const loss: Build = (tape, { logits }) => {
            if (kind === 'survival') return survivalLoss(tape, logits!, labels, censored, 0.4, scale).loss;
            const w = kind === 'weighted' ? tape.constant(weights, [classes]) : null;
            return crossEntropy(tape, logits!, labels, w, scale);
          };
          await check(inputsOf(seed, { logits: [bags, classes] }), { loss, scale }, seed);
        },
      ),
    );
  },
);
