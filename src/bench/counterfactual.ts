/** Runs for the counterfactual of the viewer: a slide of many patches, and a model that has read it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BagMeta } from '../features/bag.ts';
import { createBagWriter, readBag } from '../features/store.ts';
import { openDevice } from '../kernels/open-device.ts';
import { createRandomModel } from '../mil/create-model.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { saveModel } from '../mil/model-folder.ts';
import type { SlideResult } from '../mil/result.ts';
import { openPredictor } from '../run/predictor.ts';
import { VERSION } from '../version.ts';
import { configOf } from './bench-model.ts';
import { WrongResult } from './check.ts';
import { uniform } from './kernel-case.ts';

export interface CounterfactualCase {
  readonly patches: number;
  readonly width: number;
  readonly layers: number;
}

const FEATURES = 1024;
const SIDE = 128;
const COLUMNS = 150;

/** Writes `folder` with one slide, `bench`, and its model; the picture is of no matter. */
export async function writeCounterfactualRun(
  folder: string,
  slide: Partial<SlideResult>,
  { patches, width, layers }: CounterfactualCase,
): Promise<void> {
  const model = join(folder, 'model');
  const device = await openDevice('wasm');
  const card: ModelCard = {
    ...configOf({ type: 'lbmamba', input: FEATURES, width }),
    layers,
    name: `lbmamba d=${width}, ${layers} layers, untrained`,
    task: 'classification',
    encoder: null,
    patchMpp: null,
    patchPx: null,
    order: 'row-major',
    trained: false,
    trainingDataHash: null,
    metrics: null,
    version: VERSION,
  };
  const { parameters } = createRandomModel(device, card, { seed: 1 });
  await saveModel(model, card, parameters);
  await device.close();

  const out = join(folder, 'run/slides/bench');
  await mkdir(out, { recursive: true });
  const meta: BagMeta = {
    slideId: 'bench',
    slideHash: 'head:bench',
    mpp: 0.5,
    mppSource: 'file',
    patchMpp: 0.5,
    patchPx: SIDE,
    patchLevel0Px: SIDE,
    encoder: 'none',
    order: 'row-major',
    version: VERSION,
  };
  const bag = join(out, 'bag.arrow');
  const writer = await createBagWriter(bag, meta, { dimension: FEATURES, dtype: 'f32' });
  for (let first = 0; first < patches; first += 1000) {
    const rows = Math.min(1000, patches - first);
    const coords = Int32Array.from({ length: 2 * rows }, (_, i) => {
      const patch = first + (i >> 1);
      return SIDE * (i % 2 === 0 ? patch % COLUMNS : Math.floor(patch / COLUMNS));
    });
    await writer.append(Float32Array.from(uniform(first + 1, rows * FEATURES)), coords);
  }
  await writer.finish();
  const predictor = await openPredictor(model, { modelType: null, device: 'wasm', threads: null });
  const { features } = await readBag(bag);
  const read = async (first: number, count: number) => features.subarray(first * FEATURES, (first + count) * FEATURES);
  const source = { meta, count: patches, dimension: FEATURES, read };
  const signal = new AbortController().signal;
  const { result } = await predictor.predict({ id: 'bench', hash: 'head:bench' }, source, null, signal);
  await predictor.close();
  await writeFile(
    join(out, 'slide.json'),
    JSON.stringify({ ...slide, nPatches: patches, patch: { px: SIDE, level0Px: SIDE, mpp: 0.5 } }),
  );
  await writeFile(join(out, 'prediction.json'), JSON.stringify(result));
  const run = { version: VERSION, startedAt: new Date().toISOString(), configuration: { model } };
  await writeFile(join(folder, 'run/run.json'), JSON.stringify(run));
}

/** Milliseconds from the lasso to the new probability as the page sees it, round after round; the first loads the bag. */
export async function timeCounterfactual(address: string, patches: number, rounds: number): Promise<number[]> {
  const url = new URL('api/slides/bench/counterfactual', address);
  const headers = { 'content-type': 'application/json', 'x-lamina': '1' };
  const times: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const [width, height] = [10 * SIDE, (10 + round) * SIDE];
    const ring = [
      [0, 0],
      [width, 0],
      [width, height],
      [0, height],
    ];
    const start = performance.now();
    const body = JSON.stringify({ mode: 'erase', rings: [ring] });
    const answer = (await (await fetch(url, { method: 'POST', headers, body })).json()) as { kept?: number };
    times.push(performance.now() - start);
    const expected = patches - 10 * (10 + round);
    if (answer.kept !== expected) throw new WrongResult(`the model read ${answer.kept} patches, not ${expected}`);
  }
  return times.slice(1);
}
