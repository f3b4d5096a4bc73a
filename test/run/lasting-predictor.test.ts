import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Encoder } from '../../src/features/encoder.ts';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import type { WebGpuDevice } from '../../src/kernels/webgpu/device.ts';
import type { ReadableBag } from '../../src/mil/predict.ts';
import { lastingEncoder } from '../../src/run/lasting-encoder.ts';
import { type LastingPredictor, lastingPredictor } from '../../src/run/lasting-predictor.ts';
import { openPredictorOn } from '../../src/run/predictor.ts';
import { saveRandomModel } from '../cli/random-model.ts';
import { openSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';
import { randomNumbers, relativeError } from '../mil/small-models.ts';

describe.skipIf(withoutSwiftShader)(`a predictor that lasts ${withoutSwiftShader ?? ''}`, () => {
  const { signal } = new AbortController();
  const slide = { id: 'slide', hash: 'head:0' };
  const [count, dimension] = [20, 12];
  const features = randomNumbers(3, count * dimension);
  let model = '';
  beforeAll(async () => {
    model = join(await mkdtemp(join(tmpdir(), 'lamina-lasting-')), 'model');
    await saveRandomModel(model, { input: dimension, layers: 1 });
  });
  afterAll(() => rm(join(model, '..'), { recursive: true }));

  const bag: ReadableBag = {
    meta: {
      ...{ slideId: 'slide', slideHash: null, mpp: 0.5, mppSource: 'file', version: '0' },
      ...{ patchMpp: 0.5, patchPx: 256, patchLevel0Px: null, encoder: 'stain-texture@1', order: 'row-major' },
    },
    dimension,
    count,
    read: async (first, n) => features.slice(first * dimension, (first + n) * dimension),
  };
  /** The bag, with its features on the device where they were computed. */
  function onDevice(device: WebGpuDevice): ReadableBag {
    const view = { storage: device.create(features.length), offset: 0, length: features.length };
    device.write(view.storage, features);
    const rows = (first: number, n: number) => ({ ...view, offset: first * dimension, length: n * dimension });
    return { ...bag, onDevice: view, read: (first, n) => device.read(rows(first, n)) };
  }
  const gpuOf = (predictor: LastingPredictor) => predictor.device as WebGpuDevice;
  const logitsOf = async (predictor: LastingPredictor, of = bag) =>
    (await predictor.predict(slide, of, null, signal)).result.logits;
  async function lose(device: WebGpuDevice): Promise<void> {
    const gpu = device.share();
    gpu.destroy();
    await gpu.lost;
  }

  it('fails the slide that was on a lost device, and no other', { timeout: 300_000 }, async () => {
    const open = async () => await openPredictorOn(await openSwiftShader(), model);
    const predictor = lastingPredictor(await open(), open);
    const openOnIt = () => openEncoder('stain-texture', { device: () => predictor.openDevice() });
    const encoder: Encoder = lastingEncoder(await openOnIt(), openOnIt);
    const batch = { pixels: new Uint8Array(2 * 256 * 256 * 3).fill(150), count: 2, size: 256 };
    const [wanted, wantedFeatures] = [await logitsOf(predictor), await encoder.encode(batch)];

    const first = gpuOf(predictor);
    const held = onDevice(first);
    expect(await logitsOf(predictor, held)).toEqual(wanted);
    expect(encoder.onDevice?.device).toBe(first);
    const under = logitsOf(predictor, held);
    await lose(first);
    await expect(under).rejects.toMatchObject({ code: 'device-lost' });

    expect(encoder.onDevice, 'nothing is begun on it').toBeNull();
    expect(await encoder.encode(batch)).toEqual(wantedFeatures);
    expect(await logitsOf(predictor)).toEqual(wanted);
    expect(gpuOf(predictor)).not.toBe(first);
    expect(encoder.onDevice?.device, 'both are on the same device again').toBe(gpuOf(predictor));
    expect(await logitsOf(predictor, onDevice(gpuOf(predictor)))).toEqual(wanted);
    // The features of a slide that waited for the model.
    await expect(logitsOf(predictor, held)).rejects.toMatchObject({ code: 'device-lost' });
    await encoder.close();
    await predictor.close();
  });

  it('says when it went on elsewhere', { timeout: 300_000 }, async () => {
    const predictor = lastingPredictor(
      await openPredictorOn(await openSwiftShader(), model),
      async () => await openPredictorOn(await openWasm({ threads: 1 }), model),
    );
    const wanted = await predictor.predict(slide, bag, null, signal);
    expect(wanted.warning).toBeUndefined();
    await lose(gpuOf(predictor));
    const { result, warning } = await predictor.predict(slide, bag, null, signal);
    expect(warning).toMatch(/SwiftShader.* was lost.*wasm.*1 thread/);
    expect(result.device).toMatch(/wasm/);
    expect(relativeError(result.logits, wanted.result.logits)).toBeLessThan(1e-4);
    await predictor.close();
  });
});
