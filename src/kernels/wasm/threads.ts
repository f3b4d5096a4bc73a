/**
 * Worker threads on one shared memory: every thread has its own instance of the module, and a job is a function's number
 * with its arguments, laid out in the memory below the heap. The calling thread does its share and waits for the others.
 *
 * A thread may end at any time, and the calling thread, which waits without looking at events, is not told. So a part is
 * claimed before it is begun: what nobody has claimed for a while, the calling thread does itself. Being late is therefore
 * no fault of a thread's: it finds its part claimed and waits for the next.
 */
import { messageOf, UserError } from '../../errors.ts';

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
const MESSAGE_LENGTH = 7;
/** Arguments are f64, from this byte of the control block on. */
const ARGUMENT_BYTES = 64;
const MOST_ARGUMENTS = 64;
/** What went wrong in a worker, as UTF-8. */
const MESSAGE_BYTES = ARGUMENT_BYTES + 8 * MOST_ARGUMENTS;
const LONGEST_MESSAGE = 512;
/** For each part the last job in which somebody claimed it, as i32. */
const CLAIM_BYTES = MESSAGE_BYTES + LONGEST_MESSAGE;
export const MOST_THREADS = (HEAP_START - CONTROL - CLAIM_BYTES) / 4;

/** How often a thread looks for work before it goes to sleep: some 50 microseconds, the pause between two kernels. */
const PATIENCE = 20_000;
/** After so many milliseconds of sleep the calling thread looks for parts that nobody has begun. */
const TURN = 1000;
/**
 * Turns without an end of any part after which a thread that began one is taken to have ended in it. Turns and not hours,
 * because a process that was stopped meanwhile has not waited; half an hour of them, because machines may be busy.
 */
const MOST_TURNS = 1800;

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

/** The control block, each part of it under its own type. */
function controlOf(memory: WebAssembly.Memory) {
  const { buffer } = memory;
  return {
    control: new Int32Array(buffer, CONTROL, ARGUMENT_BYTES / 4),
    args: new Float64Array(buffer, CONTROL + ARGUMENT_BYTES, MOST_ARGUMENTS),
    message: new Uint8Array(buffer, CONTROL + MESSAGE_BYTES, LONGEST_MESSAGE),
    claims: new Int32Array(buffer, CONTROL + CLAIM_BYTES, MOST_THREADS),
  };
}

type Control = ReturnType<typeof controlOf>;

/** Whether the part of a job is the caller's to do now. Every part is claimed once a job, so that its claims count the jobs. */
function claim({ claims }: Control, part: number, job: number): boolean {
  const before = (job - 1) | 0;
  return Atomics.compareExchange(claims, part, before, job) === before;
}

/** The body of a worker: runs jobs until told to stop. Blocks. */
export function serve(exports: Exports, memory: WebAssembly.Memory, part: number): void {
  const shared = controlOf(memory);
  const { control, args } = shared;
  const functions = functionNames(exports).map((name) => exports[name]!);
  let job = 0;
  for (;;) {
    for (let i = 0; i < PATIENCE && Atomics.load(control, JOB) === job; i++);
    while (Atomics.load(control, JOB) === job) Atomics.wait(control, JOB, job);
    job = Atomics.load(control, JOB);
    if (Atomics.load(control, STOP)) return;
    if (!claim(shared, part, job)) continue;
    try {
      const given = Array.from(args.subarray(0, control[ARGUMENTS]));
      functions[control[FUNCTION]!]!(...given, part, control[PARTS]!);
    } catch (error) {
      leaveMessage(shared, messageOf(error));
    }
    Atomics.add(control, DONE, 1);
    Atomics.notify(control, DONE);
  }
}

/** The first of several stays. */
function leaveMessage({ control, message }: Control, text: string): void {
  if (Atomics.exchange(control, FAILED, 1)) return;
  const bytes = new TextEncoder().encode(text).subarray(0, LONGEST_MESSAGE);
  message.set(bytes);
  control[MESSAGE_LENGTH] = bytes.length;
}

/** The calling side. */
export class Team {
  readonly #shared: Control;
  readonly #numbers: ReadonlyMap<string, number>;
  /** Why nothing is computed any more. */
  #fault: Error | null = null;
  #stopped = false;

  constructor(
    readonly exports: Exports,
    memory: WebAssembly.Memory,
    /** Threads, this one included; at most MOST_THREADS. */
    readonly size: number,
    readonly mostTurns = MOST_TURNS,
  ) {
    this.#shared = controlOf(memory);
    this.#numbers = new Map(functionNames(exports).map((name, i) => [name, i]));
  }

  /** A worker is no more. */
  lose(why: string): void {
    if (!this.#stopped) this.#fault ??= threadEnded(why);
  }

  /** @throws what made the team useless: UserError `thread-ended`, or the trap of a kernel, after which memory may hold anything. */
  requireUsable(): void {
    if (this.#fault) throw this.#fault;
  }

  /** Runs one exported function on this thread. */
  call(name: string, args: readonly number[]): number {
    try {
      return this.exports[name]!(...args);
    } catch (error) {
      throw this.#trapped(name, error);
    }
  }

  /** Runs name(...args, part, parts) on all threads, each with its part. Leaves when no thread is at work any more. */
  share(name: string, args: readonly number[]): void {
    if (this.size === 1) {
      this.call(name, [...args, 0, 1]);
      return;
    }
    const { control, args: places } = this.#shared;
    places.set(args);
    control[FUNCTION] = this.#numbers.get(name)!;
    control[ARGUMENTS] = args.length;
    control[PARTS] = this.size;
    control[FAILED] = 0;
    Atomics.store(control, DONE, 0);
    const job = (Atomics.add(control, JOB, 1) + 1) | 0;
    Atomics.notify(control, JOB);
    try {
      this.call(name, [...args, 0, this.size]);
    } finally {
      this.#join(name, args, job);
    }
  }

  /** Waits for the other parts of a job. */
  #join(name: string, args: readonly number[], job: number): void {
    const { control } = this.#shared;
    const others = this.size - 1;
    for (let i = 0; i < PATIENCE && Atomics.load(control, DONE) < others; i++);
    let turns = 0;
    for (let done = Atomics.load(control, DONE); done < others; done = Atomics.load(control, DONE)) {
      const slept = Atomics.wait(control, DONE, done, TURN) === 'timed-out';
      turns = slept && !this.#takeOver(name, args, job) ? turns + 1 : 0;
      if (turns < this.mostTurns) continue;
      this.#fault = threadEnded(`it began its part of ${name} and has not ended it`);
      throw this.#fault;
    }
    if (control[FAILED]) throw this.#trapped(name, this.#readMessage());
  }

  /** Does the parts that nobody has begun; whether there were any. */
  #takeOver(name: string, args: readonly number[], job: number): boolean {
    let took = false;
    for (let part = 1; part < this.size; part++) {
      if (!claim(this.#shared, part, job)) continue;
      took = true;
      try {
        this.exports[name]!(...args, part, this.size);
      } catch (error) {
        leaveMessage(this.#shared, messageOf(error));
      }
      Atomics.add(this.#shared.control, DONE, 1);
    }
    return took;
  }

  #trapped(name: string, cause: unknown): Error {
    this.#fault ??= new Error(`the wasm kernel ${name} failed: ${messageOf(cause)}`, { cause });
    return this.#fault;
  }

  #readMessage(): string {
    const { control, message } = this.#shared;
    // A decoder takes no shared memory in browsers.
    return new TextDecoder().decode(message.slice(0, control[MESSAGE_LENGTH]));
  }

  stop(): void {
    const { control } = this.#shared;
    this.#stopped = true;
    Atomics.store(control, STOP, 1);
    Atomics.add(control, JOB, 1);
    Atomics.notify(control, JOB);
  }
}

function threadEnded(why: string): UserError {
  return new UserError(
    'thread-ended',
    `A thread of the wasm device has ended: ${why}.`,
    'Start it again; if it happens again, use fewer threads (--threads) or free some memory.',
  );
}
