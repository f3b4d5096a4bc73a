/** A decoder thread: one task at a time, in order; the answers to an order go back together. See decode-pool.ts for the other end. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { decodeTile } from './decode.ts';
import type { Answer, Order, Task } from './decode-pool.ts';
import { cutPatches } from './resample.ts';
import { tissueOf } from './tissue.ts';

const port = parentPort!;
const { at } = workerData as { at: Int32Array };
let last: Promise<void> = Promise.resolve();

port.on('message', (order: Order) => {
  last = last.then(() => fill(order));
});

async function fill(order: Order): Promise<void> {
  const answers: Answer[] = [];
  const buffers: ArrayBuffer[] = [];
  for (const { id, task } of order) {
    Atomics.store(at, 0, id);
    try {
      const data = await perform(task);
      if (data) buffers.push(data);
      answers.push({ id, data });
    } catch (error) {
      answers.push({ id, error: messageOf(error) });
    }
  }
  port.postMessage(answers, buffers);
}

async function perform(task: Task): Promise<ArrayBuffer | null> {
  if (task.kind === 'cut') {
    cutPatches(task);
    return null;
  }
  if (task.kind === 'tissue') {
    const { overview, mpp, options } = task;
    return tissueOf(overview, mpp, options).data.buffer as ArrayBuffer;
  }
  const { bytes, encoding, window, into } = task;
  const { width, height, reduce = 1 } = window;
  const target = into ?? new ArrayBuffer(Math.ceil(width / reduce) * Math.ceil(height / reduce) * 3);
  await decodeTile(bytes, encoding, window, new Uint8Array(target));
  return target instanceof ArrayBuffer ? target : null;
}
