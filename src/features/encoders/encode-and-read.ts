/** Features that an encoder leaves on its device, brought back. */
import type { DeviceEncoding, PatchBatch } from '../encoder.ts';

/** @returns count x dimension. @throws as `encode` of the device's encoding */
export async function encodeAndRead(
  { device, encode }: DeviceEncoding,
  dimension: number,
  batch: PatchBatch,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const length = batch.count * dimension;
  const storage = device.create(length);
  try {
    await encode(batch, { storage, offset: 0, length }, signal);
    return await device.read({ storage, offset: 0, length });
  } finally {
    device.release(storage);
  }
}
