/** A decoder thread: one task at a time, answers in order. See decode-pool.ts for the other end. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { decodeTile } from './decode.ts';
import type { Answer, Task } from './decode-pool.ts';
import { cutPatches } from './resample.ts';

const port = parentPort!;
let last: Promise<void> = Promise.resolve();

port.on('message', ({ id, task }: { id: number; task: Task }) => {
  last = last.then(() => answer(id, task));
});

async function answer(id: number, task: Task): Promise<void> {
  try {
    const data = await perform(task);
    const message: Answer = { id, data };
    port.postMessage(message, data instanceof ArrayBuffer ? [data] : []);
  } catch (error) {
    const message: Answer = { id, error: messageOf(error) };
    port.postMessage(message);
  }
}

async function perform(task: Task): Promise<ArrayBuffer | null> {
  if (task.kind === 'cut') return cutPatches(task);
  const { bytes, encoding, window, into } = task;
  const { width, height, reduce = 1 } = window;
  const target = into ?? new ArrayBuffer(Math.ceil(width / reduce) * Math.ceil(height / reduce) * 3);
  await decodeTile(bytes, encoding, window, new Uint8Array(target));
  return target instanceof ArrayBuffer ? target : null;
}
