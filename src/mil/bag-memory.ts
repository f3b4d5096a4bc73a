/** What a bag takes on a device: estimated, and refused before the work when there is not so much. */
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import { openWasm } from '../kernels/wasm/open-node.ts';
import { availableMemory } from './available-memory.ts';
import { type CreatedModel, createRandomModel } from './create-model.ts';
import type { ModelConfig } from './model-card.ts';

/** Bytes that a device may still take; without end for a GPU, which does not tell what it has. */
export function roomOn(device: Device, available = availableMemory()): number {
  if (device.kind !== 'wasm') return Number.POSITIVE_INFINITY;
  const { live, peak } = device.memory();
  // Of the machine's memory it keeps what it once had.
  return Math.min(device.maxStorageBytes - live, available + peak - live);
}

/** @param what wants so much, as the subject of a sentence: `slide-7: 90000 patches need`. @throws UserError `out-of-memory` */
export function requireRoom(what: string, bytes: number, room: number, hint: string): void {
  if (bytes <= room) return;
  throw new UserError('out-of-memory', `${what} about ${amount(bytes)}, and there are ${amount(room)}.`, hint);
}

export function amount(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

export interface PassBytes {
  /** Weights and all else that does not grow with the bag. */
  readonly fixed: number;
  readonly perRow: number;
}

/**
 * Device memory at the peak of a pass over a bag, as a line through a pass over `few` rows and one over twice as many: measured on
 * a device of its own, so that it holds for every model.
 */
export async function measurePass(
  config: ModelConfig,
  few: number,
  pass: (device: Device, model: CreatedModel, rows: number) => unknown,
): Promise<PassBytes> {
  const device = await openWasm({ threads: 1 });
  try {
    const model = createRandomModel(device, config, { seed: 1 });
    // A peak is that of a device's whole life: the shorter first.
    await pass(device, model, few);
    const short = device.memory().peak;
    await pass(device, model, 2 * few);
    const perRow = (device.memory().peak - short) / few;
    return { fixed: short - few * perRow, perRow };
  } finally {
    await device.close();
  }
}

/** Cells of a made-up slide, for models that scan the grid in orders of their own: (rows, 2). */
export function madeUpCells(rows: number): Int32Array {
  return Int32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? i >> 6 : (i >> 1) % 32));
}
