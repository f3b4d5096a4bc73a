/** A worker thread of the wasm device in a browser: a module worker that is told once what to work on. */
import { instantiate, serve } from './threads.ts';

export interface Task {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly part: number;
}

addEventListener('message', async ({ data }: MessageEvent<Task>) => {
  const { module, memory, part } = data;
  const exports = await instantiate(module, memory);
  postMessage('ready');
  serve(exports, memory, part);
});
