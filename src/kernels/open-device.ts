/** Opens a device in Node. Browsers use `webgpu/open-browser.ts` and `wasm/open-browser.ts`. */
import { UserError } from '../errors.ts';
import type { Device } from './device.ts';
import { openWasm } from './wasm/open-node.ts';
import { openWebGpu } from './webgpu/open-node.ts';

export type DeviceChoice = 'auto' | 'webgpu' | 'wasm';

/** `auto` takes a real GPU if there is one, else the CPU; never a software adapter. Throws a UserError `no-gpu` for `webgpu` without one. */
export async function openDevice(choice: DeviceChoice = 'auto', options: { threads?: number } = {}): Promise<Device> {
  if (choice !== 'wasm') {
    const device = await openWebGpu();
    if (device) return device;
    if (choice === 'webgpu') {
      throw new UserError(
        'no-gpu',
        'No GPU that WebGPU can use was found.',
        'Use --device wasm, or install a Vulkan driver and see what `lamina doctor` says.',
      );
    }
  }
  return openWasm(options);
}
