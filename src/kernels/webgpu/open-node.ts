/** The WebGPU device in Node, through Dawn's binding (package `webgpu`). */
import { readdirSync, readFileSync } from 'node:fs';
import { adapterName, type DeviceRestrictions, requestAdapter, requestDevice } from './adapter.ts';
import { WebGpuDevice } from './device.ts';
import { lanesFollowThreads } from './lanes.ts';
import { restDuring } from './rest.ts';

export interface OpenOptions {
  /** Also take a software adapter. For tests. */
  readonly software?: boolean;
  /** Throw instead of returning null. */
  readonly required?: boolean;
  /** As in `WebGpuDeviceOptions`. */
  readonly half?: boolean;
  readonly restrict?: DeviceRestrictions;
}

/**
 * Opens the GPU, or null when there is none (or only a software adapter, unless `software` allows it).
 * @throws UserError `no-gpu` if `required` and there is none.
 */
export async function openWebGpu(options: OpenOptions = {}): Promise<WebGpuDevice | null> {
  const { software = false, required = false, half = false, restrict = {} } = options;
  // Dawn's instance keeps Node alive while referenced: the device drops it when closed.
  const gpu = await createDawn();
  const adapter = await requestAdapter(gpu, { software, required });
  if (!adapter) return null;
  const device = await requestDevice(adapter, restrict);
  const { scanThreads, maxBinding } = restrict;
  return new WebGpuDevice(device, {
    name: adapterName(adapter),
    sources: readShaders(),
    owner: gpu,
    waitFor: restDuring,
    half,
    subgroups: await lanesFollowThreads(device, scanThreads),
    ...(scanThreads && { scanThreads }),
    ...(maxBinding && { maxBinding }),
  });
}

/** Dawn's WebGPU; undefined on platforms it has no binary for, and where its adapters would be none. */
export async function createDawn(): Promise<GPU | undefined> {
  if (process.platform === 'linux' && !(await hasVulkanLoader())) return undefined;
  const dawn = await import('webgpu').catch(() => undefined);
  return dawn?.create([]);
}

/** What browsers have and libraries written for them ask for: WebGPU's constants, and a place where it would be found. */
export async function defineWebGpuGlobals(): Promise<void> {
  const { globals } = await import('webgpu');
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true });
  }
  const navigator = globalThis.navigator ?? {};
  if (!('gpu' in navigator)) {
    Object.defineProperty(globalThis, 'navigator', {
      value: Object.create(navigator, { gpu: { value: {} } }),
      configurable: true,
    });
  }
}

/** Asked first, because Dawn prints a warning with a stack trace when there is none. */
async function hasVulkanLoader(): Promise<boolean> {
  const koffi = await import('koffi').catch(() => undefined);
  if (!koffi) return true;
  try {
    koffi.load('libvulkan.so.1').unload();
    return true;
  } catch {
    return false;
  }
}

/** All WGSL files of a folder by name without extension; the kernels' unless said otherwise. */
export function readShaders(folder = new URL('./wgsl/', import.meta.url)): Record<string, string> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.wgsl'));
  return Object.fromEntries(files.map((file) => [file.slice(0, -5), readFileSync(new URL(file, folder), 'utf8')]));
}
