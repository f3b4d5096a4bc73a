/** Opens the wasm device in a browser. Its kernels block, so it lives in a worker of the page's, never in the page itself. */
import { UserError } from '../../errors.ts';
import type { Device } from '../device.ts';
import { createWasmDevice, type StartWorker } from './device.ts';
import { canFuse, moduleFile } from './fused.ts';
import type { Answer, Task } from './worker-browser.ts';

export interface OpenWasmOptions {
  /** Absolute address of the folder, with its slash, where `lamina.wasm` and `lamina-fused.wasm` are served; one of them is fetched. */
  readonly url: string | URL;
  /** Threads in all; the machine's cores by default. */
  readonly threads?: number;
  /** The kernels with fused multiply-add where this browser has it (true), or without. */
  readonly fused?: boolean;
}

/**
 * @throws UserError `not-isolated` where the browser gives no shared memory, `not-in-a-worker` in a page,
 *   `no-wasm-module` when the module cannot be fetched.
 */
export async function openWasm({
  url,
  threads = navigator.hardwareConcurrency,
  fused = true,
}: OpenWasmOptions): Promise<Device> {
  if (!globalThis.crossOriginIsolated) {
    throw new UserError(
      'not-isolated',
      'The wasm device needs shared memory, which browsers give to isolated pages only.',
      'Serve the page and its scripts over https or from localhost with the headers ' +
        '"Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp".',
    );
  }
  if ('document' in globalThis) {
    throw new UserError(
      'not-in-a-worker',
      'The wasm device waits for its threads, which a page is not allowed to do.',
      'Open it in a worker.',
    );
  }
  const build = fused && canFuse() ? 'fused' : 'plain';
  return createWasmDevice({ module: await fetchModule(new URL(moduleFile[build], url)), build, threads, startWorker });
}

async function fetchModule(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) {
    throw new UserError(
      'no-wasm-module',
      `${url} cannot be fetched (status ${response.status}).`,
      'Serve the .wasm files of the build there.',
    );
  }
  return WebAssembly.compile(await response.arrayBuffer());
}

const startWorker: StartWorker = (module, memory, part, ended) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker-browser.js', import.meta.url), { type: 'module' });
    const end = (why: string) => {
      worker.terminate();
      reject(new Error(`a thread of the wasm device did not start: ${why}`));
      ended(why);
    };
    worker.onmessage = ({ data }: MessageEvent<Answer>) => ('error' in data ? end(data.error) : resolve(worker));
    worker.onmessageerror = () => end('its message cannot be read');
    worker.onerror = (event) => end(event.message || event.type);
    worker.postMessage({ module, memory, part } satisfies Task);
  });
