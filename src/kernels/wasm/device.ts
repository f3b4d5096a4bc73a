/**
 * The CPU as a device: AssemblyScript SIMD kernels on shared memory. Browser-safe; `open-node.ts` and `open-browser.ts`
 * bring the module and the worker threads. Kernels are done when `run` returns.
 */
import { UserError } from '../../errors.ts';
import { requireArguments, wrongWith } from '../arguments.ts';
import type { Device, Storage, View } from '../device.ts';
import type { KernelName } from '../kernels.ts';
import type { Build } from './fused.ts';
import { Heap } from './heap.ts';
import { type Launcher, launch, SCAN_CHUNK } from './launch.ts';
import { HEAP_START, instantiate, MOST_THREADS, Team } from './threads.ts';

const PAGE = 65536;
/** 4 GiB, the most that a 32-bit module can address. */
const MOST_PAGES = 65536;
/** Of that, what is left beside the module's own data. */
export const MOST_STORAGE_BYTES = (MOST_PAGES - 16) * PAGE;

interface WasmStorage extends Storage {
  readonly address: number;
  released: boolean;
}

/** Starts a worker that calls `serve` with its part, resolves when it is ready, and says later if it has ended. */
export type StartWorker = (
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  part: number,
  ended: (why: string) => void,
) => Promise<{ terminate(): unknown }>;

export interface WasmOptions {
  readonly module: WebAssembly.Module;
  /** Which of the two `module` is. */
  readonly build: Build;
  /** Threads in all, this one included. */
  readonly threads: number;
  readonly startWorker: StartWorker;
  readonly native?: (memory: WebAssembly.Memory) => Promise<NativeMatmul | null>;
}

/** A product of the platform on the module's memory; addresses and params as the kernel `matmul`, whose activation is left to the caller. */
export interface NativeMatmul {
  readonly name: string;
  run(views: readonly number[], params: readonly number[]): boolean;
  close(): void;
}

export async function createWasmDevice(options: WasmOptions): Promise<Device> {
  const { module, startWorker } = options;
  const memory = new WebAssembly.Memory({ initial: 64, maximum: MOST_PAGES, shared: true });
  const team = new Team(await instantiate(module, memory), memory, Math.min(options.threads, MOST_THREADS));
  const workers = await startAll(
    Array.from({ length: team.size - 1 }, (_, i) => startWorker(module, memory, i + 1, (why) => team.lose(why))),
  );
  const native = (await options.native?.(memory)) ?? null;
  return new WasmDevice(memory, options.build, team, workers, native);
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
    this.#heap = new Heap(HEAP_START, (end, bytes) => this.#reach(end, bytes));
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
    return { length, address: this.#heap.take(4 * length + 16), released: false };
  }

  release(storage: Storage): void {
    const own = storage as WasmStorage;
    if (own.released) throw new Error('storage released twice');
    own.released = true;
    this.#heap.give(own.address, 4 * own.length + 16);
  }

  write(storage: Storage, data: Float32Array | Int32Array, offset = 0): void {
    const wrong = wrongWith({ storage, offset, length: data.length });
    if (wrong) throw new Error(`what is written ${wrong}`);
    const at = (storage as WasmStorage).address / 4 + offset;
    if (data instanceof Float32Array) this.#floats.set(data, at);
    else this.#integers.set(data, at);
  }

  run(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void {
    if (this.#closed) throw new Error('the device is closed');
    this.team.requireUsable();
    requireArguments(kernel, views, params);
    try {
      launch(
        this,
        kernel,
        views.map((view) => (view ? (view.storage as WasmStorage).address + 4 * view.offset : 0)),
        params,
      );
    } finally {
      for (const { address, bytes } of this.#scratch) this.#heap.give(address, bytes);
      this.#scratch = [];
    }
  }

  async read(view: View): Promise<Float32Array> {
    const wrong = wrongWith(view);
    if (wrong) throw new Error(`what is read ${wrong}`);
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

  /** Makes the memory reach to `end`, for `bytes` more. */
  #reach(end: number, bytes: number): void {
    const have = this.memoryObject.buffer.byteLength / PAGE;
    const pages = Math.ceil(end / PAGE) - have;
    if (pages <= 0) return;
    // Growing by an eighth more than asked keeps the number of times small; where there is not so much, what is asked must do.
    const more = Math.min(Math.ceil(have / 8), MOST_PAGES - have);
    if (!this.#grow(Math.max(pages, more)) && !this.#grow(pages)) {
      const [asked, live] = [bytes, this.#heap.live].map((value) => `${(value / 2 ** 30).toFixed(1)} GiB`);
      throw new UserError(
        'out-of-memory',
        `The wasm device needs ${asked} in one piece beside the ${live} in use, and could not get it (it can address 4 GiB).`,
        'Use fewer patches or a smaller model, or --device webgpu on a machine with a GPU.',
      );
    }
    this.#floats = new Float32Array(this.memoryObject.buffer);
    this.#integers = new Int32Array(this.memoryObject.buffer);
  }

  /** Whether there was so much. */
  #grow(pages: number): boolean {
    try {
      this.memoryObject.grow(pages);
      return true;
    } catch {
      return false;
    }
  }
}
