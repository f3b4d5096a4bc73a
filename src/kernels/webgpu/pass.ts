/** A pass: one dispatch of one shader. What `passes.ts` is written in. */
import type { View } from '../device.ts';
import type { KernelName, kernels } from '../kernels.ts';
import type { Constants } from './shader.ts';

export interface Pass {
  readonly shader: string;
  readonly views: Readonly<Record<string, View | null | undefined>>;
  readonly params: Readonly<Record<string, number | undefined>>;
  readonly constants?: Constants;
  /** Workgroups; a zero anywhere means nothing to do. */
  readonly groups: readonly [number, number?, number?];
}

/** What the device can do, as far as dispatching depends on it. */
export interface Capabilities {
  /** Lanes of the smallest subgroup, 0 without the feature. */
  readonly subgroup: number;
  /** Bytes of the largest binding. */
  readonly maxBinding: number;
  /** Storage buffers that one shader can bind. */
  readonly maxBuffers: number;
  /** Bytes of workgroup memory. */
  readonly workgroupBytes: number;
  /** Threads of a scan's workgroup, about. */
  readonly scanThreads: number;
}

type Word<S> = S extends `>${infer R}` | `+${infer R}`
  ? Word<R>
  : S extends `${infer R}:${string}` | `${infer R}?`
    ? R
    : S;
export type Views<K extends KernelName> = Record<Word<(typeof kernels)[K]['views'][number]>, View | null>;
type Params<K extends KernelName> = Record<Word<(typeof kernels)[K]['params'][number]>, number>;

/** One call of a kernel, its arguments by name. */
export interface Call<K extends KernelName> {
  readonly views: Views<K>;
  readonly params: Params<K>;
  readonly gpu: Capabilities;
  /** Memory until the end of the call. */
  readonly scratch: (length: number) => View;
}

export type Plan<K extends KernelName> = (call: Call<K>) => Iterable<Pass>;

/** Workgroups of a shader whose threads stride over n elements. */
export function strided(n: number, size = 256): [number] {
  return [Math.min(Math.ceil(n / size), 4096)];
}

/** `count` workgroups in rows, as a dimension is bounded; shaders count `x + y * rows` and leave what is too much. */
export function flat(count: number): [number, number] {
  const across = Math.min(count, 32768);
  return [across, across && Math.ceil(count / across)];
}

/** Workgroups of a shader with a thread for each of `count` columns. */
export function columns(count: number): number {
  return Math.ceil(count / 64);
}

/** How many workgroups share a sum over n rows. */
export function partsOf(n: number): number {
  return Math.max(1, Math.min(64, Math.ceil(n / 128)));
}

/** out (+)= sum of parts (parts, out.length). */
export function addParts(part: View, parts: number, out: View | null, accumulate: 0 | 1): Pass {
  const n = out?.length ?? 0;
  return {
    shader: 'sumParts',
    views: { part, C: out },
    params: { m: 1, n, parts, accumulate, C_stride: n },
    constants: { ACTIVATION: -1 },
    groups: strided(n, 64),
  };
}

/** Elements of a view. */
export function window(view: View, from: number, length: number): View {
  return { ...view, offset: view.offset + from, length };
}

/** How many rows of so many elements fit one binding, wherever they begin. */
export function rowsInBinding(width: number, { maxBinding }: Capabilities): number {
  return Math.max(1, Math.floor((maxBinding - 256) / (4 * width)));
}

/**
 * Rows by pieces that fit one binding each; one piece, usually, and without rows one of none.
 * @param widths elements that a row has in each view; views that are not named are left whole.
 */
export function* bands(count: number, widths: Readonly<Record<string, number>>, gpu: Capabilities) {
  const most = rowsInBinding(Math.max(...Object.values(widths)), gpu);
  let row0 = 0;
  do {
    const [first, rows] = [row0, Math.min(most, count - row0)];
    const of = (views: Pass['views']): Pass['views'] => {
      if (rows === count) return views;
      const cut = { ...views };
      for (const name in widths) {
        const view = views[name];
        if (view) cut[name] = window(view, first * widths[name]!, rows * widths[name]!);
      }
      return cut;
    };
    yield { row0, rows, of };
    row0 += most;
  } while (row0 < count);
}

/** Channels by pieces whose rows of L tokens fit one binding each. */
export function* slabs(D: number, L: number, gpu: Capabilities) {
  const most = rowsInBinding(L, gpu);
  for (let channel0 = 0; channel0 < D && L > 0; channel0 += most) {
    const channels = Math.min(most, D - channel0);
    const rows = (view: View | null): View | null => view && window(view, channel0 * L, channels * L);
    yield { channel0, channels, rows };
  }
}
