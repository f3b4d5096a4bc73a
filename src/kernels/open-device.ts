/** Opens a device in Node. Browsers use `webgpu/open-browser.ts` and `wasm/open-browser.ts`. */
import type { Device } from './device.ts';
import { openWasm } from './wasm/open-node.ts';
import { openWebGpu } from './webgpu/open-node.ts';

export type DeviceChoice = 'auto' | 'webgpu' | 'wasm';

/** `auto` takes a real GPU if there is one, else the CPU; never a software adapter. Throws a UserError `no-gpu` for `webgpu` without one. */
export async function openDevice(choice: DeviceChoice = 'auto', options: { threads?: number } = {}): Promise<Device> {
  if (choice !== 'wasm') {
    const device = await openWebGpu({ required: choice === 'webgpu' });
    if (device) return device;
  }
  return openWasm(options);
}
