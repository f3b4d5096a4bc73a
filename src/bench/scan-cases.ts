/**
 * The selective scan in its three forms, forward-only, LB, and two directions (one scan each way, summed), forward and with
 * its gradients, on one set of inputs. Costs: lbmamba-scan.md §7, with B and C read once.
 */
import {
  createCarries,
  runScan,
  runScanBackward,
  type ScanGradients,
  type ScanInputs,
} from '../kernels/selective-scan.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { expectClose } from './check.ts';
import { type Cost, type KernelCase, spreadOver, sumOf, uniform } from './kernel-case.ts';
import { readRow } from './layer-cases.ts';
import { flipped, flipRows, partOf, pickRows, plainScan, plainScanGradients, type ScanArrays } from './plain-scan.ts';

export const scanForms = ['forward-only', 'LB', 'two directions'] as const;
export type ScanForm = (typeof scanForms)[number];
export const scanPasses = ['forward', 'forward + backward'] as const;
export type ScanPass = (typeof scanPasses)[number];

export interface ScanShape {
  readonly D: number;
  readonly L: number;
  readonly N: number;
  /** Segment length of the LB form. */
  readonly K: number;
}

export function scanName(form: ScanForm, pass: ScanPass): string {
  return `scan ${form}, ${pass}`;
}

/** Step sizes between 0.001 and 0.1 and A = -1..-N, as a fresh Mamba has them. */
export function scanArrays({ D, L, N }: ScanShape): ScanArrays {
  return {
    D,
    L,
    N,
    u: uniform(11, D * L),
    delta: uniform(12, D * L),
    z: uniform(13, D * L),
    A: Float32Array.from({ length: D * N }, (_, i) => -1 - (i % N)),
    B: uniform(14, N * L),
    C: uniform(15, N * L),
    skip: uniform(16, D),
    deltaBias: uniform(17, D, -6.9, -2.3),
  };
}

/** One scan of one direction on the device, with what it writes. */
interface Direction {
  readonly K: number;
  readonly reversed: boolean;
  forward(carries: boolean): void;
  backward(): void;
  readonly y: Tensor;
  readonly gradients: ScanGradients;
}

export function scanCases(tape: Tape, shape: ScanShape, s: ScanArrays): KernelCase[] {
  const { D, L, N } = s;
  const inputs: ScanInputs = {
    u: tape.constant(s.u, [D, L]),
    delta: tape.constant(s.delta, [D, L]),
    z: tape.constant(s.z, [D, L]),
    A: tape.constant(s.A, [D, N]),
    B: tape.constant(s.B, [N, L]),
    C: tape.constant(s.C, [N, L]),
    D: tape.constant(s.skip, [D]),
    deltaBias: tape.constant(s.deltaBias, [D]),
  };
  const dyHost = uniform(18, D * L);
  const dy = tape.constant(dyHost, [D, L]);
  const sequence = new Sequence(tape, [0, L]);
  const [right, left] = [writes(tape, shape), writes(tape, shape)];
  const direction = (K: number, reversed: boolean): Direction => {
    const { y, gradients } = reversed ? left : right;
    const segments = sequence.segments(K, reversed);
    const carries = createCarries(tape, inputs, segments);
    const options = { K, reversed };
    return {
      K,
      reversed,
      y,
      gradients,
      forward: (keep) => runScan(tape, inputs, sequence, segments, options, y, keep ? carries : null),
      backward() {
        for (const sum of [gradients.A, gradients.D!, gradients.deltaBias!]) tape.run('fill', [sum], [sum.length, 0]);
        runScanBackward(tape, inputs, segments, options, carries, dy, gradients);
      },
    };
  };
  const forms: Readonly<Record<ScanForm, readonly Direction[]>> = {
    'forward-only': [direction(0, false)],
    LB: [direction(shape.K, false)],
    'two directions': [direction(0, false), direction(0, true)],
  };
  const sum = tape.create([D, L]);
  const add = (a: Tensor, b: Tensor) => tape.run('add', [a, b, sum], [sum.length, 1, 1]);

  return scanForms.flatMap((form) => {
    const directions = forms[form];
    const [one, other] = directions as [Direction, Direction | undefined];
    const costs = scanCosts(shape, form, tape.device.kind === 'wasm' ? 'sequential' : 'parallel');
    const forward: KernelCase = {
      ...costs.forward,
      name: scanName(form, 'forward'),
      run() {
        for (const { forward } of directions) forward(false);
        if (other) add(one.y, other.y);
      },
      async check() {
        const channels = spreadOver(D, 8);
        const sums = new Float64Array(channels.length * L);
        for (const { K, reversed } of directions) {
          const y = plainForward(partOf(s, channels, 0, L), K, reversed);
          for (let i = 0; i < y.length; i++) sums[i]! += y[i]!;
        }
        const y = other ? sum : one.y;
        for (const [i, d] of channels.entries()) {
          expectClose(this.name, await readRow(tape, y, d), sums.subarray(i * L, (i + 1) * L), 5e-5);
        }
      },
    };
    const both: KernelCase = {
      ...sumOf(costs.forward, costs.backward),
      name: scanName(form, 'forward + backward'),
      run() {
        for (const { forward } of directions) forward(true);
        if (other) add(one.y, other.y);
        for (const { backward } of directions) backward();
        if (other) add(one.gradients.z!, other.gradients.z!);
      },
      async check() {
        for (const each of directions) await checkGradients(tape, this.name, s, each, dyHost);
      },
    };
    return [forward, both];
  });
}

/** The LB form forward with u, delta, z and y stored as f16: half the bytes of D x L. For devices that have it. */
export function halfScanCase(tape: Tape, shape: ScanShape, s: ScanArrays): KernelCase {
  const { D, L, N, K } = shape;
  const narrow = (values: Float32Array): Tensor => {
    const wide = tape.constant(values, [D, L]);
    const half = tape.createPassing([D, L]);
    tape.run('add', [wide, null, half], [half.length, 1, 0]);
    tape.discard(wide);
    return half;
  };
  const inputs: ScanInputs = {
    u: narrow(s.u),
    delta: narrow(s.delta),
    z: narrow(s.z),
    A: tape.constant(s.A, [D, N]),
    B: tape.constant(s.B, [N, L]),
    C: tape.constant(s.C, [N, L]),
    D: tape.constant(s.skip, [D]),
    deltaBias: tape.constant(s.deltaBias, [D]),
  };
  const [y, wide] = [tape.createPassing([D, L]), tape.create([D, L])];
  const sequence = new Sequence(tape, [0, L]);
  const { bytes, flops } = scanCosts(shape, 'LB', 'parallel').forward;
  return {
    name: 'scan LB, forward, f16',
    bytes: bytes - 8 * D * L,
    flops,
    run: () => runScan(tape, inputs, sequence, sequence.segments(K, false), { K }, y, null),
    async check() {
      tape.run('add', [y, null, wide], [wide.length, 1, 0]);
      const channels = spreadOver(D, 8);
      const wanted = Float64Array.from(plainForward(partOf(s, channels, 0, L), K, false));
      for (const [i, d] of channels.entries()) {
        expectClose(this.name, await readRow(tape, wide, d), wanted.subarray(i * L, (i + 1) * L), 3e-3);
      }
    },
  };
}

function writes(tape: Tape, { D, L, N }: ScanShape): Pick<Direction, 'y' | 'gradients'> {
  const [u, delta, z, y] = Array.from({ length: 4 }, () => tape.create([D, L])) as [Tensor, Tensor, Tensor, Tensor];
  const [B, C] = [tape.create([N, L]), tape.create([N, L])];
  const [skip, deltaBias] = [tape.create([D]), tape.create([D])];
  return { y, gradients: { u, delta, z, A: tape.create([D, N]), B, C, D: skip, deltaBias } };
}

function plainForward(s: ScanArrays, K: number, reversed: boolean): Float32Array {
  return reversed ? flipRows(plainScan(flipped(s), K), s.L) : plainScan(s, K);
}

/** Tokens at either end over which the gradients of B and C, sums over all channels, are checked. */
const END = 64;

/**
 * Gradients of single channels on a sample of channels. Those of B and C, sums over channels, where plain loops over all channels
 * are short: C reads nothing after its segment, so it is checked at the scan's start, and B nothing before, so at its end; in between by
 * sum(B dB) = sum(C dC) = sum(dy (y - silu(z) D u)), as y is linear in both.
 */
async function checkGradients(tape: Tape, name: string, s: ScanArrays, direction: Direction, dy: Float32Array) {
  const { D, L, N } = s;
  const { K, reversed, gradients } = direction;
  const channels = spreadOver(D, 4);
  const all = Array.from({ length: D }, (_, d) => d);
  const states = Array.from({ length: N }, (_, n) => n);
  const turned = reversed ? flipped(s) : s;
  const turnedDy = reversed ? flipRows(dy, L) : dy;
  const plain = (rows: readonly number[], from: number, to: number) =>
    plainScanGradients(partOf(turned, rows, from, to), K, pickRows(turnedDy, L, rows, from, to));
  const read = async (t: Tensor, width: number) => {
    const values = await tape.device.read(t);
    return reversed ? flipRows(values, width) : values;
  };
  const close = (what: string, got: Float32Array, wanted: Float64Array, scale?: number) =>
    expectClose(`${name}${reversed ? ' (reversed)' : ''}: gradient of ${what}`, got, wanted, 2e-4, scale);

  const sample = plain(channels, 0, L);
  for (const what of ['u', 'delta', 'z'] as const) {
    close(what, pickRows(await read(gradients[what]!, L), L, channels, 0, L), sample[what]);
  }
  const ofChannel = async (t: Tensor, width: number) => pickRows(await tape.device.read(t), width, channels, 0, width);
  close('A', await ofChannel(gradients.A, N), sample.A);
  close('D', await ofChannel(gradients.D!, 1), sample.skip);
  close('delta bias', await ofChannel(gradients.deltaBias!, 1), sample.deltaBias);

  const [dB, dC] = [await read(gradients.B, L), await read(gradients.C, L)];
  const segment = Math.max(1, K);
  const from = Math.max(0, Math.floor((L - END) / segment) * segment);
  const to = Math.min(L, Math.ceil(END / segment) * segment);
  close('B', pickRows(dB, L, states, from, L), plain(all, from, L).B);
  close('C', pickRows(dC, L, states, 0, to), plain(all, 0, to).C);

  const y = await read(direction.y, L);
  let [total, squares] = [0, 0];
  for (let d = 0, i = 0; d < D; d++) {
    for (let t = 0; t < L; t++, i++) {
      const gate = turned.z[i]! / (1 + Math.exp(-turned.z[i]!));
      const term = turnedDy[i]! * (y[i]! - gate * turned.skip[d]! * turned.u[i]!);
      total += term;
      squares += term * term;
    }
  }
  const inner = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  const wanted = Float64Array.of(total, total);
  close('B and C', Float32Array.of(inner(turned.B, dB), inner(turned.C, dC)), wanted, 10 * Math.sqrt(squares));
}

/**
 * What the three forms cost (§7). Backward reads u, delta, z, dy and writes three: our kernels compute p again, so the spec's
 * other 4 bytes do not count. `parallel` reduces pairs first, as GPUs do.
 */
export function scanCosts({ D, L, N }: ScanShape, form: ScanForm, algorithm: 'sequential' | 'parallel') {
  const elements = D * L;
  const perElement = 15;
  const forwardPerState = { sequential: [6, 9], parallel: [9, 12] }[algorithm];
  const backwardPerState = { sequential: [19, 27], parallel: [25, 33] }[algorithm];
  const local = form === 'LB' ? 1 : 0;
  const forward: Cost = {
    bytes: 16 * elements + 8 * N * L,
    flops: elements * (forwardPerState[local]! * N + perElement),
  };
  const backward: Cost = {
    bytes: 28 * elements + 16 * N * L,
    flops: elements * (backwardPerState[local]! * N + perElement),
  };
  if (form !== 'two directions') return { forward, backward };
  const add: Cost = { bytes: 12 * elements, flops: elements };
  return { forward: sumOf(forward, forward, add), backward: sumOf(backward, backward, add) };
}
