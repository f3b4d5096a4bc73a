import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Encoder, PatchBatch } from '../../../src/features/encoder.ts';
import { openOnnxEncoder } from '../../../src/features/encoders/onnx-encoder.ts';
import { defaultRecipe, type Recipe } from '../../../src/features/encoders/recipe.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { openSwiftShader, withoutSwiftShader } from '../../kernels/webgpu/swiftshader.ts';
import {
  allLast,
  channelMeans,
  featureMap,
  featureMapLast,
  networkFolder,
  overflowing,
  REGISTERS,
  SIDE,
  tokens,
} from './tiny-networks.ts';

function batchOf(count: number): PatchBatch {
  const pixels = Uint8Array.from({ length: count * SIDE * SIDE * 3 }, (_, i) => (i * 7919 + count) % 256);
  return { pixels, count, size: SIDE };
}

/** Half a minute, most of it onnxruntime's 27 MB of wasm. */
describe.skipIf(withoutSwiftShader !== null)(
  `an ONNX encoder on the WebGPU device of the kernels (${withoutSwiftShader ?? 'SwiftShader'})`,
  async () => {
    const { write } = await networkFolder();
    let device: WebGpuDevice;
    const opened: Encoder[] = [];
    beforeAll(async () => {
      device = await openSwiftShader();
    }, 900_000);
    afterAll(async () => {
      for (const encoder of opened) await encoder.close();
      await device.close();
    });

    /** The same network on the device and on the CPU. */
    async function open(graph: Parameters<typeof write>[1], changes: Partial<Recipe> = {}) {
      const path = await write(`network-${opened.length}.onnx`, graph);
      const recipe = { ...defaultRecipe, size: SIDE, resize: SIDE, patchPx: SIDE, ...changes };
      const options = { name: 'tiny', path, recipe, dimension: null, threads: 1 };
      const pair = [await openOnnxEncoder({ ...options, device }), await openOnnxEncoder(options)] as const;
      opened.push(...pair);
      return pair;
    }

    const skip = 1 + REGISTERS;
    const networks: [string, Parameters<typeof write>[1], Partial<Recipe>][] = [
      ['pooled features', channelMeans(), {}],
      ['a batch of fixed size', channelMeans('float32', 2), {}],
      ['a map of features', featureMap, {}],
      ['a map with the width last', featureMapLast, { map: 'nhwc' }],
      ['pictures and map with the channels last', allLast, {}],
      ['the class token', tokens, { tokens: { pool: 'cls', skip } }],
      ['the mean of the tokens', tokens, { tokens: { pool: 'mean', skip } }],
      ['the mean of all tokens', tokens, { tokens: { pool: 'mean', skip: 0 } }],
      ['class token and mean', tokens, { tokens: { pool: 'cls+mean', skip } }],
    ];

    it.each(networks)(
      'gives what it gives on the CPU, under the same id, several batches at once: %s',
      { timeout: 300_000 },
      async (_, graph, changes) => {
        const [onGpu, onCpu] = await open(graph, changes);
        expect(onGpu).toMatchObject({ id: onCpu.id, dimension: onCpu.dimension });
        const batches = [3, 1, 5].map(batchOf);
        const encodeAll = (encoder: Encoder) => Promise.all(batches.map((batch) => encoder.encode(batch)));
        const [found, wanted] = await Promise.all([encodeAll(onGpu), encodeAll(onCpu)]);
        found.forEach((features, i) => {
          expect(features.length).toBe(wanted[i]!.length);
          features.forEach((value, j) => {
            const right = wanted[i]![j]!;
            expect(Math.abs(value - right)).toBeLessThan(1e-5 * Math.max(10, Math.abs(right)));
          });
        });
      },
    );

    it('leaves features on the device, where they are wanted, and nothing else behind', async () => {
      const [onGpu, onCpu] = await open(featureMap);
      const live = device.memory().live;
      const { dimension } = onCpu;
      const wanted = await onCpu.encode(batchOf(4));
      const storage = device.create(6 * dimension + 3);
      device.write(storage, new Float32Array(storage.length).fill(7));
      const target = { storage, offset: dimension + 3, length: 4 * dimension };
      let reads = 0;
      const read = device.read.bind(device);
      device.read = (view) => {
        reads++;
        return read(view);
      };
      await onGpu.onDevice!.encode(batchOf(4), target);
      expect(reads).toBe(0);
      device.read = read;
      const all = await device.read({ storage, offset: 0, length: storage.length });
      all.forEach((value, i) => {
        const inside = i >= target.offset && i < target.offset + target.length;
        expect(Math.abs(value - (inside ? wanted[i - target.offset]! : 7))).toBeLessThan(1e-5);
      });
      device.release(storage);
      expect(device.memory().live).toBe(live);
    });

    it('refuses a network whose features are not finite', async () => {
      await expect(open(overflowing)).rejects.toMatchObject({ code: 'not-finite' });
    });

    it('leaves the kernels their device', async () => {
      const storage = device.create(4);
      device.write(storage, Float32Array.of(1, 2, 3, 4));
      expect(await device.read({ storage, offset: 0, length: 4 })).toEqual(Float32Array.of(1, 2, 3, 4));
      device.release(storage);
    });
  },
);
