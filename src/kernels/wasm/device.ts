/**
 * The CPU as a device: AssemblyScript SIMD kernels on shared memory. Browser-safe; `open-node.ts` and `open-browser.ts`
 * bring the module and the worker threads. Kernels are done when `run` returns.
 */
import { UserError } from '../../errors.ts';
import type { Device, Storage, View } from '../device.ts';
import { type KernelName, kernels } from '../kernels.ts';
import type { Build } from './fused.ts';
import { Heap } from './heap.ts';
import { type Launcher, launch, SCAN_CHUNK } from './launch.ts';
import { HEAP_START, instantiate, Team } from './threads.ts';

/** 4 GiB, the most that a 32-bit module can address. */
const MOST_PAGES = 65536;
/** Of that, what is left beside the module's own data. */
export const MOST_STORAGE_BYTES = (MOST_PAGES - 16) * 65536;

interface WasmStorage extends Storage {
  readonly address: number;
}

export interface WasmOptions {
  readonly module: WebAssembly.Module;
  /** Which of the two `module` is. */
  readonly build: Build;
  /** Threads in all, this one included. */
  readonly threads: number;
  /** Starts a worker that calls `serve` with its part and resolves when it is ready. */
  readonly startWorker: (
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    part: number,
  ) => Promise<{ terminate(): unknown }>;
  readonly native?: (memory: WebAssembly.Memory) => Promise<NativeMatmul | null>;
}

/** A product of the platform on the module's memory; addresses and params as the kernel `matmul`, whose activation is left to the caller. */
export interface NativeMatmul {
  readonly name: string;
  run(views: readonly number[], params: readonly number[]): boolean;
  close(): void;
}

export async function createWasmDevice(options: WasmOptions): Promise<Device> {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: MOST_PAGES, shared: true });
  const exports = await instantiate(options.module, memory);
  const workers = await startAll(
    Array.from({ length: options.threads - 1 }, (_, i) => options.startWorker(options.module, memory, i + 1)),
  );
  const native = (await options.native?.(memory)) ?? null;
  return new WasmDevice(memory, options.build, new Team(exports, memory, options.threads), workers, native);
}

/** All of them or none. */
async function startAll<T extends { terminate(): unknown }>(starting: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(starting);
  const workers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (!failed) return workers;
  await Promise.all(workers.map((worker) => worker.terminate()));
  throw failed.reason;
}

class WasmDevice implements Device, Launcher {
  readonly kind = 'wasm';
  readonly maxStorageBytes = MOST_STORAGE_BYTES;
  readonly half = false;
  readonly scanPiece = Number.POSITIVE_INFINITY;
  readonly scanChunk = SCAN_CHUNK;
  readonly #heap: Heap;
  #floats: Float32Array;
  #integers: Int32Array;
  #scratch: { address: number; bytes: number }[] = [];
  readonly #freed = new WeakSet<Storage>();
  #closed = false;

  constructor(
    readonly memoryObject: WebAssembly.Memory,
    readonly build: Build,
    readonly team: Team,
    readonly workers: readonly { terminate(): unknown }[],
    readonly native: NativeMatmul | null,
  ) {
    this.#floats = new Float32Array(memoryObject.buffer);
    this.#integers = new Int32Array(memoryObject.buffer);
    this.#heap = new Heap(HEAP_START, (end) => this.#reach(end));
  }

  get name(): string {
    const threads = `${this.threads} ${this.threads === 1 ? 'thread' : 'threads'}`;
    const fused = this.build === 'fused' ? ' with fused multiply-add' : '';
    return `wasm SIMD${fused}, ${threads}${this.native ? `, products by ${this.native.name}` : ''}`;
  }

  get threads(): number {
    return this.team.size;
  }

  get nativeMatmul(): Launcher['nativeMatmul'] {
    const { native } = this;
    return native && ((views, params) => native.run(views, params));
  }

  create(length: number): WasmStorage {
    // Vectors are read whole: a little room after the last element keeps that inside the block.
    return { length, address: this.#heap.take(4 * length + 16) };
  }

  release(storage: Storage): void {
    if (this.#freed.has(storage)) throw new Error('storage released twice');
    this.#freed.add(storage);
    this.#heap.give((storage as WasmStorage).address, 4 * storage.length + 16);
  }

  write(storage: Storage, data: Float32Array | Int32Array, offset = 0): void {
    const at = (storage as WasmStorage).address / 4 + offset;
    if (offset + data.length > storage.length)
      throw new Error(`write of ${data.length} at ${offset} into ${storage.length} elements`);
    if (data instanceof Float32Array) this.#floats.set(data, at);
    else this.#integers.set(data, at);
  }

  run(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void {
    const spec = kernels[kernel];
    if (views.length !== spec.views.length || params.length !== spec.params.length) {
      throw new Error(`kernel ${kernel} takes views (${spec.views}) and params (${spec.params})`);
    }
    if (this.#closed) throw new Error('the device is closed');
    launch(
      this,
      kernel,
      views.map((view) => (view ? (view.storage as WasmStorage).address + 4 * view.offset : 0)),
      params,
    );
    for (const { address, bytes } of this.#scratch) this.#heap.give(address, bytes);
    this.#scratch = [];
  }

  async read(view: View): Promise<Float32Array> {
    const at = (view.storage as WasmStorage).address / 4 + view.offset;
    return this.#floats.slice(at, at + view.length);
  }

  memory(): { live: number; peak: number } {
    return { live: this.#heap.live, peak: this.#heap.peak };
  }

  async finish(): Promise<void> {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.team.stop();
    this.native?.close();
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  call(name: string, args: readonly number[]): number {
    return this.team.call(name, args);
  }

  share(name: string, args: readonly number[]): void {
    this.team.share(name, args);
  }

  scratch(bytes: number): number {
    const address = this.#heap.take(bytes + 16);
    this.#scratch.push({ address, bytes: bytes + 16 });
    return address;
  }

  i32(address: number, length: number): Int32Array {
    return this.#integers.subarray(address / 4, address / 4 + length);
  }

  #reach(end: number): void {
    const have = this.memoryObject.buffer.byteLength;
    if (end <= have) return;
    const pages = Math.ceil(end / 65536) - have / 65536;
    try {
      // Growing by an eighth more than asked keeps the number of times small.
      const more = Math.min(Math.max(pages, Math.ceil(have / 65536 / 8)), MOST_PAGES - have / 65536);
      this.memoryObject.grow(Math.max(pages, more));
    } catch (cause) {
      const needed = (end / 2 ** 30).toFixed(1);
      throw new UserError(
        'out-of-memory',
        `The wasm device needs ${needed} GiB at once and could not get it (it can address 4 GiB).`,
        'Use fewer patches or a smaller model, or --device webgpu on a machine with a GPU.',
        { cause },
      );
    }
    this.#floats = new Float32Array(this.memoryObject.buffer);
    this.#integers = new Int32Array(this.memoryObject.buffer);
  }
}
