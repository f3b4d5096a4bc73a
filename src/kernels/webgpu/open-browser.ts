/** The WebGPU device of a browser. */
import { adapterName, requestAdapter, requestDevice } from './adapter.ts';
import { WebGpuDevice } from './device.ts';
import { lanesFollowThreads } from './lanes.ts';

/**
 * Opens the GPU, or null when there is none (or only a software adapter, unless `software` allows it).
 * @param sources WGSL by file name, for example from Vite: `import.meta.glob('./wgsl/*.wgsl', { query: '?raw' })`.
 * @throws UserError `no-gpu` if `required` and there is none.
 */
export async function openWebGpu(
  sources: Readonly<Record<string, string>>,
  { software = false, required = false } = {},
): Promise<WebGpuDevice | null> {
  const adapter = await requestAdapter(navigator.gpu, { software, required });
  if (!adapter) return null;
  const device = await requestDevice(adapter);
  return new WebGpuDevice(device, {
    name: adapterName(adapter),
    sources,
    subgroups: await lanesFollowThreads(device),
  });
}
