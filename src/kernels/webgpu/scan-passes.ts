/** How the selective scan is dispatched: sizes of chunks and workgroups, slabs of channels. */
import { UserError } from '../../errors.ts';
import type { View } from '../device.ts';
import { type Call, type Capabilities, type Pass, slabs, strided } from './pass.ts';

/** Threads of a workgroup, about: enough to hide waiting, few enough for all the registers a segment needs. */
const THREADS = 128;
const LONGEST_SEGMENT = 64;

/** Segments of a chunk: as many as the tile of the longest segments leaves room for. */
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
  readonly N: number;
  readonly chunks: number;
}

type ScanCall = Call<'selectiveScan'> | Call<'selectiveScanBackward'>;

/** @param parts arrays of K + 1 floats a segment that the workgroup's tile holds. */
function shapeOf({ params, gpu }: ScanCall, parts: number): Shape {
  const { D, N, segmentCount, longestSegment } = params;
  if (longestSegment > LONGEST_SEGMENT) {
    throw new UserError(
      'segment-too-long',
      `The scan's segments have ${longestSegment} tokens; the GPU kernels hold at most ${LONGEST_SEGMENT}.`,
      `Use a model with K <= ${LONGEST_SEGMENT}, or the device \`wasm\`.`,
    );
  }
  const K = Math.max(4, nextPower(longestSegment));
  const T = Math.min(scanChunk(gpu), nextPower(segmentCount));
  const bytes = (G: number) => 4 * G * (parts * T * (K + 1) + 2 * N + 6 * T) + 16 * T;
  let G = Math.min(THREADS / T, nextPower(D));
  while (G > 1 && bytes(G) > gpu.workgroupBytes) G /= 2;
  if (bytes(G) > gpu.workgroupBytes) {
    throw new UserError(
      'gpu-memory',
      `A scan with segments of ${longestSegment} tokens and ${N} states does not fit this GPU's workgroup memory.`,
      'Use the device `wasm`.',
    );
  }
  return { K, T, G, N, chunks: Math.ceil(segmentCount / T) };
}

/** Constants of a shader that imports groupScan. */
function constantsOf({ params, gpu }: ScanCall, { K, T, G, N }: Shape) {
  return {
    K,
    T,
    G,
    N,
    LOCAL: params.local === 1,
    SOFTPLUS: params.softplus === 1,
    ...(gpu.subgroup && { SUBGROUP: gpu.subgroup }),
  };
}

/** Packs B, C and the small inputs for the scan shaders. */
function* pack(
  { views, params }: ScanCall,
  { K, T, N }: Shape,
  bc: View,
  small: View,
  states: View | null,
): Iterable<Pass> {
  yield {
    shader: 'scanPackTokens',
    views: { ...views, bc },
    params,
    constants: { K, T, N },
    groups: strided(bc.length / 8, 64),
  };
  yield {
    shader: 'scanPackChannels',
    views: { ...views, stateIn: states, small },
    params: { ...params, states: states?.length ?? 0 },
    constants: { N },
    groups: strided(small.length, 64),
  };
}

export function* selectiveScan(call: Call<'selectiveScan'>): Iterable<Pass> {
  const { views, params, gpu, scratch } = call;
  if (!params.segmentCount) return;
  const shape = shapeOf(call, 2);
  const bc = scratch(shape.chunks * shape.T * shape.K * shape.N * 2);
  const small = scratch(smallLength(params) + (views.stateIn?.length ?? 0));
  yield* pack(call, shape, bc, small, views.stateIn);
  for (const { rows, ...slab } of slabs(params.D, params.L, gpu)) {
    yield {
      shader: 'selectiveScan',
      views: {
        ...views,
        u: rows(views.u),
        delta: rows(views.delta),
        z: rows(views.z),
        y: rows(views.y),
        bc,
        small,
      },
      params: { ...params, ...slab },
      constants: { ...constantsOf(call, shape), STATE_IN: views.stateIn !== null },
      groups: [Math.ceil(slab.channels / shape.G)],
    };
  }
}

export function* selectiveScanBackward(_call: Call<'selectiveScanBackward'>): Iterable<Pass> {}

function smallLength({ D, N, segmentCount }: { D: number; N: number; segmentCount: number }): number {
  return D * (N + 2) + segmentCount * 4;
}

function nextPower(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}
