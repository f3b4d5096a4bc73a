/** The scan by itself: outputs, gradients, its inner values, and the attention matrix hidden in it. lbmamba-scan.md. */
import { type ScanInputs, selectiveScan } from '../../src/kernels/selective-scan.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import type { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import type { Bench, Runner } from './run-case.ts';

/** Golden name and name of the op's input. */
const NAMES = [
  ['u', 'u'],
  ['delta', 'delta'],
  ['A', 'A'],
  ['B', 'B'],
  ['C', 'C'],
  ['D', 'D'],
  ['z', 'z'],
  ['delta_bias', 'deltaBias'],
] as const;

/** Batches of the golden files (B, X, L) become packed bags (X, B L), and back. */
export function pack(data: Float32Array, B: number, L: number): Float32Array {
  return swapOuter(data, B, data.length / (B * L), L);
}

export function unpack(data: Float32Array, B: number, L: number): Float32Array {
  return swapOuter(data, data.length / (B * L), B, L);
}

/** (a, b, L) to (b, a, L) */
function swapOuter(data: Float32Array, a: number, b: number, L: number): Float32Array {
  const swapped = new Float32Array(data.length);
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) swapped.set(data.subarray((i * b + j) * L, (i * b + j + 1) * L), (j * a + i) * L);
  }
  return swapped;
}

/** Bag offsets of B batches of L tokens, each cut at cu. */
export function packedOffsets(B: number, L: number, cu: readonly number[] | null): number[] {
  const bounds = cu ?? [0, L];
  return [0, ...Array.from({ length: B }, (_, b) => bounds.slice(1).map((end) => b * L + end)).flat()];
}

/** The inputs of a case on a tape, packed. */
function scanInputs(bench: Bench, tape: Tape): ScanInputs & Record<string, Tensor> {
  const { B, L } = bench.case.dims;
  const inputs: Record<string, Tensor> = {};
  for (const [golden, name] of NAMES) {
    const stored = bench.input(golden);
    if (!stored) continue;
    const batched = stored.shape.length === 3;
    const data = batched ? pack(stored.data, B, L) : stored.data;
    inputs[name] = tape.constant(data, batched ? [stored.shape[1]!, B * L] : stored.shape, true);
  }
  return inputs as ScanInputs & Record<string, Tensor>;
}

const runScanCase: Runner = async (bench) => {
  const { B, L, D, N } = bench.case.dims;
  const { K, softplus, cu_seqlens: cu } = bench.case;
  const tape = bench.tape(true);
  const inputs = scanInputs(bench, tape);
  const sequence = new Sequence(tape, packedOffsets(B, L, cu));
  const stateOut = tape.create([sequence.bags, D, N]);
  const y = tape.keep(selectiveScan(tape, inputs, sequence, { K, softplus, stateOut }));
  const outputs: Record<string, Float32Array> = { y: unpack(await bench.device.read(y), B, L) };

  const states = await bench.device.read(stateOut);
  const bagsPerBatch = sequence.bags / B;
  outputs.last_state = new Float32Array(B * D * N);
  for (let b = 0; b < B; b++) {
    const last = (b + 1) * bagsPerBatch - 1;
    outputs.last_state.set(states.subarray(last * D * N, (last + 1) * D * N), b * D * N);
  }

  tape.backward([[y, tape.constant(pack(bench.need('dy').data, B, L), y.shape)]]);
  for (const [golden, name] of NAMES) {
    const input = inputs[name];
    if (!input) continue;
    const gradient = await bench.gradient(tape, input);
    outputs[`d${golden}`] =
      input.shape[1] === B * L && input.shape.length === 2 && golden !== 'A' ? unpack(gradient, B, L) : gradient;
  }
  return 'h' in (bench.case.outputs ?? {}) ? { ...outputs, ...(await traceScan(bench)) } : outputs;
};

/**
 * The scan's inner values (B, D, L, N), made visible through the op itself: a C that picks one state shows h; bags of one token
 * show b, and with a state of one before them and no input, a; with B = C = 1 the step size.
 */
async function traceScan(bench: Bench): Promise<Record<string, Float32Array>> {
  const { B, L, D, N } = bench.case.dims;
  const { K, softplus, cu_seqlens: cu } = bench.case;
  const tape = bench.tape(false);
  const { u, delta, A, B: input, deltaBias = null } = scanInputs(bench, tape);
  const tokens = B * L;
  const bags = new Sequence(tape, packedOffsets(B, L, cu));
  const single = new Sequence(
    tape,
    Array.from({ length: tokens + 1 }, (_, i) => i),
  );
  const filled = (shape: number[], value: number) =>
    tape.constant(new Float32Array(shape[0]! * shape[1]!).fill(value), shape);

  const byState = async (sequence: Sequence, options: { K: number; stateIn?: Tensor }, from: Tensor) => {
    const states = new Float32Array(B * D * L * N);
    for (let n = 0; n < N; n++) {
      const picks = new Float32Array(N * tokens).fill(1, n * tokens, (n + 1) * tokens);
      const C = tape.constant(picks, [N, tokens]);
      const scan = { u: from, delta, A, B: input, C, deltaBias };
      const y = unpack(await bench.device.read(selectiveScan(tape, scan, sequence, { ...options, softplus })), B, L);
      for (let i = 0; i < y.length; i++) states[i * N + n] = y[i]!;
    }
    return states;
  };
  const hf = await byState(bags, { K: 0 }, u);
  const h = await byState(bags, { K }, u);
  const ones = tape.constant(new Float32Array(tokens * D * N).fill(1), [tokens, D, N]);
  const one = filled([1, tokens], 1);
  const step = { u: filled([D, tokens], 1), delta, A: filled([D, 1], -1), B: one, C: one, deltaBias };
  return {
    hf,
    h,
    ...(K ? { r: h.map((value, i) => value - hf[i]!) } : {}),
    a: await byState(single, { K: 0, stateIn: ones }, filled([D, tokens], 0)),
    b: await byState(single, { K: 0 }, u),
    dt: unpack(await bench.device.read(selectiveScan(tape, step, single, { K: 0, softplus })), B, L),
  };
}

/** M (B, D, L, L): column j is the output for an input that is one at token j; all columns at once as packed bags. */
const runHiddenAttention: Runner = async (bench) => {
  const { B, L, D, N } = bench.case.dims;
  const bias = bench.input('delta_bias');
  const M = new Float32Array(B * D * L * L);
  for (let batch = 0; batch < B; batch++) {
    const tape = bench.tape(false);
    const repeated = (name: string, rows: number): Tensor => {
      const own = bench.need(name).data.subarray(batch * rows * L, (batch + 1) * rows * L);
      const data = new Float32Array(rows * L * L);
      for (let row = 0; row < rows; row++) {
        for (let j = 0; j < L; j++) data.set(own.subarray(row * L, (row + 1) * L), (row * L + j) * L);
      }
      return tape.constant(data, [rows, L * L]);
    };
    const oneHot = Float32Array.from({ length: D * L * L }, (_, i) => (Math.floor(i / L) % L === i % L ? 1 : 0));
    const inputs = {
      u: tape.constant(oneHot, [D, L * L]),
      delta: repeated('delta', D),
      A: tape.constant(bench.need('A').data, [D, N]),
      B: repeated('B', N),
      C: repeated('C', N),
      deltaBias: bias ? tape.constant(bias.data, [D]) : null,
    };
    const bags = new Sequence(
      tape,
      Array.from({ length: L + 1 }, (_, j) => j * L),
    );
    const y = await bench.device.read(
      selectiveScan(tape, inputs, bags, { K: bench.case.K, softplus: bench.case.softplus }),
    );
    for (let d = 0; d < D; d++) {
      for (let j = 0; j < L; j++) {
        for (let t = 0; t < L; t++) M[((batch * D + d) * L + t) * L + j] = y[(d * L + j) * L + t]!;
      }
    }
  }
  return { M };
};

export const scanKinds: Readonly<Record<string, Runner>> = {
  selective_scan: runScanCase,
  hidden_attention: runHiddenAttention,
};
