/**
 * One scan direction of a Mamba block between in_proj and out_proj (mamba-block.md), as one op:
 * conv + SiLU, the projections to delta, B and C, the scan and its gate.
 *
 * One op rather than four, because the way back computes the convolution and delta again instead of keeping them:
 * of the (E, L) tensors only xz and the output stay in memory.
 */
import { runConv1d, runConv1dBackward } from './conv1d.ts';
import { activations } from './kernels.ts';
import { product } from './matmul.ts';
import { createCarries, runScan, runScanBackward, type ScanInputs } from './selective-scan.ts';
import type { SegmentLength, Sequence } from './sequence.ts';
import type { Tape } from './tape.ts';
import { type Tensor, windowOf } from './tensor.ts';

export interface BranchWeights {
  /** (E, 1, W) and (E) */
  readonly convWeight: Tensor;
  readonly convBias: Tensor | null;
  /** (R + 2N, E): rows for dt, then B, then C */
  readonly xProj: Tensor;
  /** (E, R) and (E); the bias is added inside the scan */
  readonly dtProj: Tensor;
  readonly dtBias: Tensor;
  /** (E, N) */
  readonly ALog: Tensor;
  /** (E) */
  readonly D: Tensor;
}

/** What one piece of a bag hands to the next: the last tokens before the convolution (E, W-1), and the scan's state (1, E, N). */
export interface BranchCarry {
  tail: Tensor;
  state: Tensor;
}

export interface BranchOptions {
  readonly K: SegmentLength;
  readonly reversed?: boolean;
  /** Streaming inference: read, then replaced by the carry after this piece. */
  readonly carry?: BranchCarry | null;
}

/** xz (2E, L), rows of x' then rows of z, to y (E, L). */
export function mambaBranch(
  tape: Tape,
  xz: Tensor,
  w: BranchWeights,
  sequence: Sequence,
  options: BranchOptions,
): Tensor {
  const L = xz.shape[1]!;
  const [E, N] = [w.ALog.shape[0]!, w.ALog.shape[1]!];
  const R = w.dtProj.shape[1]!;
  const reversed = options.reversed ?? false;
  const x = windowOf(xz, 0, [E, L]);
  const z = windowOf(xz, E * L, [E, L]);
  const segments = sequence.segments(options.K, reversed);

  const A = tape.create([E, N]);
  tape.run('activation', [w.ALog, A], [A.length, NEG_EXP]);
  const rows = tape.create([R + 2 * N, L]);
  const dt = windowOf(rows, 0, [R, L]);
  const B = windowOf(rows, R * L, [N, L]);
  const C = windowOf(rows, (R + N) * L, [N, L]);
  const scanInputs = (u: Tensor, delta: Tensor): ScanInputs => ({ u, delta, z, A, B, C, D: w.D, deltaBias: w.dtBias });
  const convolve = (): Tensor => {
    const u = tape.createPassing([E, L]);
    runConv1d(
      tape,
      x,
      w.convWeight,
      w.convBias,
      sequence,
      { silu: true, reversed, tail: options.carry?.tail ?? null },
      u,
    );
    return u;
  };
  const project = (): Tensor => {
    const delta = tape.createPassing([E, L]);
    product(tape, w.dtProj, dt, null, delta, { m: E, n: L, k: R, transA: false, transB: false, accumulate: 0 });
    return delta;
  };

  const u = convolve();
  product(tape, w.xProj, u, null, rows, { m: R + 2 * N, n: L, k: E, transA: false, transB: false, accumulate: 0 });
  const delta = project();
  const y = tape.createPassing([E, L], xz.needsGradient || w.xProj.needsGradient);
  const inputs = scanInputs(u, delta);
  const carries = tape.recording ? createCarries(tape, inputs, segments) : null;
  const stateOut = options.carry ? tape.create(options.carry.state.shape) : null;
  const scanOptions = { K: options.K, reversed, stateIn: options.carry?.state ?? null, stateOut };
  runScan(tape, inputs, sequence, segments, scanOptions, y, carries);
  if (options.carry && stateOut) advance(tape, options.carry, x, stateOut, reversed);
  tape.discard(u);
  tape.discard(delta);

  tape.record([y], carries ? [A, rows, carries] : [A, rows], () => {
    const dy = tape.gradientOf(y)!;
    const u = convolve();
    const delta = project();
    const dxz = tape.gradientSlot(xz);
    const [dx, dzOfXz] = [windowOf(dxz.view, 0, [E, L]), windowOf(dxz.view, E * L, [E, L])];
    // The scan overwrites; where another branch has been at dz, its own is added afterwards.
    const dz = dxz.accumulate ? tape.create([E, L]) : dzOfXz;
    const du = tape.create([E, L]);
    const ddelta = tape.create([E, L]);
    const drows = tape.create([R + 2 * N, L]);
    const rowsFrom = (row: number, count: number) => windowOf(drows, row * L, [count, L]);
    const ddt = rowsFrom(0, R);
    const dA = tape.zeros([E, N]);
    runScanBackward(tape, scanInputs(u, delta), segments, { K: options.K, reversed }, carries!, dy, {
      u: du,
      delta: ddelta,
      z: dz,
      A: dA,
      B: rowsFrom(R, N),
      C: rowsFrom(R + N, N),
      D: tape.zeroedSlot(w.D),
      deltaBias: tape.zeroedSlot(w.dtBias),
    });
    tape.discard(delta);
    tape.run('activationBackward', [w.ALog, A, dA, tape.zeroedSlot(w.ALog)], [A.length, NEG_EXP, 1]);
    tape.discard(dA);
    product(tape, ddelta, dt, null, tape.zeroedSlot(w.dtProj), {
      m: E,
      n: R,
      k: L,
      transA: false,
      transB: true,
      accumulate: 1,
    });
    product(tape, w.dtProj, ddelta, null, ddt, { m: R, n: L, k: E, transA: true, transB: false, accumulate: 0 });
    tape.discard(ddelta);
    product(tape, drows, u, null, tape.zeroedSlot(w.xProj), {
      m: R + 2 * N,
      n: E,
      k: L,
      transA: false,
      transB: true,
      accumulate: 1,
    });
    product(tape, w.xProj, drows, null, du, { m: E, n: L, k: R + 2 * N, transA: true, transB: false, accumulate: 1 });
    tape.discard(drows);
    tape.discard(u);
    const how = { silu: true, reversed };
    runConv1dBackward(tape, x, w.convWeight, w.convBias, sequence, how, du, dx, dxz.accumulate);
    tape.discard(du);
    if (dxz.accumulate) {
      tape.run('add', [dzOfXz, dz, dzOfXz], [dz.length, 1, 1]);
      tape.discard(dz);
    }
  });
  return y;
}

const NEG_EXP = activations.indexOf('negExp');

function advance(tape: Tape, carry: BranchCarry, x: Tensor, state: Tensor, reversed: boolean): void {
  const tail = tape.create(carry.tail.shape);
  tape.run('convTail', [x, carry.tail, tail], [x.shape[0]!, x.shape[1]!, tail.shape[1]! + 1, Number(reversed)]);
  tape.discard(carry.tail);
  tape.discard(carry.state);
  carry.tail = tail;
  carry.state = state;
}
