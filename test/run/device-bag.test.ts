import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import type { Encoder } from '../../src/features/encoder.ts';
import { openOnnxEncoder } from '../../src/features/encoders/onnx-encoder.ts';
import { defaultRecipe } from '../../src/features/encoders/recipe.ts';
import { readBag } from '../../src/features/store.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import type { WebGpuDevice } from '../../src/kernels/webgpu/device.ts';
import { openPredictorOn, type Predictor } from '../../src/run/predictor.ts';
import { type Line, runSlide } from '../../src/run/slide-job.ts';
import { Stages } from '../../src/run/stages.ts';
import { measureGrid, plainTiling, surveySlide, type TilingOptions } from '../../src/run/survey.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { saveRandomModel } from '../cli/random-model.ts';
import { featureMap, networkFolder, SIDE, WIDTH } from '../features/encoders/tiny-networks.ts';
import { openSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';

/** Patches of the tiny network's own size, which are resized nowhere. */
const TILING: TilingOptions = { ...plainTiling(SIDE, 4), stridePx: SIDE };

describe.skipIf(withoutSwiftShader !== null)(
  `a slide whose network and model compute on one device (${withoutSwiftShader ?? 'SwiftShader'})`,
  async () => {
    const { write } = await networkFolder();
    let folder = '';
    let device: WebGpuDevice;
    const opened: { close(): Promise<void> }[] = [];
    let onGpu: Line & { encoder: Encoder; predictor: Predictor };
    let onCpu: Line & { encoder: Encoder; predictor: Predictor };

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'lamina-device-bag-'));
      await writeSyntheticSlide(join(folder, 'slide.tif'), { seed: 3, widthPx: 4000, heightPx: 3000, tumour: true });
      const path = await write('map.onnx', featureMap);
      const recipe = { ...defaultRecipe, size: SIDE, resize: SIDE, patchPx: SIDE };
      const options = { name: 'tiny', path, recipe, dimension: null, threads: 1 };
      device = await openSwiftShader();
      const line = async (on: typeof device | null) => {
        const encoder = await openOnnxEncoder({ ...options, device: on });
        opened.unshift(encoder);
        const model = join(folder, 'model');
        if (!on) await saveRandomModel(model, { input: WIDTH, encoder: encoder.id, patchMpp: 4, patchPx: SIDE });
        const predictor = await openPredictorOn(on ?? (await openWasm({ threads: 1 })), model);
        opened.push(predictor);
        return { encoder, predictor };
      };
      onCpu = await line(null);
      onGpu = await line(device);
    }, 900_000);
    afterAll(async () => {
      for (const part of opened) await part.close();
      await rm(folder, { recursive: true });
    });

    async function run(line: Line, name: string, keepBags: boolean, tiling = TILING) {
      const input = { id: 'slide', source: join(folder, 'slide.tif'), patient: null, label: null, split: null };
      const control = { stages: new Stages(), signal: new AbortController().signal, live: false, onProgress: () => {} };
      const options = { mpp: null, tiling, batchSize: 16, dtype: 'f32' as const, keepBags, configuration: '' };
      const out = join(folder, name);
      const finished = await runSlide({ ...input, site: null, mpp: null }, out, line, options, control);
      return { ...finished, bag: await readBag(join(out, 'bag.arrow')) };
    }

    /** How many numbers are read back while something is done. */
    async function counting<T>(work: () => Promise<T>): Promise<[T, number]> {
      const read = device.read.bind(device);
      let count = 0;
      device.read = (view) => {
        count += view.length;
        return read(view);
      };
      const result = await work().finally(() => {
        device.read = read;
      });
      return [result, count];
    }

    const close = (found: ArrayLike<number>, wanted: ArrayLike<number>) => {
      expect(found.length).toBe(wanted.length);
      Array.from(found, (value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-4));
    };

    it('has the bag and the prediction of the CPU, from features that stay', { timeout: 300_000 }, async () => {
      const wanted = await run(onCpu, 'cpu', true);
      const { count } = wanted.bag;
      expect(count).toBeGreaterThan(32);
      const live = device.memory().live;
      const [found, reads] = await counting(() => run(onGpu, 'gpu', true));
      close(found.bag.features, wanted.bag.features);
      expect(found.bag.coords).toEqual(wanted.bag.coords);
      close(found.prediction!.logits, wanted.prediction!.logits);
      close(found.bag.scores.attention!, wanted.bag.scores.attention!);
      // Once for the file; then logits, scores, attention and whether all is finite.
      const results = 2 + 2 * count + 1;
      expect(reads).toBe(count * WIDTH + results);

      const [alone, fewReads] = await counting(() => run(onGpu, 'gpu-alone', false));
      expect(alone.bag.dimension).toBe(0);
      expect(alone.prediction!.logits).toEqual(found.prediction!.logits);
      expect(alone.bag.scores).toEqual(found.bag.scores);
      expect(fewReads).toBe(results);
      expect(device.memory().live, 'everything is given back').toBe(live);
    });

    it('leaves out patches over the limits on the device as well', { timeout: 300_000 }, async () => {
      const slide = await openSlide(join(folder, 'slide.tif'));
      const { signal } = new AbortController();
      const survey = await surveySlide(slide, 'slide', TILING, signal);
      const { measures } = await measureGrid(slide, survey, TILING, signal, () => {});
      await slide.close();
      const median = measures.focus.slice().sort()[measures.focus.length >> 1]!;
      const tiling = { ...TILING, minFocus: median };
      const [wanted, found] = [await run(onCpu, 'cpu-few', true, tiling), await run(onGpu, 'gpu-few', true, tiling)];
      expect(wanted.bag.count).toBe(Math.ceil(survey.grid.count / 2));
      close(found.bag.features, wanted.bag.features);
      expect(found.bag.coords).toEqual(wanted.bag.coords);
      close(found.prediction!.logits, wanted.prediction!.logits);
    });

    it('gives everything back when it fails', { timeout: 300_000 }, async () => {
      const live = device.memory().live;
      const onDevice = {
        device,
        encode: async () => {
          throw new Error('broken');
        },
      };
      const broken = { ...onGpu, encoder: { ...onGpu.encoder, onDevice } };
      await expect(run(broken, 'broken', true)).rejects.toThrow('broken');
      expect(device.memory().live).toBe(live);
    });
  },
);
