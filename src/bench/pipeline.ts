/**
 * `lamina bench pipeline`: whether decoding, encoding and aggregating overlap, also from one slide to the next, and how long a
 * finished run takes to say that it is finished.
 *
 * The parts are timed alone first: all patches read, ready patches encoded, whole bags aggregated. The line over the same slides
 * should hardly take longer than the slowest of them. Where decoder and encoder want the same cores they cannot both be had for
 * one, whatever the order; so the line is timed also with an encoder that computes elsewhere, as a GPU does, and here only waits.
 */
import { copyFile, link, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Encoder } from '../features/encoder.ts';
import { openEncoder } from '../features/open-encoder.ts';
import { openBag, readBag } from '../features/store.ts';
import { openDevice } from '../kernels/open-device.ts';
import { createRandomModel } from '../mil/create-model.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { saveModel } from '../mil/model-folder.ts';
import { type BatchOptions, runBatch } from '../run/batch.ts';
import { openPredictor, type Predictor } from '../run/predictor.ts';
import type { SlideInput } from '../run/slide-inputs.ts';
import type { Line } from '../run/slide-job.ts';
import { plainTiling, surveySlide } from '../run/survey.ts';
import { openSlide } from '../tiling/open-slide.ts';
import { patches } from '../tiling/patches.ts';
import { configOf } from './bench-model.ts';
import { WrongResult } from './check.ts';
import { type Report, type Result, resultOf, withoutMarks } from './result.ts';

export interface PipelineOptions {
  /** Slide files, at least two. */
  readonly slides: readonly string[];
  /** Null for the built-in one. */
  readonly encoder?: string | null;
  readonly threads?: number | undefined;
  /** Small: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly signal: AbortSignal;
  readonly say?: (what: string) => void;
}

const BATCH = 64;
/** The line against its slowest part. */
const MOST_OVERHEAD = 1.15;
/** How much slower than the decoder the encoder that only waits is. */
const WAITS = 1.2;
/** Seconds for a thousand finished slides. */
const RESUME_SECONDS = 5;

/** @throws WrongResult when the line makes other features than the encoder alone. */
export async function benchPipeline(options: PipelineOptions): Promise<Report> {
  const { slides, quick = false, signal, say = () => {} } = options;
  const folder = await mkdtemp(join(tmpdir(), 'lamina-pipeline-'));
  const encoder = await openEncoder(options.encoder ?? 'stain-texture');
  const predictor = await openBenchPredictor(join(folder, 'model'), encoder, options.threads ?? null);
  try {
    const inputs = slides.map(inputOf);
    const bench = { folder, inputs, signal, say };

    say('once through, to warm up and to check');
    const line = { encoder, predictor };
    await runLine(bench, 'first', line);
    await requireSameFeatures(join(folder, 'first'), inputs[0]!, encoder, signal);

    say('patches read');
    const decoded = await decodeAlone(bench, encoder);
    say('patches encoded');
    const encoding = await encodeAlone(bench, encoder, decoded.patches);
    say('bags aggregated');
    const aggregating = await aggregateAlone(bench, predictor);
    say('the line');
    const whole = await runLine(bench, 'whole', line);
    say('the line, with an encoder that waits');
    const waitSeconds = (WAITS * decoded.seconds) / decoded.patches;
    const waiting = await runLine(bench, 'waiting', { encoder: waitingEncoder(encoder, waitSeconds), predictor });

    const slowest = Math.max(decoded.seconds, encoding, aggregating);
    const mark = { least: 1 / MOST_OVERHEAD };
    const what = `${inputs.length} slides, ${decoded.patches} patches`;
    const results: Result[] = [
      resultOf(`decode alone, ${what}`, decoded.seconds, 's'),
      resultOf('encode alone', encoding, 's'),
      resultOf('aggregate alone', aggregating, 's'),
      resultOf('the line, against its slowest part', whole.seconds, 's', { baseline: slowest, mark }),
      resultOf('the least for it: its processor time, shared by all cores', whole.processorSeconds, 's'),
      resultOf('the line with an encoder off the processor, against it', waiting.seconds, 's', {
        baseline: waitSeconds * decoded.patches,
        mark,
      }),
      resultOf('its processor time, shared by all cores', waiting.processorSeconds, 's'),
    ];
    const count = quick ? 50 : 1000;
    say(`a run of ${count} finished slides`);
    const resume = await resumeFinished(bench, line, count);
    results.push(resultOf(`resume over ${count} finished slides`, resume, 's', { mark: { most: RESUME_SECONDS } }));
    return { device: predictor.deviceName, notes: [], results: quick ? withoutMarks(results) : results };
  } finally {
    await Promise.all([encoder.close(), predictor.close()]);
    await rm(folder, { recursive: true, force: true });
  }
}

interface Bench {
  readonly folder: string;
  readonly inputs: readonly SlideInput[];
  readonly signal: AbortSignal;
}

function inputOf(path: string): SlideInput {
  const id = basename(path).replace(/\.[^.]*$/, '');
  return { id, source: path, patient: null, label: null, split: null, site: null, mpp: null };
}

const TILING = plainTiling();

interface Spent {
  readonly seconds: number;
  /** Of all threads, over the cores there are: no order of the work takes less. */
  readonly processorSeconds: number;
}

async function runLine(bench: Bench, name: string, line: Line): Promise<Spent> {
  const start = performance.now();
  const before = process.cpuUsage();
  await runBatch(bench.inputs, line, batchOptions(bench, name));
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, processorSeconds: (user + system) / 1e6 / availableParallelism() };
}

function batchOptions({ folder, signal }: Bench, name: string): BatchOptions {
  return {
    out: join(folder, name),
    mpp: null,
    tiling: TILING,
    batchSize: BATCH,
    dtype: 'f16',
    keepBags: true,
    live: true,
    retries: 0,
    failFast: true,
    asked: {},
    signal,
    onEvent(event) {
      if (event.kind === 'end' && event.outcome.error) throw event.outcome.error;
    },
  };
}

async function openBenchPredictor(folder: string, encoder: Encoder, threads: number | null): Promise<Predictor> {
  const device = await openDevice('wasm', { threads: 1 });
  try {
    const config = configOf({ type: 'lbmamba', input: encoder.dimension, width: 256 });
    const origin = { name: 'bench', task: 'classification', encoder: encoder.id, order: 'row-major', trained: false };
    const unknown = { patchMpp: null, patchPx: null, trainingDataHash: null, metrics: null, version: null };
    const card = { ...config, ...origin, ...unknown } as ModelCard;
    const { parameters } = createRandomModel(device, card, { seed: 1 });
    await saveModel(folder, card, parameters);
  } finally {
    await device.close();
  }
  return await openPredictor(folder, { modelType: null, device: 'auto', threads });
}

/** Opened, searched for tissue and all patches cut, as the line does it, and thrown away. */
async function decodeAlone({ inputs, signal }: Bench, encoder: Encoder) {
  const start = performance.now();
  let count = 0;
  for (const { id, source } of inputs) {
    const slide = await openSlide(source);
    try {
      const { grid } = await surveySlide(
        slide,
        id,
        { ...TILING, patchPx: encoder.input.size ?? TILING.patchPx },
        signal,
      );
      for await (const batch of patches(slide, grid, { batchSize: BATCH, signal })) {
        count += batch.count;
        batch.release();
      }
    } finally {
      await slide.close();
    }
  }
  return { seconds: (performance.now() - start) / 1000, patches: count };
}

/** So many patches, out of batches that lie ready; two are in the encoder's hands, as in the line. */
async function encodeAlone({ inputs, signal }: Bench, encoder: Encoder, count: number): Promise<number> {
  const ready = await readyBatches(inputs[0]!, signal, 8);
  const start = performance.now();
  const underWay: Promise<unknown>[] = [];
  for (let done = 0, i = 0; done < count; i++) {
    const batch = ready[i % ready.length]!;
    underWay.push(encoder.encode(batch, signal));
    done += batch.count;
    if (underWay.length === 2) await underWay.shift();
  }
  await Promise.all(underWay);
  return (performance.now() - start) / 1000;
}

async function readyBatches({ id, source }: SlideInput, signal: AbortSignal, most: number) {
  const slide = await openSlide(source);
  const ready: { pixels: Uint8Array; count: number; size: number }[] = [];
  try {
    const { grid } = await surveySlide(slide, id, TILING, signal);
    // Batches that are not released keep their memory.
    for await (const { pixels, count, size } of patches(slide, grid, { batchSize: BATCH, signal })) {
      ready.push({ pixels, count, size });
      if (ready.length === most) break;
    }
    return ready;
  } finally {
    await slide.close();
  }
}

async function aggregateAlone({ folder, inputs, signal }: Bench, predictor: Predictor): Promise<number> {
  const start = performance.now();
  for (const { id } of inputs) {
    const bag = await openBag(join(folder, 'first', 'slides', id, 'bag.arrow'));
    await predictor.predict({ id, hash: '' }, bag, null, signal);
    await bag.close();
  }
  return (performance.now() - start) / 1000;
}

/** The numbers of an encoder, after a time that no core of this machine has to spend. */
function waitingEncoder(encoder: Encoder, secondsPerPatch: number): Encoder {
  let free = performance.now();
  return {
    ...encoder,
    async encode({ count }) {
      free = Math.max(free, performance.now()) + 1000 * secondsPerPatch * count;
      await sleep(free - performance.now());
      return new Float32Array(count * encoder.dimension).fill(0.5);
    },
    close: async () => {},
  };
}

async function requireSameFeatures(
  out: string,
  input: SlideInput,
  encoder: Encoder,
  signal: AbortSignal,
): Promise<void> {
  const bag = await readBag(join(out, 'slides', input.id, 'bag.arrow'));
  const [batch] = await readyBatches(input, signal, 1);
  const expected = await encoder.encode(batch!, signal);
  for (let i = 0; i < expected.length; i++) {
    // Stored as f16.
    if (Math.abs(bag.features[i]! - expected[i]!) <= 1e-3 * Math.max(1, Math.abs(expected[i]!))) continue;
    throw new WrongResult(`the line's feature ${i} of ${input.id} is ${bag.features[i]}, the encoder's ${expected[i]}`);
  }
}

/** A run folder of many copies of one finished slide, each with a file of its own, run again. */
async function resumeFinished(bench: Bench, line: Line, count: number): Promise<number> {
  const [first] = bench.inputs;
  const from = join(bench.folder, 'whole', 'slides', first!.id);
  const record = await readFile(join(from, 'slide.json'), 'utf8');
  const out = join(bench.folder, 'many');
  const sources = join(bench.folder, 'sources');
  await mkdir(sources);
  const inputs: SlideInput[] = [];
  const names = ['tissue.geojson', 'thumbnail.jpg', 'bag.arrow', 'prediction.json', 'heatmap.png'];
  for (let i = 0; i < count; i++) {
    const input = { ...first!, id: `copy-${i}`, source: join(sources, `copy-${i}.tif`) };
    // The same file under another name has the same size and time, by which a finished slide is known again.
    await link(first!.source, input.source).catch(() => copyFile(first!.source, input.source));
    const { mtimeMs, size } = await stat(input.source);
    const folder = join(out, 'slides', input.id);
    await mkdir(folder, { recursive: true });
    await Promise.all(names.map((name) => link(join(from, name), join(folder, name))));
    const madeFrom = { ...JSON.parse(record).madeFrom, file: { bytes: size, modified: mtimeMs } };
    const own = { ...JSON.parse(record), id: input.id, source: input.source, madeFrom };
    await writeFile(join(folder, 'slide.json'), JSON.stringify(own));
    inputs.push(input);
  }
  const start = performance.now();
  const outcomes = await runBatch(inputs, line, batchOptions(bench, 'many'));
  const seconds = (performance.now() - start) / 1000;
  const again = outcomes.filter(({ skipped }) => !skipped);
  if (outcomes.length !== count || again.length > 0) {
    throw new WrongResult(`${again.length} of ${outcomes.length} finished slides were run again`);
  }
  const rows = (await readFile(join(out, 'summary.csv'), 'utf8')).trim().split('\n').length - 1;
  if (rows !== count) throw new WrongResult(`the summary of ${count} slides has ${rows} rows`);
  return seconds;
}
