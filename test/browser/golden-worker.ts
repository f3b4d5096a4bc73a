/** Runs golden cases in a worker of a page, on the device it is told, and posts a report for each. */
/// <reference types="vite/client" />
import { messageOf } from '../../src/errors.ts';
import type { Device } from '../../src/kernels/device.ts';
import { openWasm } from '../../src/kernels/wasm/open-browser.ts';
import { openWebGpu } from '../../src/kernels/webgpu/open-browser.ts';
import { type CaseReport, runCases } from '../golden/run-cases.ts';
import { openGolden } from '../golden/source.ts';

export interface Task {
  readonly device: 'wasm' | 'webgpu';
  /** Address of the folder of golden files. */
  readonly golden: string;
  /** Address of the folder of the wasm builds. */
  readonly wasm: string;
  /** The plain build also where the browser could run the other. */
  readonly plain?: boolean;
  readonly threads: number;
  /** Names of the cases; all when absent. */
  readonly cases?: readonly string[];
}

export type Message =
  | { readonly device: string }
  | { readonly report: CaseReport }
  | { readonly error: string }
  | { readonly done: true };

addEventListener('message', async ({ data: task }: MessageEvent<Task>) => {
  const post = (message: Message) => postMessage(message);
  try {
    const device = await open(task);
    post({ device: device.name });
    const golden = await openGolden(async (name) => fetchBytes(new URL(name, task.golden)));
    const cases = golden.cases.filter(({ name }) => task.cases?.includes(name) ?? true);
    for await (const report of runCases(golden, device, cases)) post({ report });
    await device.close();
    post({ done: true });
  } catch (error) {
    post({ error: messageOf(error) });
  }
});

async function open({ device, wasm, threads, plain }: Task): Promise<Device> {
  if (device === 'wasm') return openWasm({ url: wasm, threads, fused: !plain });
  // Browsers of test machines have software adapters only; they compute the same.
  return (await openWebGpu(shaders(), { software: true, required: true }))!;
}

function shaders(): Record<string, string> {
  const files = import.meta.glob<string>('../../src/kernels/webgpu/wgsl/*.wgsl', {
    query: '?raw',
    import: 'default',
    eager: true,
  });
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [/(\w+)\.wgsl$/.exec(path)![1], text]));
}

async function fetchBytes(url: URL): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
