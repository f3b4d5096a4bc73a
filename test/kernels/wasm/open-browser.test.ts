/** Opening in a browser, where a worker fails: its side and the device's, joined here by stand-ins for the browser's own. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openWasm } from '../../../src/kernels/wasm/open-browser.ts';
import type { Task } from '../../../src/kernels/wasm/worker-browser.ts';

const file = new URL('../../../dist/src/kernels/wasm/lamina.wasm', import.meta.url);

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

/** A browser whose workers do `start` when they are given their task. */
function browserWith(start: (worker: StandIn, task: Task) => void): StandIn[] {
  const workers: StandIn[] = [];
  vi.stubGlobal('crossOriginIsolated', true);
  vi.stubGlobal('fetch', async () => new Response(readFileSync(file)));
  vi.stubGlobal(
    'Worker',
    class extends StandIn {
      constructor() {
        super(start);
        workers.push(this);
      }
    },
  );
  return workers;
}

class StandIn {
  onmessage: (event: { data: unknown }) => void = () => {};
  onmessageerror: () => void = () => {};
  terminated = false;
  constructor(readonly start: (worker: StandIn, task: Task) => void) {}
  postMessage(task: Task): void {
    this.start(this, task);
  }
  terminate(): void {
    this.terminated = true;
  }
}

const open = () => openWasm({ url: 'https://here/', threads: 2, fused: false });

describe('the wasm device in a browser', () => {
  it('says why a worker cannot make its instance', async () => {
    let receive: (event: { data: unknown }) => Promise<void> = async () => {};
    const workers = browserWith((worker, task) => {
      vi.stubGlobal('postMessage', (data: unknown) => worker.onmessage({ data }));
      // A memory that the module does not take.
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      void receive({ data: { ...task, memory } });
    });
    vi.stubGlobal('addEventListener', (_: string, listener: typeof receive) => {
      receive = listener;
    });
    await import('../../../src/kernels/wasm/worker-browser.ts');
    await expect(open()).rejects.toThrow(/a thread of the wasm device did not start: .*memory/);
    expect(workers.map(({ terminated }) => terminated)).toEqual([true]);
  });

  it('does not wait for a message that cannot be read', async () => {
    browserWith((worker) => worker.onmessageerror());
    await expect(open()).rejects.toThrow('did not start: its message cannot be read');
  });
});
