/** A worker thread that answers one question after another; asking does not wait for the answer before. */
import { type MessagePort, parentPort, type TransferListItem } from 'node:worker_threads';
import { startBuilt } from '../built-worker.ts';
import { messageOf, UserError } from '../errors.ts';

type Reply =
  | { readonly value: unknown; readonly error: null }
  | { readonly value: null; readonly error: { readonly message: string; readonly user: UserFault | null } };

interface UserFault {
  readonly code: string;
  readonly problem: string;
  readonly hint: string;
}

export interface BatchWorker {
  /**
   * @throws what the worker threw; the signal's reason: the worker finishes what it has begun, only the waiting ends.
   */
  ask<T>(question: unknown, signal?: AbortSignal): Promise<T>;
  close(): Promise<void>;
}

/** @param name what people read when it ends unasked. */
export function openBatchWorker(file: URL, name: string): BatchWorker {
  const worker = startBuilt(file, {});
  const waiting: { resolve: (value: unknown) => void; reject: (error: unknown) => void }[] = [];
  let ended: Error | null = null;

  function fail(error: Error): void {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  }
  // Questions are answered in the order in which they were asked.
  worker.on('message', ({ value, error }: Reply) => {
    const { resolve, reject } = waiting.shift()!;
    if (waiting.length === 0) worker.unref();
    if (error === null) resolve(value);
    else
      reject(
        error.user ? new UserError(error.user.code, error.user.problem, error.user.hint) : new Error(error.message),
      );
  });
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`the ${name} worker ended (${code})`)));
  // A worker that nobody waits for keeps no process alive.
  worker.unref();

  return {
    async ask<T>(question: unknown, signal?: AbortSignal) {
      signal?.throwIfAborted();
      if (ended) throw ended;
      // First, for a question that cannot be sent has no answer to wait for.
      worker.postMessage(question);
      const answer = new Promise<unknown>((resolve, reject) => waiting.push({ resolve, reject }));
      worker.ref();
      return (await abortable(answer, signal)) as T;
    },
    async close() {
      await worker.terminate();
    },
  };
}

/** The other side: answers in order, also where an answer takes its time. Arrays of an answer's `transfer` are given away. */
export function answerQuestions<Q>(answer: (question: Q) => Answer | Promise<Answer>): void {
  const port: MessagePort = parentPort!;
  let last: Promise<void> = Promise.resolve();
  port.on('message', (question: Q) => {
    last = last.then(async () => {
      try {
        const { value, transfer = [] } = await answer(question);
        port.postMessage({ value, error: null } satisfies Reply, transfer);
      } catch (error) {
        const user = error instanceof UserError ? { code: error.code, problem: error.problem, hint: error.hint } : null;
        port.postMessage({ value: null, error: { message: messageOf(error), user } } satisfies Reply);
      }
    });
  });
}

export interface Answer {
  readonly value: unknown;
  readonly transfer?: TransferListItem[];
}

async function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return await work;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => {});
  }
}
