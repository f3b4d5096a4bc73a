/** Opens a device in Node. Browsers use `webgpu/open-browser.ts` and `wasm/open-browser.ts`. */
import { UserError } from '../errors.ts';
import type { Device } from './device.ts';
import { openWasm } from './wasm/open-node.ts';
import type { WebGpuDevice } from './webgpu/device.ts';
import { openWebGpu } from './webgpu/open-node.ts';

/**
 * `auto` takes a real GPU if there is one, else the CPU; never a software adapter. `webgpu-f16` stores activations as f16 in
 * inference: half the memory, 11 bits of precision.
 */
export const deviceChoices = ['auto', 'webgpu', 'webgpu-f16', 'wasm'] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

/** @throws UserError `no-gpu` for `webgpu` and `webgpu-f16` without one, `no-f16` for a GPU that has none in its shaders. */
export async function openDevice(choice: DeviceChoice = 'auto', options: { threads?: number } = {}): Promise<Device> {
  return (await openGpu(choice)) ?? (await openWasm(options));
}

/** The GPU of a choice; null if it is `wasm`, or `auto` without a real GPU. @throws as `openDevice` */
export async function openGpu(choice: DeviceChoice): Promise<WebGpuDevice | null> {
  if (choice === 'wasm') return null;
  const half = choice === 'webgpu-f16';
  const device = await openWebGpu({ required: choice !== 'auto', half });
  if (!device || device.half === half) return device;
  await device.close();
  throw new UserError('no-f16', `${device.name} has no f16 in its shaders.`, 'Use the device `webgpu`.');
}
