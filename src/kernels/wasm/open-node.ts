/** Opens the wasm device in Node. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { built } from '../../built.ts';
import { startBuilt } from '../../built-worker.ts';
import type { Device } from '../device.ts';
import { createWasmDevice } from './device.ts';
import { openNativeMatmul } from './native-matmul.ts';

export interface OpenWasmOptions {
  /** Threads in all; the machine's cores by default. */
  readonly threads?: number;
  /** Large products by onnxruntime's native library (true), or all by our own kernels. */
  readonly native?: boolean;
}

export async function openWasm(options: OpenWasmOptions = {}): Promise<Device> {
  const threads = options.threads ?? availableParallelism();
  const module = await WebAssembly.compile(await readFile(built('./lamina.wasm', import.meta.url)));
  return createWasmDevice({
    module,
    threads,
    startWorker,
    ...(options.native === false ? {} : { native: (memory) => openNativeMatmul(memory, threads) }),
  });
}

function startWorker(module: WebAssembly.Module, memory: WebAssembly.Memory, part: number): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = startBuilt(built('./worker.js', import.meta.url), { module, memory, part });
    worker.unref();
    worker.once('message', () => resolve(worker));
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a thread of the wasm device ended with code ${code}`)));
  });
}
