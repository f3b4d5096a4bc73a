/** A run folder as the pipeline writes it, with scores that the tests know. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import type { BagMeta } from '../../src/features/bag.ts';
import { addScores, createBagWriter } from '../../src/features/store.ts';
import type { PredictionResult, RunResult, SlideResult } from '../../src/mil/result.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { encodeJpeg, readThumbnail } from '../../src/tiling/thumbnail.ts';

export const PATCH = 256;

export interface SamplePatch {
  /** Level-0 px of the top-left corner. */
  readonly x: number;
  readonly y: number;
  readonly attention: number;
}

export interface SampleRun {
  readonly folder: string;
  /** The slide that everything is known of; its file. */
  readonly slidePath: string;
  readonly slide: SlideResult;
  readonly patches: readonly SamplePatch[];
  remove(): Promise<void>;
}

/** Size of the slide: odd, so that its levels (1500 x 1151, 750 x 575, 375 x 287) are not exact halves. */
const SIZE = { width: 3001, height: 2303 };

/**
 * Slides: `known` (synthetic, patches over its middle, scores rising from left to right and from top to bottom), `moved`
 * (its file is gone), `damaged` (its bag is), `failed` (only in failures.csv). The model is untrained.
 */
export async function writeSampleRun(): Promise<SampleRun> {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-viewer-'));
  const slidePath = join(folder, 'known.svs');
  await writeSyntheticSlide(slidePath, { seed: 7, widthPx: SIZE.width, heightPx: SIZE.height, tumour: true });
  const patches = samplePatches();
  const slide = await slideResult('known', slidePath, patches.length);

  const run = join(folder, 'run');
  await writeSlide(run, slide, patches);
  await writeThumbnail(slidePath, join(run, 'slides/known/thumbnail.jpg'));
  await writeSlide(
    run,
    { ...slide, id: 'moved', source: join(folder, 'gone.svs'), mpp: null, mppSource: 'none', tissueAreaUm2: null },
    patches,
  );
  await writeSlide(run, { ...slide, id: 'damaged' }, patches);
  await writeFile(join(run, 'slides/damaged/bag.arrow'), 'ARROW1 but no more');

  const model = { ...MODEL, classes: CLASSES, encoder: 'test@1' };
  await writeJson(join(run, 'run.json'), {
    version: '0.1.0',
    startedAt: '2026-01-01T10:00:00Z',
    finishedAt: '2026-01-01T10:01:00Z',
    configuration: {},
    device: 'wasm',
    encoder: { id: 'test@1', device: 'cpu' },
    model,
    hashes: {},
    timings: {},
  } satisfies RunResult);
  await writeFile(
    join(run, 'summary.csv'),
    'slide,patient,status,n_patches,normal,tumour,prediction,label\nknown,"Doe, ""J""",done,20,0.125,0.875,tumour,\n',
  );
  await writeFile(
    join(run, 'failures.csv'),
    'slide,stage,code,message,hint\nfailed,open,not-a-slide,"failed.svs is empty, or so.",Copy it again.\n',
  );
  return { folder: run, slidePath, slide, patches, remove: () => rm(folder, { recursive: true, force: true }) };
}

const CLASSES = ['normal', 'tumour'];
const MODEL = { name: 'sample', hash: 'sha256:0', type: 'lbmamba', trained: false };

/** 5 x 4 patches, with a hole where one could be, each with a score of its own. */
function samplePatches(): SamplePatch[] {
  return Array.from({ length: 20 }, (_, i) => ({ column: i % 5, row: Math.floor(i / 5), attention: (i + 1) / 210 }))
    .filter(({ column, row }) => !(column === 3 && row === 2))
    .map(({ column, row, attention }) => ({ x: 512 + column * PATCH, y: 512 + row * PATCH, attention }));
}

async function slideResult(id: string, path: string, nPatches: number): Promise<SlideResult> {
  const slide = await openSlide(path);
  try {
    return {
      id,
      source: resolve(path),
      hash: 'sha256:5a3c0ffee',
      format: slide.format,
      vendor: slide.vendor,
      mpp: slide.scale.mpp,
      mppSource: slide.scale.source,
      objectivePower: slide.objectivePower,
      ...SIZE,
      levels: slide.levels,
      tissueAreaUm2: 1.25e6,
      patch: { px: PATCH, level0Px: PATCH, mpp: 0.5 },
      nPatches,
      leftOut: {},
      unreadableTiles: 0,
      holes: [],
      warnings: ['Written by a test.'],
    };
  } finally {
    await slide.close();
  }
}

async function writeSlide(run: string, slide: SlideResult, patches: readonly SamplePatch[]): Promise<void> {
  const folder = join(run, 'slides', slide.id);
  await mkdir(folder, { recursive: true });
  await writeJson(join(folder, 'slide.json'), slide);
  await writeJson(join(folder, 'prediction.json'), {
    slideId: slide.id,
    slideHash: slide.hash,
    model: MODEL,
    classes: CLASSES,
    logits: [-1, 0.95],
    probabilities: [0.125, 0.875],
    prediction: 'tumour',
    label: null,
    device: 'wasm',
  } satisfies PredictionResult);
  await writeJson(join(folder, 'tissue.geojson'), tissue(patches));
  await writeBag(join(folder, 'bag.arrow'), slide, patches);
}

async function writeBag(path: string, slide: SlideResult, patches: readonly SamplePatch[]): Promise<void> {
  const meta: BagMeta = {
    slideId: slide.id,
    slideHash: slide.hash,
    mpp: slide.mpp,
    mppSource: slide.mppSource,
    patchMpp: slide.patch.mpp,
    patchPx: slide.patch.px,
    patchLevel0Px: slide.patch.level0Px,
    encoder: 'test@1',
    order: 'row-major',
    version: '0.1.0',
  };
  const writer = await createBagWriter(path, meta, { dimension: 2, dtype: 'f32' });
  await writer.append(new Float32Array(2 * patches.length), Int32Array.from(patches.flatMap(({ x, y }) => [x, y])));
  await writer.finish();
  const attention = Float32Array.from(patches, (patch) => patch.attention);
  await addScores(path, { attention_raw: attention.map(Math.log), attention });
}

/** The box around the patches. */
function tissue(patches: readonly SamplePatch[]) {
  const [left, top] = [Math.min(...patches.map(({ x }) => x)), Math.min(...patches.map(({ y }) => y))];
  const right = Math.max(...patches.map(({ x }) => x)) + PATCH;
  const bottom = Math.max(...patches.map(({ y }) => y)) + PATCH;
  const ring = [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
    [left, top],
  ];
  const geometry = { type: 'Polygon', coordinates: [ring] };
  return { type: 'FeatureCollection', features: [{ type: 'Feature', properties: {}, geometry }] };
}

async function writeThumbnail(slidePath: string, path: string): Promise<void> {
  const slide = await openSlide(slidePath);
  try {
    await writeFile(path, await encodeJpeg(await readThumbnail(slide, 512)));
  } finally {
    await slide.close();
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, JSON.stringify(value));
}
