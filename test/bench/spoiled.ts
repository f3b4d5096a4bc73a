/** A device that computes one kernel wrongly, to see that somebody notices. */
import type { Device, View } from '../../src/kernels/device.ts';
import type { KernelName } from '../../src/kernels/kernels.ts';

/** Runs `spoil` instead of the kernel of that name. */
export function spoiled(
  device: Device,
  kernel: KernelName,
  spoil: (views: readonly (View | null)[], params: readonly number[]) => void,
): Device {
  const run: Device['run'] = (name, views, params) =>
    name === kernel ? spoil(views, params) : device.run(name, views, params);
  return new Proxy(device, {
    get(target, property) {
      if (property === 'run') return run;
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The kernel is run, and then what it wrote to a view is made larger by a hundredth. */
export function stretched(device: Device, kernel: KernelName, view: number): Device {
  return spoiled(device, kernel, (views, params) => {
    device.run(kernel, views, params);
    const written = views[view];
    if (written) device.run('add', [written, null, written], [written.length, 1.01, 0]);
  });
}

/** The kernel is run with one of its numbers changed. */
export function misled(device: Device, kernel: KernelName, param: number, value: number): Device {
  return spoiled(device, kernel, (views, params) => device.run(kernel, views, params.with(param, value)));
}
