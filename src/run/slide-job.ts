/** The whole line for one slide: slide -> tissue -> patches -> bag -> prediction -> heatmap, as far as the parts given reach. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import type { BagMeta } from '../features/bag.ts';
import type { Encoder } from '../features/encoder.ts';
import { fitSlideStain, type SlideStain } from '../features/stain-normalise.ts';
import type { FeatureType, Scores } from '../features/store.ts';
import type { ReadableBag } from '../mil/predict.ts';
import type { PredictionResult, SlideResult } from '../mil/result.ts';
import { toGeoJson } from '../tiling/geojson.ts';
import { countExcluded, excludeFromGrid, type PatchGrid } from '../tiling/grid.ts';
import { holesOf } from '../tiling/holes.ts';
import { openSlide } from '../tiling/open-slide.ts';
import { PatchSieve } from '../tiling/patch-sieve.ts';
import { type PatchStreamBatch, patches } from '../tiling/patches.ts';
import { contradictsObjective } from '../tiling/physical-scale.ts';
import type { Slide } from '../tiling/slide.ts';
import { hashSlide } from '../tiling/slide-hash.ts';
import { encodeJpeg } from '../tiling/thumbnail.ts';
import type { Mpp } from '../units.ts';
import { VERSION } from '../version.ts';
import { type BagSink, type FinishedBag, heldBag, keptBag } from './bag-sink.ts';
import { deviceBag, encodingOn } from './device-bag.ts';
import { extractBag } from './extract-bag.ts';
import { drawHeatmap, encodePng } from './heatmap.ts';
import { LiveSlide } from './live-slide.ts';
import { patchTable } from './patch-table.ts';
import type { Predictor } from './predictor.ts';
import { drawPreview } from './preview.ts';
import { failureOf } from './slide-failure.ts';
import type { SlideInput } from './slide-inputs.ts';
import { type FileStamp, type FinishedSlide, type SlideRecord, stampOf } from './slide-record.ts';
import type { Stages } from './stages.ts';
import { Stations } from './station.ts';
import { measureGrid, type Survey, surveySlide, type TilingOptions } from './survey.ts';
import { makeFolder, writeJson, writeWhole } from './whole-file.ts';

/** How far the line goes: without an encoder to the grid, without a predictor to the bag. */
export interface Line {
  readonly encoder: Encoder | null;
  readonly predictor: Predictor | null;
}

export interface SlideOptions {
  /** Micrometres per level-0 pixel, over what the slide says; null leaves it to the slide. */
  readonly mpp: Mpp | null;
  readonly tiling: TilingOptions;
  readonly batchSize: number;
  readonly dtype: FeatureType;
  /** Whether the features stay on disk when the model has read them; without a model they always do. */
  readonly keepBags: boolean;
  /** Goes into `slide.json`, for the next run. */
  readonly configuration: string;
}

export interface SlideControl {
  readonly stages: Stages;
  /** Shared by slides that are on the line together. */
  readonly stations?: Stations;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, patches: number) => void;
  /** Whether a viewer can watch. */
  readonly live: boolean;
  /** Takes a part of the patches, to see how the whole would go. */
  readonly sample?: (grid: PatchGrid) => PatchGrid;
}

/** One slide on its way. */
interface Job {
  readonly input: SlideInput;
  readonly slide: Slide;
  /** Of the file before anything else was read of it. */
  readonly stamp: FileStamp | null;
  readonly hash: string;
  readonly survey: Survey;
  /** Null when the encoder takes the colours as they are. */
  readonly stain: SlideStain | null;
  /** Where the files are made. */
  readonly work: string;
  readonly line: Line;
  readonly options: SlideOptions;
  readonly control: SlideControl;
}

/** Its patches are being read already. */
interface PreparedJob extends Job {
  /** Null when nobody can watch. */
  readonly live: LiveSlide | null;
  readonly batches: AsyncGenerator<PatchStreamBatch, void, void>;
}

/** Only patches that are in the bag are left in its grid. */
interface ExtractedJob extends Job {
  /** Null when the line ends at the patches. */
  readonly bag: FinishedBag | null;
}

/**
 * Makes the files of a slide. After a failure, what was made by then is left to the caller.
 *
 * @param work a folder for them, which is made when the slide was opened.
 * @throws UserError whatever the stages throw; the signal's reason.
 */
export async function runSlide(
  input: SlideInput,
  work: string,
  line: Line,
  options: SlideOptions,
  given: SlideControl,
): Promise<FinishedSlide> {
  const control = { stations: new Stations(), ...given };
  const { stages, signal, stations } = control;
  const opened: (() => Promise<unknown>)[] = [];
  try {
    const prepared = await stations.prepare.run(async () => {
      signal.throwIfAborted();
      const slide = await stages.run('open', () => openSlide(input.source, givenScale(input, options)));
      opened.push(() => slide.close());
      await makeFolder(work);
      const stamp = await stampOf(input.source);
      const hash = await stages.run('open', () => hashSlide(input.source, signal));
      const found = await stages.run('tissue', () => surveySlide(slide, input.id, options.tiling, signal));
      const survey = { ...found, grid: control.sample?.(found.grid) ?? found.grid };
      const stain = await fitStain(input.id, slide, survey.grid, line.encoder, control);
      const all = patches(slide, survey.grid, { batchSize: options.batchSize, signal });
      const batches = line.encoder ? readAhead(all) : all;
      // Also what was asked for and never taken; a generator that has not begun would not see its own end.
      opened.push(() => Promise.allSettled([batches.return(), all.return()]));
      const job = { input, slide, stamp, hash, survey, stain, work, line, options, control };
      await stages.run('write', () => writeSurvey(job));
      return { ...job, batches, live: control.live && line.encoder ? await openLive(job) : null };
    });
    const extracted = await stations.extract.run(async (makeRoom) => {
      signal.throwIfAborted();
      const job = line.encoder ? await extract(prepared, line.encoder, makeRoom) : await measure(prepared);
      if (job.bag) opened.push(job.bag.close);
      requireReadable(prepared, job.survey.grid);
      return job;
    });
    return await stations.finish.run(async () => {
      signal.throwIfAborted();
      const { bag } = extracted;
      const predicted = line.predictor && bag && bag.count > 0 ? await predict(extracted, bag, line.predictor) : null;
      const prediction = predicted?.result ?? null;
      await prepared.live?.remove();
      const record = await stages.run('write', () => writeRecords(extracted, prediction, predicted?.warning ?? null));
      return { slide: record, prediction };
    });
  } finally {
    for (const close of opened.reverse()) await close();
  }
}

/** For whoever watches: what is known of the slide before its first patch is encoded. */
async function openLive(job: Job): Promise<LiveSlide> {
  const { work, survey, input, line, control } = job;
  const live = new LiveSlide({
    work,
    slide: slideResult(job, null),
    patches: survey.grid.count,
    label: input.label,
    predictor: line.predictor,
    model: control.stations!.model,
    signal: control.signal,
  });
  await live.begin();
  return live;
}

async function fitStain(
  name: string,
  slide: Slide,
  grid: PatchGrid,
  encoder: Encoder | null,
  { stages, signal }: SlideControl,
): Promise<SlideStain | null> {
  const plan = encoder?.stain;
  return plan ? await stages.run('stain', () => fitSlideStain(name, slide, grid, plan, signal)) : null;
}

/** The first patches are asked for at once, while the slide waits for the encoder; where none is wanted, nothing is read. */
function readAhead<T>(batches: AsyncGenerator<T, void, void>): AsyncGenerator<T, void, void> {
  const first = batches.next();
  // It is awaited later; until then its failure is not an unhandled one.
  first.catch(() => {});
  return (async function* () {
    try {
      const { value, done } = await first;
      if (done) return;
      yield value;
      yield* batches;
    } finally {
      await batches.return();
    }
  })();
}

/** Writes `coords.arrow`. */
async function measure(job: Job): Promise<ExtractedJob> {
  const { input, slide, hash, survey, work, options, control } = job;
  const { stages, signal } = control;
  const onProgress = (done: number) => control.onProgress(done, survey.grid.count);
  const { grid, measures } = await stages.run('measure', () =>
    measureGrid(slide, survey, options.tiling, signal, onProgress),
  );
  const { mpp, source } = slide.scale;
  const meta = {
    slideId: input.id,
    slideHash: hash,
    mpp,
    mppSource: source,
    patchPx: grid.patchPx,
    patchMpp: grid.mpp,
    patchLevel0Px: grid.level0Side,
    strideLevel0Px: grid.level0Stride,
    order: grid.order,
    version: VERSION,
  };
  await writeWhole(join(work, 'coords.arrow'), patchTable(grid, measures, meta));
  return { ...job, survey: { ...survey, grid }, bag: null };
}

/** Writes the bag, or holds it for the model. */
async function extract(job: PreparedJob, encoder: Encoder, onAllGiven: () => void): Promise<ExtractedJob> {
  const { work, survey, stain, options, control, batches, line, live } = job;
  const { grid } = survey;
  const { stages, signal } = control;
  const sieve = new PatchSieve(options.tiling, survey.inkBlock);
  const bag = await stages.run('extract', async () => {
    const path = join(work, 'bag.arrow');
    const meta = bagMeta(job, encoder);
    const keepFeatures = options.keepBags || !line.predictor;
    const sinkOptions = { encoder, dtype: options.dtype, most: grid.count, keepFeatures };
    const encoding = encodingOn(line.predictor?.device ?? null, sinkOptions);
    if (encoding) return await fill(await deviceBag(path, meta, encoding, sinkOptions));
    return await fill(await (keepFeatures ? keptBag : heldBag)(path, meta, sinkOptions));
  });

  return { ...job, survey: { ...survey, grid: excludeFromGrid(grid, sieve.excluded) }, bag };

  async function fill<Rows>(sink: BagSink<Rows>): Promise<FinishedBag> {
    try {
      const onProgress = async (done: number) => {
        control.onProgress(done, grid.count);
        await live?.hear(done, sink.count, () => {
          const { count, read } = sink;
          const { coords } = excludeFromGrid(grid, sieve.excluded);
          const meta = bagMeta(job, encoder);
          return { meta, dimension: encoder.dimension, count, read, coords: coords.subarray(0, 2 * count) };
        });
      };
      const recolouring = stain?.recolouring ?? null;
      await extractBag(grid, batches, sink, { sieve, recolouring, signal, onAllGiven, onProgress });
      return await sink.finish();
    } finally {
      await sink.abort();
    }
  }
}

/** @throws UserError `unreadable-slide` if it has patches and holes took all of them. */
function requireReadable({ input, slide, survey }: Job, left: PatchGrid): void {
  const { count } = survey.grid;
  if (count === 0 || countExcluded(left).unreadable !== count) return;
  const problem = `${input.source}: none of its ${count} patches can be read (${slide.unreadable[0]?.reason}).`;
  throw new UserError('unreadable-slide', problem, 'Copy or scan the slide again.');
}

/** @returns the prediction, and why there are no explanations of it if there are none although they were asked for. */
async function predict(
  job: Job,
  bag: FinishedBag,
  predictor: Predictor,
): Promise<{ result: PredictionResult; warning: string | null }> {
  const { input, hash, survey, work, control } = job;
  const { stages, signal } = control;
  const placed = { ...bag, coords: survey.grid.coords };
  const {
    result,
    scores,
    ranked,
    warning: moved,
  } = await stages.run('aggregate', () =>
    control.stations!.model.run(() => predictor.predict({ id: input.id, hash }, placed, input.label, signal)),
  );
  const { columns, warning } = await explain(placed, predictor, control);
  const added = { ...scores, ...columns };
  if (Object.keys(added).length > 0) await stages.run('write', () => bag.addScores(added));
  if (ranked) {
    await stages.run('heatmap', async () => {
      const { thumbnail, tissue, grid } = survey;
      const heatmap = drawHeatmap(thumbnail, tissue, { coords: grid.coords, scores: ranked, side: grid.level0Side });
      await writeWhole(join(work, 'heatmap.png'), await encodePng(heatmap));
    });
  }
  return { result, warning: [moved, warning].filter(Boolean).join(' ') || null };
}

/** A prediction does not fail for want of its explanation, which takes more memory than it. */
async function explain(
  bag: ReadableBag,
  predictor: Predictor,
  { stages, stations, signal }: SlideControl,
): Promise<{ columns: Scores; warning: string | null }> {
  signal.throwIfAborted();
  if (predictor.explains.length === 0) return { columns: {}, warning: null };
  try {
    const columns = await stages.run('explain', () => stations!.model.run(() => predictor.explain(bag)));
    return { columns, warning: null };
  } catch (error) {
    const { code, message, hint } = failureOf(error);
    if (code === 'fault') throw error;
    return { columns: {}, warning: `The prediction is not explained. ${message} ${hint}` };
  }
}

/** What does not wait for the patches. */
async function writeSurvey({ work, slide, survey: { thumbnail, tissue } }: Job): Promise<void> {
  await writeWhole(join(work, 'thumbnail.jpg'), await encodeJpeg(thumbnail));
  await writeWhole(join(work, 'tissue.geojson'), JSON.stringify(toGeoJson(tissue, slide.levels[0]!)));
}

/** What is small, at the end; `slide.json` last. */
async function writeRecords(
  job: Job,
  prediction: PredictionResult | null,
  warning: string | null,
): Promise<SlideRecord> {
  const { input, work, line, survey, slide, stamp, options, control } = job;
  const { tissue, thumbnail, grid } = survey;
  if (!line.encoder) {
    await writeWhole(join(work, 'preview.png'), await encodePng(drawPreview(thumbnail, tissue, grid, holesOf(slide))));
  }
  if (prediction) await writeJson(join(work, 'prediction.json'), prediction);
  const record: SlideRecord = {
    ...slideResult(job, warning),
    patient: input.patient,
    label: input.label,
    files: (await readdir(work)).sort(),
    seconds: roundedSeconds(control.stages),
    madeFrom: { configuration: options.configuration, file: stamp },
  };
  await writeJson(join(work, 'slide.json'), record);
  return record;
}

function roundedSeconds({ seconds }: Stages): SlideRecord['seconds'] {
  return Object.fromEntries(Object.entries(seconds).map(([stage, spent]) => [stage, Number(spent.toFixed(3))]));
}

/** The command line goes before the manifest, the manifest before the file. */
function givenScale(input: SlideInput, { mpp }: SlideOptions) {
  if (mpp !== null) return { mpp, mppSource: 'flag' as const };
  return input.mpp === null ? {} : { mpp: input.mpp, mppSource: 'manifest' as const };
}

function bagMeta({ input, slide, hash, survey }: Job, encoder: Encoder): BagMeta {
  const { grid } = survey;
  return {
    slideId: input.id,
    slideHash: hash,
    mpp: slide.scale.mpp,
    mppSource: slide.scale.source,
    patchMpp: grid.mpp,
    patchPx: grid.patchPx,
    patchLevel0Px: grid.level0Side,
    strideLevel0Px: grid.level0Stride,
    encoder: encoder.id,
    order: grid.order,
    version: VERSION,
  };
}

function slideResult(job: Job, warning: string | null): SlideResult {
  const { input, slide, hash, survey } = job;
  const { tissue, grid } = survey;
  // A pixel of level 0 is a level-0 pixel.
  const { width, height }: { width: number; height: number } = slide.levels[0]!;
  return {
    id: input.id,
    source: input.source,
    hash,
    format: slide.format,
    vendor: slide.vendor,
    mpp: slide.scale.mpp,
    mppSource: slide.scale.source,
    objectivePower: slide.objectivePower,
    width,
    height,
    levels: slide.levels.map(({ width, height, downsample, tileWidth, tileHeight }) => {
      return { width, height, downsample, tileWidth, tileHeight };
    }),
    tissueAreaUm2: tissue.areaUm2,
    patch: { px: grid.patchPx, level0Px: grid.level0Side, mpp: grid.mpp },
    nPatches: grid.count,
    leftOut: countExcluded(grid),
    unreadableTiles: slide.unreadable.length,
    holes: holesOf(slide),
    warnings: [...warnings(job), ...(warning ? [warning] : [])],
  };
}

/** Beyond it, patches have no more than a blurred copy of the slide's detail. */
const MOST_ENLARGED = 2.2;

function warnings({ slide, survey: { tissue, grid }, stain, options }: Job): string[] {
  const { scale, objectivePower, unreadable } = slide;
  const found: string[] = stain?.warning ? [stain.warning] : [];
  if (scale.source === 'objective') {
    found.push(
      `The file gives no micrometres per pixel; ${scale.mpp} was derived from its objective. Check it, or pass --mpp.`,
    );
  }
  if (scale.source === 'flag' && scale.mpp !== null && contradictsObjective(scale.mpp, objectivePower)) {
    found.push(`--mpp says ${scale.mpp} um/px, but the file names an objective of ${objectivePower}x.`);
  }
  const enlarged = scale.mpp !== null && grid.mpp !== null ? scale.mpp / grid.mpp : 1;
  if (enlarged > MOST_ENLARGED) {
    found.push(
      `Patches of ${grid.mpp} um/px are enlarged ${enlarged.toFixed(1)} times: the slide has ${scale.mpp} um/px. Ask for coarser ones with --target-mpp.`,
    );
  }
  if (grid.mpp === null) found.push('The scale of this slide is unknown; its patches are pixels of level 0.');
  const left = countExcluded(grid);
  if (!tissue.data.includes(1)) found.push('No tissue was found, so there is no prediction.');
  else if (grid.count === 0) {
    const reasons = Object.entries(left).map(([reason, count]) => `${count} ${reason}`);
    found.push(`There is tissue, but no patch is left to look at (${reasons.join(', ')}), so there is no prediction.`);
  }
  if (unreadable.length > 0) {
    const most = options.tiling.maxBadFraction;
    found.push(
      `${unreadable.length} stored tiles cannot be read; ${left.unreadable ?? 0} patches on them were left out${
        most > 0 ? `, those with up to ${most} of them missing were kept` : ''
      }.`,
    );
  }
  return found;
}
