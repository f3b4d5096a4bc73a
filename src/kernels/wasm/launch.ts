/**
 * How each kernel runs on wasm: on one thread or shared out, with which scratch. Kernels that are not listed are called
 * with their views and params as they are.
 */
import type { KernelName } from '../kernels.ts';

export interface Launcher {
  readonly threads: number;
  /** Runs an exported function on this thread. */
  call(name: string, args: readonly number[]): number;
  /** Runs it on all threads with (part, parts) added. */
  share(name: string, args: readonly number[]): void;
  /** Bytes that live until the kernel returns. */
  scratch(bytes: number): number;
  i32(address: number, length: number): Int32Array;
  /** A faster product of the platform, if there is one. True if it did the work. */
  nativeMatmul: ((views: readonly number[], params: readonly number[]) => boolean) | null;
}

type Launch = (l: Launcher, views: readonly number[], params: readonly number[]) => void;

/** Segments of a chunk whose starting state the scan keeps: 128 tokens at K = 16, whose working set fits the first cache. */
export const SCAN_CHUNK = 8;

/** Below this many elementary operations a kernel stays on one thread: waking the others takes as long. */
const WORTH_SHARING = 60_000;

/** Shared kernels of the form name(views, params, part, parts), with the number of elementary operations. */
const shared: Partial<Record<KernelName, (params: readonly number[]) => number>> = {
  fill: ([n]) => n! / 4,
  add: ([n]) => n!,
  multiply: ([n]) => n!,
  transpose: ([r, c]) => 4 * r! * c!,
  sumRows: ([r, c]) => r! * c!,
  activation: ([n]) => 8 * n!,
  activationBackward: ([n]) => 12 * n!,
  dropout: ([n]) => 8 * n!,
  layerNorm: ([r, d]) => 3 * r! * d!,
  rmsNorm: ([r, d]) => 3 * r! * d!,
  poolRows: ([L, c]) => 2 * L! * c!,
  softmaxRows: ([r, c]) => 8 * r! * c!,
  softmaxRowsBackward: ([r, c]) => 4 * r! * c!,
  gatherRows: ([n, c]) => n! * c!,
  gatherColumns: ([r, , n]) => 2 * r! * n!,
  conv2d: ([C, H, W, kh, kw]) => 2 * C! * H! * W! * kh! * kw!,
  conv2dBackward: ([C, H, W, kh, kw]) => 6 * C! * H! * W! * kh! * kw!,
  adam: ([n]) => 6 * n!,
  sgd: ([n]) => 4 * n!,
};

const special: Partial<Record<KernelName, Launch>> = {
  matmul(l, views, params) {
    const [m, n, k, transA, transB] = params as [number, number, number, number, number];
    const work = m * n * k;
    const activation = params[6]!;
    if (work >= NATIVE_FROM && l.nativeMatmul?.(views, [...params.slice(0, 6), -1])) {
      if (activation >= 0) run(l, 'activation', [views[3]!, views[3]!, m * n, activation], 8 * m * n);
      return;
    }
    if (work < BLOCKED_FROM) {
      const floats = l.call('matmulSmallScratch', [m, n, k, transA, transB]);
      l.call('matmulSmall', [...views, ...params, floats ? l.scratch(4 * floats) : 0]);
      return;
    }
    const bytes = l.call('matmulScratch', []);
    run(l, 'matmul', [...views, ...params, l.scratch(bytes * l.threads), bytes], work);
  },
  conv1d(l, views, params) {
    const [D, L, W, bags] = params as [number, number, number, number];
    const floats = l.call('conv1dScratch', [longestBag(l, views[3]!, bags), W]);
    run(l, 'conv1d', [...views, ...params, l.scratch(4 * floats * l.threads), floats], 4 * D * L * W);
  },
  conv1dBackward(l, views, params) {
    const [D, L, W, bags] = params as [number, number, number, number];
    const floats = l.call('conv1dScratch', [longestBag(l, views[3]!, bags), W]);
    run(l, 'conv1dBackward', [...views, ...params, l.scratch(4 * floats * l.threads), floats], 8 * D * L * W);
  },
  selectiveScan(l, views, params) {
    const [D, L, N, , longest] = params as [number, number, number, number, number];
    const bytes = l.call('selectiveScanScratch', [D, L, N, SCAN_CHUNK, longest]);
    run(l, 'selectiveScan', [...views, ...params, SCAN_CHUNK, l.scratch(bytes * l.threads), bytes], 8 * D * L * N);
  },
  selectiveScanBackward(l, views, params) {
    const [D, L, N, , longest] = params as [number, number, number, number, number];
    const bytes = l.call('selectiveScanBackwardScratch', [D, L, N, SCAN_CHUNK, longest]);
    const parts = 16 * D * L * N < WORTH_SHARING ? 1 : l.threads;
    const partial = 2 * N * L;
    const others = parts > 1 ? l.scratch(4 * partial * (parts - 1)) : 0;
    const args = [...views, ...params, SCAN_CHUNK, others, l.scratch(bytes * parts), bytes];
    run(l, 'selectiveScanBackward', args, 16 * D * L * N);
    if (parts === 1) return;
    const [dB, dC] = [views[14]!, views[15]!];
    run(l, 'addParts', [dB, others, N * L, partial, parts - 1], N * L * parts);
    run(l, 'addParts', [dC, others + 4 * N * L, N * L, partial, parts - 1], N * L * parts);
  },
  layerNormBackward(l, views, params) {
    const [x, weight, dy, stats, dx, dweight, dbias] = views as number[];
    const [r, d] = params as [number, number];
    const parts = 6 * r * d < WORTH_SHARING ? 1 : l.threads;
    const sums = l.scratch(8 * d * parts);
    run(l, 'layerNormBackward', [x!, weight!, dy!, stats!, dx!, ...params, sums], 6 * r * d);
    l.call('addParts', [dweight!, sums, d, 2 * d, parts, 0, 1]);
    l.call('addParts', [dbias!, sums + 4 * d, d, 2 * d, parts, 0, 1]);
  },
  rmsNormBackward(l, views, params) {
    const [x, weight, dy, dres, rstd, dx, dweight] = views as number[];
    const [r, d] = params as [number, number];
    const parts = 6 * r * d < WORTH_SHARING ? 1 : l.threads;
    const sums = l.scratch(4 * d * parts);
    run(l, 'rmsNormBackward', [x!, weight!, dy!, dres!, rstd!, dx!, ...params, sums], 6 * r * d);
    l.call('addParts', [dweight!, sums, d, d, parts, 0, 1]);
  },
  attentionPool(l, views, params) {
    const [L, d] = params as [number, number];
    l.call('attentionPool', [...views, ...params, 0, 0, 1]);
    run(l, 'attentionPool', [...views, ...params, 1], 2 * L * d);
  },
  attentionPoolBackward(l, views, params) {
    const [L, d] = params as [number, number];
    const centred = l.scratch(4 * L);
    run(l, 'attentionPoolBackward', [...views, ...params, centred, 0], 4 * L * d);
    run(l, 'attentionPoolBackward', [...views, ...params, centred, 1], 4 * L);
  },
};

/** Products below this many multiplications are not packed into blocks. */
const BLOCKED_FROM = 1 << 18;
/** Products from here on go to the platform's own, if it has one. */
const NATIVE_FROM = 1 << 18;

export function launch(l: Launcher, kernel: KernelName, views: readonly number[], params: readonly number[]): void {
  const own = special[kernel];
  if (own) own(l, views, params);
  else {
    const work = shared[kernel];
    if (work) run(l, kernel, [...views, ...params], work(params));
    else l.call(kernel, [...views, ...params]);
  }
}

function run(l: Launcher, name: string, args: readonly number[], work: number): void {
  if (l.threads > 1 && work >= WORTH_SHARING) l.share(name, args);
  else l.call(name, [...args, 0, 1]);
}

function longestBag(l: Launcher, offsets: number, bags: number): number {
  const o = l.i32(offsets, bags + 1);
  let longest = 0;
  for (let i = 0; i < bags; i++) longest = Math.max(longest, o[i + 1]! - o[i]!);
  return longest;
}
