/** The bag of an encoder and a model on one device: the features never leave it on their way. */
import type { BagMeta } from '../features/bag.ts';
import type { DeviceEncoding } from '../features/encoder.ts';
import { addScores, createBagWriter } from '../features/store.ts';
import type { Device, Storage, View } from '../kernels/device.ts';
import type { BagSink, SinkOptions } from './bag-sink.ts';

/** Of the features of one slide; two slides may be on the device at a time, beside the model and the network. */
const MOST_BYTES = 512 * 2 ** 20;

export interface DeviceBagOptions extends SinkOptions {
  /** Most rows that may come. */
  readonly most: number;
  /** Whether the file gets a copy of the features, which is read back beside; or only places and scores. */
  readonly keepFeatures: boolean;
}

/** How the encoder encodes for a bag on the device of the model; null where it does not compute there, or the bag would be too long. */
export function encodingOn(
  device: Device | null,
  { encoder, most }: Pick<DeviceBagOptions, 'encoder' | 'most'>,
): DeviceEncoding | null {
  const { onDevice = null, dimension } = encoder;
  const bytes = 4 * most * dimension;
  if (!onDevice || onDevice.device !== device) return null;
  return bytes > 0 && bytes <= Math.min(MOST_BYTES, device.maxStorageBytes) ? onDevice : null;
}

/** In single precision for the model, whatever the file holds. */
export async function deviceBag(
  path: string,
  meta: BagMeta,
  { device, encode }: DeviceEncoding,
  { encoder: { dimension }, dtype, most, keepFeatures }: DeviceBagOptions,
): Promise<BagSink<View>> {
  const writer = await createBagWriter(path, meta, { dimension: keepFeatures ? dimension : 0, dtype });
  const held = new Set<Storage>();
  const hold = (length: number): View => {
    const storage = device.create(length);
    held.add(storage);
    return { storage, offset: 0, length };
  };
  const release = ({ storage }: View) => {
    if (held.delete(storage)) device.release(storage);
  };
  const releaseAll = () => {
    for (const storage of held) device.release(storage);
    held.clear();
  };
  const bag = hold(most * dimension);
  const rowsOf = (first: number, n: number): View => {
    return { storage: bag.storage, offset: first * dimension, length: n * dimension };
  };
  let count = 0;
  let finished = false;

  return {
    get count() {
      return count;
    },
    read: (first, n) => device.read(rowsOf(first, n)),
    async encode(batch, signal) {
      const rows = hold(batch.count * dimension);
      await encode(batch, rows, signal);
      return rows;
    },
    async append(rows, kept, coords) {
      const n = coords.length / 2;
      const place = rowsOf(count, n);
      if (kept) {
        const index = hold(n);
        device.write(index.storage, Int32Array.from(kept));
        device.run('gatherRows', [rows, index, place], [n, dimension, 0]);
        release(index);
      } else device.run('add', [rows, null, place], [place.length, 1, 0]);
      release(rows);
      count += n;
      await writer.append(keepFeatures ? await device.read(place) : new Float32Array(0), coords);
    },
    async finish() {
      await writer.finish();
      finished = true;
      return {
        meta,
        dimension,
        count,
        onDevice: rowsOf(0, count),
        read: (first, n) => device.read(rowsOf(first, n)),
        addScores: (scores) => addScores(path, scores),
        close: async () => releaseAll(),
      };
    },
    async abort() {
      if (!finished) releaseAll();
      await writer.abort();
    },
  };
}
