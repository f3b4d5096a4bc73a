/** Opens the wasm device in Node. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { built } from '../../built.ts';
import { startBuilt } from '../../built-worker.ts';
import { messageOf } from '../../errors.ts';
import type { Device } from '../device.ts';
import { createWasmDevice, type StartWorker } from './device.ts';
import { canFuse, moduleFile } from './fused.ts';
import { openNativeMatmul } from './native-matmul.ts';

export interface OpenWasmOptions {
  /** Threads in all; the machine's cores by default. */
  readonly threads?: number;
  /** Large products by onnxruntime's native library (true), or all by our own kernels. */
  readonly native?: boolean;
  /** Our kernels with fused multiply-add where this Node has it (true), or without. */
  readonly fused?: boolean;
}

export async function openWasm(options: OpenWasmOptions = {}): Promise<Device> {
  const threads = options.threads ?? availableParallelism();
  const build = options.fused !== false && allowFused() ? 'fused' : 'plain';
  const module = await WebAssembly.compile(await readFile(built(`./${moduleFile[build]}`, import.meta.url)));
  return createWasmDevice({
    module,
    build,
    threads,
    startWorker,
    ...(options.native === false ? {} : { native: (memory) => openNativeMatmul(memory, threads) }),
  });
}

/**
 * Whether this Node has fused multiply-add. Node 22 has; in Node 20 (V8 11.3, one Chrome version short of it) it is finished but
 * behind a flag, which V8 reads whenever a module is compiled. Set here and left: taking it back would race with other threads' devices.
 */
export function allowFused(): boolean {
  if (process.versions.v8.startsWith('11.3.')) setFlagsFromString('--experimental-wasm-relaxed-simd');
  return canFuse();
}

const startWorker: StartWorker = (module, memory, part, ended) =>
  new Promise((resolve, reject) => {
    const worker = startBuilt(built('./worker.js', import.meta.url), { module, memory, part });
    worker.unref();
    worker.once('message', () => resolve(worker));
    // Both are for one of two: whoever waits for the worker to be ready, or the device that it was ready for.
    const end = (why: string) => {
      reject(new Error(`a thread of the wasm device did not start: ${why}`));
      ended(why);
    };
    worker.on('error', (error) => end(messageOf(error)));
    worker.on('exit', (code) => end(`exit code ${code}`));
  });
