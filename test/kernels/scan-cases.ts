/** Arguments of the scan kernels for tests: random ones, and those of the golden data. */
import type { Device } from '../../src/kernels/device.ts';
import { cutSegments, localKind, longestRow, type SegmentLength } from '../../src/kernels/sequence.ts';
import { packedOffsets } from '../golden/scan-cases.ts';
import { type GoldenCase, goldenInput } from './golden-cases.ts';
import type { ScanArguments } from './reference/scan.ts';
import { type HostArray, type Outputs, randomArray, runKernel } from './run-kernel.ts';

export interface ScanCase {
  readonly offsets: readonly number[];
  readonly K: SegmentLength;
  readonly reversed: boolean;
  /** With segments as they are, whatever a device holds in one piece. */
  readonly arguments: ScanArguments;
}

export interface ScanOptions {
  readonly D: number;
  readonly N: number;
  readonly offsets: readonly number[];
  /** 0: forward only. */
  readonly K: SegmentLength;
  readonly reversed?: boolean;
  readonly plain?: boolean;
  readonly state?: boolean;
  readonly softplus?: boolean;
}

export function randomScan(options: ScanOptions): ScanCase {
  const { D, N, offsets, K, reversed = false, plain = false, state = false, softplus = true } = options;
  const L = offsets.at(-1)!;
  const step = softplus ? randomArray(2, D * L) : randomArray(2, D * L).map(Math.abs);
  return cut(offsets, K, reversed, {
    D,
    L,
    N,
    u: randomArray(1, D * L),
    delta: step,
    A: randomArray(3, D * N).map((x) => -0.1 - Math.abs(x)),
    B: randomArray(4, N * L),
    C: randomArray(5, N * L),
    skip: plain ? null : randomArray(6, D),
    z: plain ? null : randomArray(7, D * L),
    deltaBias: plain || !softplus ? null : randomArray(8, D),
    stateIn: state ? randomArray(9, (offsets.length - 1) * D * N) : null,
    softplus,
  });
}

/** Golden tensors are (B, D, L); the B sequences become bags side by side in (D, B L). */
export function goldenScan(c: GoldenCase): ScanCase {
  const { B: batch, D, L, N } = c.dims as { B: number; D: number; L: number; N: number };
  const offsets = packedOffsets(batch, L, c.cu_seqlens ?? null);
  const take = (name: string) => goldenInput(c, name);
  const wide = (name: string, rows: number) => {
    const x = take(name);
    return x && sideBySide(x, batch, rows, L);
  };
  return cut(offsets, c.K!, false, {
    D,
    L: batch * L,
    N,
    u: wide('u', D)!,
    delta: wide('delta', D)!,
    A: take('A')!,
    B: wide('B', N)!,
    C: wide('C', N)!,
    skip: take('D'),
    z: wide('z', D),
    deltaBias: take('delta_bias'),
    stateIn: null,
    softplus: (c as unknown as { softplus: boolean }).softplus,
  });
}

/** (batch, rows, L) to (rows, batch L). */
export function sideBySide(x: ArrayLike<number>, batch: number, rows: number, L: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < rows; r++) {
      for (let t = 0; t < L; t++) out[(r * batch + b) * L + t] = x[(b * rows + r) * L + t]!;
    }
  }
  return out;
}

function cut(
  offsets: readonly number[],
  K: SegmentLength,
  reversed: boolean,
  rest: Omit<ScanArguments, 'segments' | 'local'>,
): ScanCase {
  const segments = cutSegments(offsets, K, reversed, Number.POSITIVE_INFINITY);
  return { offsets, K, reversed, arguments: { ...rest, segments, local: K === 'auto' || K > 1 } };
}

/** The table of segments as the device wants it. */
function tableFor(device: Device, { offsets, K, reversed }: ScanCase): Int32Array {
  return cutSegments(offsets, K, reversed, device.scanPiece);
}

function views(c: ScanCase, segments: Int32Array): Record<string, HostArray | null> {
  return { ...c.arguments, segments } as unknown as Record<string, HostArray | null>;
}

function params({ arguments: s, K }: ScanCase, segments: Int32Array): Record<string, number> {
  return {
    D: s.D,
    L: s.L,
    N: s.N,
    segmentCount: segments.length / 4,
    longestSegment: longestRow(segments),
    local: localKind(K, segments),
    softplus: Number(s.softplus),
  };
}

/** y, carries, stateOut. */
export function runScan(device: Device, c: ScanCase): Promise<Outputs> {
  const { D, L, N } = c.arguments;
  const segments = tableFor(device, c);
  const chunks = Math.ceil(segments.length / 4 / device.scanChunk);
  const outputs = {
    y: new Float32Array(D * L),
    carries: new Float32Array(chunks * D * N),
    stateOut: new Float32Array((c.offsets.length - 1) * D * N),
  };
  return runKernel(device, 'selectiveScan', { ...views(c, segments), ...outputs }, params(c, segments));
}

/** All gradients, and what the forward pass gave; what is added to starts at `start`. */
export async function runScanBackward(device: Device, c: ScanCase, dy: Float32Array, start = 0): Promise<Outputs> {
  const { D, L, N, skip, z, deltaBias } = c.arguments;
  const segments = tableFor(device, c);
  const forward = await runScan(device, { ...c, arguments: { ...c.arguments, stateIn: null } });
  const added = (n: number) => new Float32Array(n).fill(start);
  const outputs = {
    carries: forward.carries!,
    dy,
    du: new Float32Array(D * L),
    ddelta: new Float32Array(D * L),
    dA: added(D * N),
    dB: new Float32Array(N * L),
    dC: new Float32Array(N * L),
    dskip: skip && added(D),
    dz: z && new Float32Array(D * L),
    ddeltaBias: deltaBias && added(D),
  };
  const backward = await runKernel(
    device,
    'selectiveScanBackward',
    { ...views(c, segments), ...outputs },
    params(c, segments),
  );
  return { ...forward, ...backward };
}
