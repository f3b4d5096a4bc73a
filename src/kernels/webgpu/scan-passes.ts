/** How the selective scan and its backward are dispatched: sizes of chunks and workgroups, slabs of channels and tokens. */
import { UserError } from '../../errors.ts';
import type { View } from '../device.ts';
import { LOCAL } from '../sequence.ts';
import { type Call, type Capabilities, type Pass, slabs, strided, window } from './pass.ts';

/** Segments of a chunk when there are no more: bags of a few tokens, computed many channels to a workgroup. */
const FEW_SEGMENTS = 4;
/** Tokens that a thread holds: more would not stay in registers. */
export const SCAN_PIECE = 16;
/** Bytes of workgroups' parts of dB and dC that are held at once. */
const PART_BYTES = 96 << 20;

/** Rows of the table of segments in a chunk: as many as the tile leaves room for. */
export function scanChunk(gpu: Pick<Capabilities, 'workgroupBytes'>): number {
  return gpu.workgroupBytes >= 32768 ? 32 : 16;
}

interface Shape {
  /** Tokens a thread holds. */
  readonly K: number;
  /** Threads of a channel, segments of a chunk. */
  readonly T: number;
  /** Channels of a workgroup. */
  readonly G: number;
  /** Threads that share the states of a segment. */
  readonly S: number;
  readonly N: number;
  readonly chunks: number;
}

type ScanCall = Call<'selectiveScan'> | Call<'selectiveScanBackward'>;

export function* selectiveScan(call: Call<'selectiveScan'>): Iterable<Pass> {
  const { views, params, gpu, scratch } = call;
  if (!params.segmentCount) return;
  const shape = shapeOf(call, { parts: 2, threads: gpu.scanThreads, sharesStates: true });
  const bc = scratch(packedTokens(shape));
  const across = packedChannels(params) + (views.stateIn?.length ?? 0);
  const small = scratch(across + acrossLength(call, shape));
  yield* pack(call, shape, bc, window(small, 0, across), views.stateIn);
  for (const { rows, ...slab } of slabs(params.D, params.L, gpu)) {
    const { u, delta, z, y } = views;
    const rowsOf = { u: rows(u), delta: rows(delta), z: rows(z), y: rows(y) };
    yield* walkAcross(call, rowsOf, slab, shape, small, across);
    yield {
      shader: 'selectiveScan',
      views: { ...views, ...rowsOf, bc, small },
      params: { ...params, ...slab, across },
      constants: { ...constantsOf(call, shape), S: shape.S, STATE_IN: views.stateIn !== null },
      groups: [Math.ceil(slab.channels / shape.G)],
    };
  }
}

export function* selectiveScanBackward(call: Call<'selectiveScanBackward'>): Iterable<Pass> {
  const { views, params, gpu, scratch } = call;
  const { D, L } = params;
  if (!params.segmentCount) return;
  // Half the threads of the forward pass: each needs about twice the registers.
  const shape = shapeOf(call, { parts: 3, threads: gpu.scanThreads / 2, sharesStates: false });
  const { N, K, T, G, chunks } = shape;
  const bc = scratch(packedTokens(shape));

  // What one chunk of one workgroup contributes to dB and dC, and how many chunks of all workgroups are held at once.
  const partLength = N * 2 * T * K;
  const workgroups = Math.ceil(D / G);
  const held = Math.min(
    chunks,
    Math.max(1, Math.floor(Math.min(PART_BYTES, gpu.maxBinding / 2) / (4 * partLength * workgroups))),
  );
  const across = packedChannels(params) + views.carries!.length;
  const acrossOne = acrossLength(call, shape);
  const sizes = {
    small: aligned(across + 2 * acrossOne),
    part: aligned(held * workgroups * partLength),
    sums: aligned(D * (N + 2) * T + D * N),
  };
  // u, delta, z, dy, bc, du, ddelta, dz are 8 bindings. What shares memory shares a binding.
  const work = scratch(sizes.part + sizes.sums + (gpu.maxBuffers < 10 ? sizes.small : 0));
  const part = window(work, 0, sizes.part);
  const sums = window(work, sizes.part, sizes.sums);
  const small = gpu.maxBuffers < 10 ? window(work, sizes.part + sizes.sums, sizes.small) : scratch(sizes.small);
  const gateApart = views.dz !== null && gpu.maxBuffers < 10;
  yield* pack(call, shape, bc, window(small, 0, across), views.carries);

  for (const { rows, ...slab } of slabs(D, L, gpu)) {
    const { u, delta, z, dy, du, ddelta, dz } = views;
    const rowsOf = {
      u: rows(u),
      delta: rows(delta),
      z: rows(z),
      dy: rows(dy),
      du: rows(du),
      ddelta: rows(ddelta),
      dz: rows(dz),
    };
    const workgroups = Math.ceil(slab.channels / G);
    yield* walkAcross(call, rowsOf, slab, shape, small, across);
    yield* walkAcross(call, rowsOf, slab, shape, small, across + acrossOne, true);
    for (let chunk1 = chunks; chunk1 > 0; chunk1 -= held) {
      const range = { chunk0: Math.max(0, chunk1 - held), chunk1 };
      yield {
        shader: 'selectiveScanBackward',
        views: { ...rowsOf, dz: gateApart ? null : rowsOf.dz, bc, small, part, sums },
        params: { ...params, ...slab, ...range, across, fresh: chunk1 === chunks ? 1 : 0 },
        constants: constantsOf(call, shape),
        groups: [workgroups],
      };
      yield {
        shader: 'scanSumTokens',
        views: { ...views, part },
        params: { ...params, ...range, workgroups, accumulate: slab.channel0 ? 1 : 0 },
        constants: { N, K, T },
        groups: strided((chunk1 - range.chunk0) * N * T * K, 64),
      };
    }
    if (gateApart) yield* gate(call, rowsOf, slab, shape, bc, small, across);
  }
  yield {
    shader: 'scanSumChannels',
    views: { ...views, sums },
    params,
    constants: { N, T },
    groups: strided(D * (N + 2), 64),
  };
}

/** dz by itself: the scan without its gate into dz, then the gate. */
function* gate(
  call: Call<'selectiveScanBackward'>,
  { u, delta, z, dy, dz }: Record<'u' | 'delta' | 'z' | 'dy' | 'dz', View | null>,
  slab: { channel0: number; channels: number },
  shape: Shape,
  bc: View,
  small: View,
  across: number,
): Iterable<Pass> {
  yield {
    shader: 'selectiveScan',
    views: { u, delta, bc, small, y: dz },
    params: { ...call.params, ...slab, across },
    constants: constantsOf(call, shape),
    groups: [Math.ceil(slab.channels / shape.G)],
  };
  const n = dz!.length;
  yield { shader: 'gateBackward', views: { z, dy, dz }, params: { n }, groups: strided(n) };
}

/** Where segments lie in several chunks: what the local part hands across, from the right or (adjoint) from the left. */
function* walkAcross(
  { views, params }: ScanCall,
  rowsOf: Readonly<Record<string, View | null>>,
  slab: { channel0: number; channels: number },
  { N, T }: Shape,
  small: View,
  across: number,
  adjoint = false,
): Iterable<Pass> {
  if (params.local !== LOCAL.inPieces) return;
  const inputs = adjoint ? { dy: rowsOf.dy, z: rowsOf.z, C: views.C } : { u: rowsOf.u, B: views.B };
  yield {
    shader: 'scanAcross',
    views: { ...inputs, delta: rowsOf.delta, small, across: window(small, across, small.length - across) },
    params: { ...params, ...slab },
    constants: { N, T, ADJOINT: adjoint, SOFTPLUS: params.softplus === 1 },
    groups: [Math.ceil((slab.channels * N) / 64)],
  };
}

function acrossLength({ params }: ScanCall, { chunks, N }: Shape): number {
  return params.local === LOCAL.inPieces ? chunks * params.D * N : 0;
}

interface Wanted {
  /** Arrays of K + 1 floats a segment that the workgroup's tile holds. */
  readonly parts: number;
  /** Of a workgroup, about. */
  readonly threads: number;
  /** Whether two threads may share a segment's states, where there are enough threads: a GPU has more than D x T of them. */
  readonly sharesStates: boolean;
}

function shapeOf({ params, gpu }: ScanCall, { parts, threads, sharesStates }: Wanted): Shape {
  const { D, N, segmentCount, longestSegment } = params;
  if (longestSegment > SCAN_PIECE) throw new Error(`a scan row of ${longestSegment} tokens, ${SCAN_PIECE} at most`);
  const K = Math.max(4, nextPower(longestSegment));
  const T = segmentCount <= FEW_SEGMENTS ? FEW_SEGMENTS : scanChunk(gpu);
  const S = sharesStates && N % 2 === 0 && threads >= 4 * T ? 2 : 1;
  const bytes = (G: number) => 4 * G * (parts * T * (K + 1) + 2 * N + 8 * T * S) + 16 * T;
  let G = Math.max(1, Math.min(threads / (T * S), nextPower(D)));
  while (G > 1 && bytes(G) > gpu.workgroupBytes) G /= 2;
  if (bytes(G) > gpu.workgroupBytes) {
    throw new UserError(
      'gpu-memory',
      `A scan with ${N} states a channel does not fit this GPU's workgroup memory.`,
      'Use the device `wasm`.',
    );
  }
  return { K, T, G, S, N, chunks: Math.ceil(segmentCount / T) };
}

/** Constants of a shader that imports groupScan. */
function constantsOf({ params, gpu }: ScanCall, { K, T, G, N }: Shape) {
  const { local, softplus } = params;
  const sizes = { K, T, G, N, LOCAL: local !== LOCAL.none, PIECES: local === LOCAL.inPieces, SOFTPLUS: softplus === 1 };
  return gpu.subgroup ? { ...sizes, SUBGROUP: gpu.subgroup } : sizes;
}

/** Packs B, C and the small inputs for the scan shaders. `states` (stateIn or carries) come last. */
function* pack(call: ScanCall, { K, T, N }: Shape, bc: View, small: View, states: View | null): Iterable<Pass> {
  const { views, params } = call;
  yield {
    shader: 'scanPackTokens',
    views: { ...views, bc },
    params,
    constants: { K, T, N },
    groups: strided(bc.length / 8, 64),
  };
  yield {
    shader: 'scanPackChannels',
    views: { ...views, states, small },
    params: { ...params, statesLength: states?.length ?? 0 },
    constants: { N },
    groups: strided(small.length, 64),
  };
}

function packedTokens({ chunks, T, K, N }: Shape): number {
  return chunks * T * K * N * 2;
}

function packedChannels({ D, N, segmentCount }: { D: number; N: number; segmentCount: number }): number {
  return D * (N + 2) + segmentCount * 4;
}

function aligned(length: number): number {
  return Math.ceil(length / 64) * 64;
}

function nextPower(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}
