/** A decoder thread: one task at a time, answers in order. See decode-pool.ts for the other end. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { decodeTile } from './decode.ts';
import type { Answer, Task } from './decode-pool.ts';
import { resamplePatch } from './resample.ts';

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
  if (task.kind === 'resample') {
    resamplePatch(task);
    return null;
  }
  const target = task.into ?? new ArrayBuffer(task.width * task.height * 3);
  const { bytes, encoding, width, height, left, top } = task;
  await decodeTile(bytes, encoding, width, height, new Uint8Array(target), left, top);
  return target instanceof ArrayBuffer ? target : null;
}
