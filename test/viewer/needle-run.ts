/** A run of one synthetic slide with tumour nests whose outlines are known, and a model that counts the patches in them. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import type { BagMeta } from '../../src/features/bag.ts';
import { addScores, createBagWriter, readBag } from '../../src/features/store.ts';
import { openDevice } from '../../src/kernels/open-device.ts';
import { createRandomModel } from '../../src/mil/create-model.ts';
import type { ModelCard } from '../../src/mil/model-card.ts';
import { saveModel } from '../../src/mil/model-folder.ts';
import type { SlideResult } from '../../src/mil/result.ts';
import { openPredictor } from '../../src/run/predictor.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { encodeJpeg, readThumbnail } from '../../src/tiling/thumbnail.ts';

export interface NeedleRun {
  readonly folder: string;
  /** Outlines of all nests, level-0 px. */
  readonly nests: readonly (readonly [number, number][])[];
  /** The largest. */
  readonly nest: [number, number][];
  readonly patches: readonly { readonly x: number; readonly y: number; readonly inNest: boolean }[];
  readonly slide: SlideResult;
  remove(): Promise<void>;
}

export const NEEDLE_SIDE = 96;
const SIZE = { width: 3072, height: 2304 };
const DIMENSION = 8;

export const NEEDLE_MODEL: ModelCard = {
  name: 'mean of one feature',
  type: 'mean',
  task: 'classification',
  classes: ['normal', 'tumour'],
  input: DIMENSION,
  width: 4,
  attention: 2,
  dropout: 0,
  encoder: 'test@1',
  patchMpp: null,
  patchPx: null,
  order: 'row-major',
  trained: true,
  trainingDataHash: null,
  metrics: null,
  version: null,
};

/** Slides `needle` and `second` (the same file under another name, so that a review has two). */
export async function writeNeedleRun(): Promise<NeedleRun> {
  const at = await mkdtemp(join(tmpdir(), 'lamina-needle-'));
  const source = join(at, 'needle.svs');
  const options = { seed: 3, widthPx: SIZE.width, heightPx: SIZE.height, tumour: true };
  const { nests } = await writeSyntheticSlide(source, options);
  const model = join(at, 'model');
  await writeModel(model);

  const patches = grid().map(([x, y]) => {
    const inNest = nests.some((nest) => isInside(nest, x + NEEDLE_SIDE / 2, y + NEEDLE_SIDE / 2));
    return { x, y, inNest };
  });
  const folder = join(at, 'run');
  const slide = await slideResult('needle', source, patches.length);
  for (const id of ['needle', 'second']) {
    const out = join(folder, 'slides', id);
    await mkdir(out, { recursive: true });
    const bag = join(out, 'bag.arrow');
    await writeBag(bag, id, patches);
    await writeJson(join(out, 'slide.json'), { ...slide, id });
    await writeJson(join(out, 'prediction.json'), await prediction(model, id, bag));
    const file = await openSlide(source);
    await writeFile(join(out, 'thumbnail.jpg'), await encodeJpeg(await readThumbnail(file, 512)));
    await file.close();
  }
  await writeJson(join(folder, 'run.json'), {
    version: '0.1.0',
    startedAt: '2026-01-01T10:00:00Z',
    finishedAt: '2026-01-01T10:01:00Z',
    configuration: { model },
    device: 'wasm',
    encoder: null,
    model: null,
    hashes: {},
    timings: {},
  });
  const nest = nests.toSorted((a, b) => extent(b) - extent(a))[0]!;
  return { folder, nests, nest, patches, slide, remove: () => rm(at, { recursive: true, force: true }) };
}

export function isInside(ring: readonly (readonly [number, number])[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, before = ring.length - 1; i < ring.length; before = i++) {
    const [[ax, ay], [bx, by]] = [ring[before]!, ring[i]!];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  }
  return inside;
}

function extent(ring: readonly (readonly [number, number])[]): number {
  const xs = ring.map(([x]) => x);
  return Math.max(...xs) - Math.min(...xs);
}

function grid(): [number, number][] {
  const [columns, rows] = [SIZE.width / NEEDLE_SIDE, SIZE.height / NEEDLE_SIDE];
  return Array.from({ length: columns * rows }, (_, i) => [
    (i % columns) * NEEDLE_SIDE,
    Math.floor(i / columns) * NEEDLE_SIDE,
  ]);
}

/** Of random weights the ones are taken with which a nest speaks for a tumour. */
async function writeModel(folder: string): Promise<void> {
  for (let seed = 1; ; seed++) {
    const device = await openDevice('wasm', { threads: 1 });
    const { parameters } = createRandomModel(device, NEEDLE_MODEL, { seed });
    await saveModel(folder, NEEDLE_MODEL, parameters);
    await device.close();
    const predictor = await openPredictor(folder, { modelType: null, device: 'wasm', threads: 1 });
    const share = async (inNest: boolean) => {
      const features = Float32Array.from(featuresOf(inNest));
      const meta = bagMeta('test');
      const read = async () => features;
      const bag = { meta, count: 1, dimension: DIMENSION, features, coords: Int32Array.of(0, 0), read };
      const { result } = await predictor.predict({ id: 'test', hash: 'x' }, bag, null, new AbortController().signal);
      return result.probabilities[1]!;
    };
    const rises = (await share(true)) > (await share(false)) + 0.2;
    await predictor.close();
    if (rises) return;
  }
}

function featuresOf(inNest: boolean): number[] {
  return Array.from({ length: DIMENSION }, (_, d) => (d === 0 && inNest ? 20 : 0.1 * d));
}

function bagMeta(id: string): BagMeta {
  return {
    slideId: id,
    slideHash: 'sha256:needle',
    mpp: 0.5,
    mppSource: 'file',
    patchMpp: 0.5,
    patchPx: NEEDLE_SIDE,
    patchLevel0Px: NEEDLE_SIDE,
    encoder: 'test@1',
    order: 'row-major',
    version: '0.1.0',
  };
}

async function writeBag(path: string, id: string, patches: NeedleRun['patches']): Promise<void> {
  const writer = await createBagWriter(path, bagMeta(id), { dimension: DIMENSION, dtype: 'f32' });
  const features = Float32Array.from(patches.flatMap(({ inNest }) => featuresOf(inNest)));
  await writer.append(features, Int32Array.from(patches.flatMap(({ x, y }) => [x, y])));
  await writer.finish();
  const attention = Float32Array.from(patches, ({ inNest }) => (inNest ? 1 : 0));
  await addScores(path, { attention, class_evidence_tumour: attention.map((value) => 2 * value - 0.5) });
}

async function prediction(model: string, id: string, bagPath: string) {
  const predictor = await openPredictor(model, { modelType: null, device: 'wasm', threads: 1 });
  const bag = await readBag(bagPath);
  const read = async (first: number, count: number) =>
    bag.features.subarray(first * DIMENSION, (first + count) * DIMENSION);
  const signal = new AbortController().signal;
  const { result } = await predictor.predict({ id, hash: 'sha256:needle' }, { ...bag, read }, 'tumour', signal);
  await predictor.close();
  return result;
}

async function slideResult(id: string, source: string, nPatches: number): Promise<SlideResult> {
  const slide = await openSlide(source);
  try {
    return {
      id,
      source,
      hash: 'sha256:needle',
      format: slide.format,
      vendor: slide.vendor,
      mpp: slide.scale.mpp,
      mppSource: slide.scale.source,
      objectivePower: slide.objectivePower,
      ...SIZE,
      levels: slide.levels,
      tissueAreaUm2: null,
      patch: { px: NEEDLE_SIDE, level0Px: NEEDLE_SIDE, mpp: 0.5 },
      nPatches,
      leftOut: { blurred: 3 },
      unreadableTiles: 1,
      holes: [{ x: 256, y: 1792, width: 256, height: 256 }],
      warnings: [],
    };
  } finally {
    await slide.close();
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, JSON.stringify(value));
}
