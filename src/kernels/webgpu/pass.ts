/** A pass: one dispatch of one shader. What `passes.ts` is written in. */
import type { View } from '../device.ts';
import type { KernelName, kernels } from '../kernels.ts';
import type { Constants } from './shader.ts';

export interface Pass {
  readonly shader: string;
  readonly views: Readonly<Record<string, View | null>>;
  readonly params: Readonly<Record<string, number>>;
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
