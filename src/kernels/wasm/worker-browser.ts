/** A worker thread of the wasm device in a browser: a module worker that is told once what to work on. */
import { messageOf } from '../../errors.ts';
import { instantiate, serve } from './threads.ts';

export interface Task {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly part: number;
}

/** What it answers, once. */
export type Answer = { readonly ready: true } | { readonly error: string };

addEventListener('message', async ({ data }: MessageEvent<Task>) => {
  const { module, memory, part } = data;
  const answer = (message: Answer) => postMessage(message);
  try {
    const exports = await instantiate(module, memory);
    answer({ ready: true });
    serve(exports, memory, part);
  } catch (error) {
    answer({ error: messageOf(error) });
  }
});
