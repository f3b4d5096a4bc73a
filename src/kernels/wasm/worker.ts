/** A worker thread of the wasm device in Node. */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiate, serve } from './threads.ts';

const { module, memory, part } = workerData as { module: WebAssembly.Module; memory: WebAssembly.Memory; part: number };
const exports = await instantiate(module, memory);
parentPort!.postMessage('ready');
serve(exports, memory, part);
