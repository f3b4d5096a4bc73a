import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Encoder } from '../../../src/features/encoder.ts';
import { openOnnxEncoder } from '../../../src/features/encoders/onnx-encoder.ts';
import { defaultRecipe } from '../../../src/features/encoders/recipe.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { openSwiftShader, withoutSwiftShader } from '../../kernels/webgpu/swiftshader.ts';
import { featureMap, networkFolder, SIDE } from './tiny-networks.ts';

/** Half a minute, most of it onnxruntime's 27 MB of wasm. */
describe.skipIf(withoutSwiftShader !== null)(
  `an ONNX encoder on the WebGPU device of the kernels (${withoutSwiftShader ?? 'SwiftShader'})`,
  async () => {
    const { write } = await networkFolder();
    let device: WebGpuDevice;
    const encoders: Encoder[] = [];
    beforeAll(async () => {
      device = await openSwiftShader();
      const path = await write('map.onnx', featureMap);
      const recipe = { ...defaultRecipe, size: SIDE, resize: SIDE, patchPx: SIDE };
      const options = { name: 'tiny', path, recipe, dimension: null, threads: 1 };
      encoders.push(await openOnnxEncoder({ ...options, gpu: device.share() }), await openOnnxEncoder(options));
    }, 900_000);
    afterAll(async () => {
      for (const encoder of encoders) await encoder.close();
      await device.close();
    });

    it('gives what it gives on the CPU, under the same id, several batches at once', { timeout: 300_000 }, async () => {
      const [onGpu, onCpu] = encoders as [Encoder, Encoder];
      expect(onGpu).toMatchObject({ id: onCpu.id, dimension: onCpu.dimension });
      const batches = [3, 1, 5].map((count) => {
        const pixels = Uint8Array.from({ length: count * SIDE * SIDE * 3 }, (_, i) => (i * 7919 + count) % 256);
        return { pixels, count, size: SIDE };
      });
      const [found, wanted] = await Promise.all(
        [onGpu, onCpu].map((encoder) => Promise.all(batches.map((batch) => encoder.encode(batch)))),
      );
      found!.forEach((features, i) => {
        expect(features.length).toBe(wanted![i]!.length);
        features.forEach((value, j) => void expect(Math.abs(value - wanted![i]![j]!)).toBeLessThan(1e-4));
      });
    });

    it('leaves the kernels their device', async () => {
      const storage = device.create(4);
      device.write(storage, Float32Array.of(1, 2, 3, 4));
      expect(await device.read({ storage, offset: 0, length: 4 })).toEqual(Float32Array.of(1, 2, 3, 4));
      device.release(storage);
    });
  },
);
