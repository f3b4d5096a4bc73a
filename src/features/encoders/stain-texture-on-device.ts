/**
 * `stain-texture` on the WebGPU device of the kernels: the numbers of `stain-vector.ts`, from the same tables, by the WGSL in `wgsl/`.
 * What is counted and added there may differ in the last digits from what WebAssembly adds in another order.
 */
import { built } from '../../built.ts';
import type { Device, Storage, View } from '../../kernels/device.ts';
import { WebGpuDevice } from '../../kernels/webgpu/device.ts';
import { readShaders } from '../../kernels/webgpu/open-node.ts';
import { flat, type Pass } from '../../kernels/webgpu/pass.ts';
import { type BatchWorker, openBatchWorker } from '../batch-worker.ts';
import type { DeviceEncoding, PatchBatch } from '../encoder.ts';
import { DENSITY, TOTAL_DENSITY, UNMIX } from '../stain-planes.ts';
import { DEVIATIONS, MEANS } from '../stain-scale.ts';
import { DIMENSION, OCTAVES, stainRules } from '../stain-vector.ts';
import { LEVELS } from '../texture.ts';
import type { Question } from './onnx-worker.ts';
import type { PixelData } from './picture-input.ts';
import { defaultRecipe } from './recipe.ts';

/** Numbers about a patch, as in `stainTables.wgsl`. */
const FACTS = 1056;
/** Of the pixels of one run; larger batches are run in parts. */
const PIXEL_BYTES = 64 * 1024 * 1024;

/** In the order of `stainTables.wgsl`. */
const TABLES = Float32Array.from([
  ...DENSITY,
  ...UNMIX.flat(),
  ...TOTAL_DENSITY,
  ...stainRules.ranges.flatMap(([low, high]) => [low, high, LEVELS / (high - low)]),
  ...stainRules.quantiles,
  ...stainRules.shapes.flatMap(({ kind, level }) => [kind, level]),
  stainRules.nucleus.amount,
  stainRules.nucleus.level,
  ...MEANS,
  ...DEVIATIONS,
  stainRules.limit,
]);

/** @returns null where the device is no GPU */
export function stainTextureOn(device: Device | null): (DeviceEncoding & { close(): Promise<void> }) | null {
  if (!(device instanceof WebGpuDevice)) return null;
  device.addShaders(readShaders(new URL('./wgsl/', import.meta.url)));
  const tables = viewOf(device, TABLES);
  /** Recolours patches; begun when a slide wants it. */
  let worker: { readonly size: number; readonly thread: BatchWorker } | null = null;

  async function recoloured(batch: PatchBatch, first: number, count: number): Promise<Uint8Array> {
    const { size } = batch;
    if (worker?.size !== size) {
      await worker?.thread.close();
      const thread = openBatchWorker(built('./onnx-worker.js', import.meta.url), 'stain-texture');
      worker = { size, thread };
      const plan = { type: 'uint8', layout: 'nhwc', size } as const;
      const recipe = { ...defaultRecipe, size, resize: size };
      await thread.ask({ kind: 'plan', plan, recipe } satisfies Question);
    }
    const question: Question = { kind: 'prepare', batch, first, count };
    return (await worker.thread.ask<PixelData>(question)) as Uint8Array;
  }

  return {
    device,
    async encode(batch, target, signal) {
      const bytes = 3 * batch.size ** 2;
      const most = Math.max(1, Math.floor(PIXEL_BYTES / bytes));
      for (let first = 0; first < batch.count; first += most) {
        const count = Math.min(most, batch.count - first);
        const pixels = batch.recolouring
          ? await recoloured(batch, first, count)
          : batch.pixels.subarray(first * bytes, (first + count) * bytes);
        signal?.throwIfAborted();
        const offset = target.offset + first * DIMENSION;
        describe(device, tables, pixels, count, batch.size, { ...target, offset, length: count * DIMENSION });
      }
    },
    async close() {
      device.release(tables.storage);
      await worker?.thread.close();
    },
  };
}

/** Queues all of it; the memory in between goes back at once. */
function describe(device: WebGpuDevice, tables: View, pixels: Uint8Array, count: number, size: number, features: View) {
  const held: Storage[] = [];
  const hold = (length: number): View => {
    const storage = device.create(length);
    held.push(storage);
    return { storage, offset: 0, length };
  };
  const run = (shader: string, items: number, views: Pass['views'], params: Pass['params'], groups = flat(items)) =>
    device.dispatch({ shader, views: { tables, facts, ...views }, params: { items, ...params }, groups });

  const facts = hold(count * FACTS);
  const words = wordsOf(pixels);
  const picture = hold(words.length);
  device.write(picture.storage, words);
  const planes: View[] = [];
  for (let octave = 0, side = size; octave < OCTAVES; octave++, side >>= 1) {
    const halves = hold(3 * count * (side >> 1) ** 2);
    const source = octave === 0 ? { pixels: picture } : { planes: planes.at(-1)! };
    run('stainHalve', 3 * count, { ...source, halves }, { side, octave });
    planes.push(halves);
  }
  const [fine, middle, coarse] = [size >> 1, size >> 2, size >> 3];
  const [planes1, planes2, planes3] = planes as [View, View, View];
  run('stainMoments', count, { planes: planes1 }, { side: fine, scale: 0 });
  run('stainMoments', count, { planes: planes3 }, { side: coarse, scale: 1 });
  run('stainLevels', 3 * count, { planes: planes1 }, { side: fine });
  run('stainShapes', 3 * count, { planes: planes1, small: planes3 }, { fine, coarse });
  run('stainPatterns', 2 * count, { planes: planes1 }, { side: fine });
  run('stainGradients', 2 * count, { planes: planes2 }, { side: middle });
  run('stainVector', count, { features }, { fine, coarse }, [Math.ceil(count / 64), 1]);
  for (const storage of held) device.release(storage);
}

function viewOf(device: WebGpuDevice, data: Float32Array): View {
  const storage = device.create(data.length);
  device.write(storage, data);
  return { storage, offset: 0, length: data.length };
}

/** Bytes by fours. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const { buffer, byteOffset, length } = bytes;
  if (length % 4 === 0 && byteOffset % 4 === 0) return new Int32Array(buffer, byteOffset, length / 4);
  const words = new Int32Array(Math.ceil(length / 4));
  new Uint8Array(words.buffer).set(bytes);
  return words;
}
