/** Runs one kernel on a device with host arrays, for tests. */
import { expect } from 'vitest';
import type { Device, View } from '../../src/kernels/device.ts';
import { type KernelName, kernels } from '../../src/kernels/kernels.ts';
import { createRandom, normal } from '../../src/random.ts';

export type HostArray = Float32Array | Int32Array;
export type Outputs = Record<string, HostArray>;

const GUARD = 12345.5;
let shift = 0;

/**
 * Uploads the arrays, runs the kernel, and gives back what it wrote (`>` or `+` views), by name.
 * Every view lies at an odd place inside larger storage, and what surrounds a written view must stay as it was.
 */
export async function runKernel(
  device: Device,
  kernel: KernelName,
  views: Readonly<Record<string, HostArray | null>>,
  params: Readonly<Record<string, number>>,
): Promise<Outputs> {
  const placed = new Map<string, View>();
  const ordered = kernels[kernel].views.map((declared: string) => {
    const name = word(declared);
    const data = views[name];
    if (!data) return null;
    const before = shift++ % 7 === 0 ? 0 : (shift * 5) % 131;
    const storage = device.create(before + data.length + 3);
    const whole = new Float32Array(before + data.length + 3).fill(GUARD);
    device.write(storage, whole);
    device.write(storage, data, before);
    const view = { storage, offset: before, length: data.length };
    placed.set(name, view);
    return view;
  });
  device.run(
    kernel,
    ordered,
    kernels[kernel].params.map((declared: string) => params[word(declared)]!),
  );
  const outputs: Outputs = {};
  for (const declared of kernels[kernel].views as readonly string[]) {
    const view = placed.get(word(declared));
    if (!view || !/^[>+]/.test(declared)) continue;
    const all = await device.read({ storage: view.storage, offset: 0, length: view.storage.length });
    const around = [...all.subarray(0, view.offset), ...all.subarray(view.offset + view.length)];
    expect(
      around.every((x) => x === GUARD),
      `${kernel} wrote outside ${declared}`,
    ).toBe(true);
    const inner = all.slice(view.offset, view.offset + view.length);
    outputs[word(declared)] = declared.includes(':i32') ? new Int32Array(inner.buffer) : inner;
  }
  for (const view of placed.values()) device.release(view.storage);
  return outputs;
}

function word(declared: string): string {
  return /\w+/.exec(declared)![0];
}

/** max |got - wanted| <= tolerance max |wanted| + absolute, the pass rule of the golden data. */
export function expectClose(
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number,
  what: string,
  absolute = 1e-12,
): void {
  expect(got.length, `${what}: length`).toBe(wanted.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) {
    scale = Math.max(scale, Math.abs(wanted[i]!));
    const off = Math.abs(got[i]! - wanted[i]!);
    worst = Math.max(worst, off); // NaN stays
  }
  expect(worst, `${what}: difference relative to ${scale}`).toBeLessThanOrEqual(tolerance * scale + absolute);
}

/** Normal numbers. */
export function randomArray(seed: number, length: number, scale = 1): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length }, () => scale * normal(random));
}
