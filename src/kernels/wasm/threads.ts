/**
 * Worker threads on one shared memory: every thread has its own instance of the module, and a job is a function's number
 * with its arguments, laid out in the memory below the heap. The calling thread does its share and waits for the others.
 */

/** Bytes below the heap; the module's static data lies lower still. */
export const CONTROL = 61440;
export const HEAP_START = 65536;

/** Places in the control block, as i32. */
const JOB = 0;
const DONE = 1;
const FUNCTION = 2;
const ARGUMENTS = 3;
const STOP = 4;
const FAILED = 5;
const PARTS = 6;
/** Arguments are f64, from this byte of the control block on. */
const ARGUMENT_BYTES = 64;
const MOST_ARGUMENTS = 64;

/** How often a thread looks for work before it goes to sleep: some 50 microseconds, the pause between two kernels. */
const PATIENCE = 20_000;

export type Exports = Record<string, (...args: number[]) => number>;

export async function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Exports> {
  const abort = () => {
    throw new Error('abort in the wasm module');
  };
  const instance = await WebAssembly.instantiate(module, { env: { memory, abort } });
  return instance.exports as unknown as Exports;
}

export function functionNames(exports: Exports): string[] {
  return Object.keys(exports)
    .filter((name) => typeof exports[name] === 'function')
    .sort();
}

/** The body of a worker: runs jobs until told to stop. Blocks. */
export function serve(exports: Exports, memory: WebAssembly.Memory, part: number): void {
  const control = new Int32Array(memory.buffer, CONTROL, 16);
  const args = new Float64Array(memory.buffer, CONTROL + ARGUMENT_BYTES, MOST_ARGUMENTS);
  const functions = functionNames(exports).map((name) => exports[name]!);
  let job = 0;
  for (;;) {
    for (let i = 0; i < PATIENCE && Atomics.load(control, JOB) === job; i++);
    while (Atomics.load(control, JOB) === job) Atomics.wait(control, JOB, job);
    job = Atomics.load(control, JOB);
    if (Atomics.load(control, STOP)) return;
    try {
      const given = Array.from(args.subarray(0, control[ARGUMENTS]));
      functions[control[FUNCTION]!]!(...given, part, control[PARTS]!);
    } catch {
      Atomics.store(control, FAILED, 1);
    }
    Atomics.add(control, DONE, 1);
    Atomics.notify(control, DONE);
  }
}

/** The calling side. */
export class Team {
  readonly #control: Int32Array;
  readonly #args: Float64Array;
  readonly #numbers: ReadonlyMap<string, number>;

  constructor(
    readonly exports: Exports,
    memory: WebAssembly.Memory,
    /** Threads, this one included. */
    readonly size: number,
  ) {
    this.#control = new Int32Array(memory.buffer, CONTROL, 16);
    this.#args = new Float64Array(memory.buffer, CONTROL + ARGUMENT_BYTES, MOST_ARGUMENTS);
    this.#numbers = new Map(functionNames(exports).map((name, i) => [name, i]));
  }

  /** Runs one exported function on this thread. */
  call(name: string, args: readonly number[]): number {
    return this.exports[name]!(...args);
  }

  /** Runs name(...args, part, parts) on all threads, each with its part. */
  share(name: string, args: readonly number[]): void {
    if (this.size === 1) {
      this.exports[name]!(...args, 0, 1);
      return;
    }
    const control = this.#control;
    this.#args.set(args);
    control[FUNCTION] = this.#numbers.get(name)!;
    control[ARGUMENTS] = args.length;
    control[PARTS] = this.size;
    Atomics.store(control, DONE, 0);
    Atomics.add(control, JOB, 1);
    Atomics.notify(control, JOB);
    this.exports[name]!(...args, 0, this.size);
    const others = this.size - 1;
    for (let i = 0; i < PATIENCE && Atomics.load(control, DONE) < others; i++);
    for (let done = Atomics.load(control, DONE); done < others; done = Atomics.load(control, DONE)) {
      Atomics.wait(control, DONE, done);
    }
    if (control[FAILED]) throw new Error(`a worker thread failed in ${name}`);
  }

  stop(): void {
    Atomics.store(this.#control, STOP, 1);
    Atomics.add(this.#control, JOB, 1);
    Atomics.notify(this.#control, JOB);
  }
}
