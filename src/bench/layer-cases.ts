/** The kernels around the scan, each against a plain loop over a sample of what it writes. */
import { runConv1d } from '../kernels/conv1d.ts';
import { product } from '../kernels/matmul.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { expectClose } from './check.ts';
import { type KernelCase, spreadOver, uniform } from './kernel-case.ts';

/** C (m, n) = op(A) op(B); where `transA` is set A lies as (k, m), where `transB` is set B as (n, k). */
export interface ProductShape {
  readonly what: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
}

export function productCase(tape: Tape, shape: ProductShape): KernelCase {
  const { what, m, n, k, transA = false, transB = false } = shape;
  const { a, b } = productOperands(shape);
  const A = tape.constant(a, transA ? [k, m] : [m, k]);
  const B = tape.constant(b, transB ? [n, k] : [k, n]);
  const C = tape.create([m, n]);
  const name = `matmul ${what} ${m} x ${k} x ${n}`;
  return {
    name,
    bytes: 4 * (m * k + k * n + m * n),
    flops: 2 * m * n * k,
    run: () => product(tape, A, B, null, C, { m, n, k, transA, transB, accumulate: 0 }),
    check: () => checkProduct(name, shape, (row) => readRow(tape, C, row)),
  };
}

/** Both operands of a product, as they are stored. */
export function productOperands({ m, n, k }: ProductShape): { a: Float32Array; b: Float32Array } {
  return { a: uniform(1, m * k), b: uniform(2, k * n) };
}

/** Some rows of a product against sums in float64. @throws WrongResult */
export async function checkProduct(
  name: string,
  shape: ProductShape,
  rowOf: (row: number) => Float32Array | Promise<Float32Array>,
): Promise<void> {
  const { m, n, k, transA = false, transB = false } = shape;
  const { a, b } = productOperands(shape);
  for (const row of spreadOver(m, 8)) {
    const wanted = new Float64Array(n);
    for (let i = 0; i < k; i++) {
      const left = a[transA ? i * m + row : row * k + i]!;
      for (let j = 0; j < n; j++) wanted[j]! += left * b[transB ? j * k + i : i * n + j]!;
    }
    expectClose(name, await rowOf(row), wanted, 2e-5);
  }
}

/** The block's convolution with SiLU, width 4. */
export function conv1dCase(tape: Tape, D: number, L: number): KernelCase {
  const W = 4;
  const [x, weight, bias] = [uniform(3, D * L), uniform(4, D * W), uniform(5, D)];
  const sequence = new Sequence(tape, [0, L]);
  const tensors = [tape.constant(x, [D, L]), tape.constant(weight, [D, W]), tape.constant(bias, [D])] as const;
  const y = tape.create([D, L]);
  const name = `conv1d + SiLU ${D} x ${L}`;
  return {
    name,
    bytes: 8 * D * L,
    flops: (2 * W + 2) * D * L,
    run: () => runConv1d(tape, ...tensors, sequence, { silu: true }, y),
    async check() {
      for (const d of spreadOver(D, 8)) {
        const wanted = Float64Array.from({ length: L }, (_, t) => {
          let sum = bias[d]!;
          for (let i = Math.max(0, W - 1 - t); i < W; i++) sum += weight[d * W + i]! * x[d * L + t - (W - 1) + i]!;
          return sum / (1 + Math.exp(-sum));
        });
        expectClose(name, await readRow(tape, y, d), wanted, 1e-5);
      }
    },
  };
}

export function layerNormCase(tape: Tape, rows: number, d: number): KernelCase {
  const eps = 1e-5;
  const [x, weight, bias] = [uniform(6, rows * d), uniform(7, d), uniform(8, d)];
  const views = [tape.constant(x, [rows, d]), tape.constant(weight, [d]), tape.constant(bias, [d])];
  const y = tape.create([rows, d]);
  const stats = tape.create([rows, 2]);
  const name = `layerNorm ${rows} x ${d}`;
  return {
    name,
    bytes: 8 * rows * d + 8 * rows,
    flops: 8 * rows * d,
    run: () => tape.run('layerNorm', [...views, y, stats], [rows, d, eps]),
    async check() {
      for (const r of spreadOver(rows, 64)) {
        const row = x.subarray(r * d, (r + 1) * d);
        const mean = row.reduce((sum, value) => sum + value, 0) / d;
        const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / d;
        const wanted = Float64Array.from(
          row,
          (value, i) => ((value - mean) / Math.sqrt(variance + eps)) * weight[i]! + bias[i]!,
        );
        expectClose(name, await readRow(tape, y, r), wanted, 1e-5);
      }
    },
  };
}

export function attentionPoolCase(tape: Tape, L: number, d: number): KernelCase {
  const [h, scores] = [uniform(9, L * d), uniform(10, L, -4, 4)];
  const offsets = new Sequence(tape, [0, L]).offsetsOnDevice;
  const [H, S] = [tape.constant(h, [L, d]), tape.constant(scores, [L])];
  const [attention, pooled] = [tape.create([L]), tape.create([1, d])];
  const name = `attentionPool ${L} x ${d}`;
  return {
    name,
    bytes: 4 * L * d + 12 * L + 4 * d,
    flops: 2 * L * d + 2 * L,
    run: () => tape.run('attentionPool', [H, S, offsets, attention, pooled], [L, d, 1]),
    async check() {
      const weights = Float64Array.from(scores, Math.exp);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const wanted = new Float64Array(d);
      for (let t = 0; t < L; t++) {
        weights[t]! /= total;
        for (let i = 0; i < d; i++) wanted[i]! += weights[t]! * h[t * d + i]!;
      }
      expectClose(`${name}: attention`, await tape.device.read(attention), weights, 1e-5);
      // A mean of numbers of either sign: small against the numbers themselves.
      expectClose(`${name}: pooled`, await tape.device.read(pooled), wanted, 2e-6, 1);
    },
  };
}

/** One row of a matrix, from the device. */
export function readRow(tape: Tape, t: Tensor, row: number): Promise<Float32Array> {
  const width = t.length / t.shape[0]!;
  return tape.device.read({ storage: t.storage, offset: t.offset + row * width, length: width });
}
