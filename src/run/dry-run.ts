/** What a batch would take: the line itself over a sample of each slide's patches, in a temporary folder, and the rest by proportion. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PatchGrid, sliceGrid } from '../tiling/grid.ts';
import type { BatchOptions } from './batch.ts';
import { type Failure, failureOf } from './slide-failure.ts';
import { slideFolder } from './slide-folder.ts';
import type { SlideInput } from './slide-inputs.ts';
import { type Line, runSlide } from './slide-job.ts';
import { readFinished } from './slide-record.ts';
import { configurationHash } from './slide-run.ts';
import { Stages } from './stages.ts';
import { requireAreasPerSlide } from './survey.ts';

export interface Estimate {
  readonly input: SlideInput;
  /** In the run folder: there is nothing to do. */
  readonly finished: boolean;
  /** To be done: those that the slide has within the limits of the grid; null when it cannot be opened. */
  readonly patches: number | null;
  readonly sampled: number;
  readonly seconds: number | null;
  readonly bytes: number | null;
  readonly failure: Failure | null;
}

/** Neighbours, as patches come: enough for a rate, a second or two of work. */
const SAMPLE = 256;
/** Runs before the first sample: decoders start, code is compiled. */
const WARM_UP = 32;
/** Whose work grows with the patches. */
const PER_PATCH = ['measure', 'extract', 'aggregate', 'explain', 'heatmap'] as const;

/**
 * Nothing is written into `out`.
 * @throws UserError `one-area-file`; the signal's reason. A bad slide is an estimate with its failure.
 */
export async function estimateBatch(
  inputs: readonly SlideInput[],
  line: Line,
  options: Omit<BatchOptions, 'onEvent'>,
  onEstimate: (estimate: Estimate) => void,
): Promise<Estimate[]> {
  await requireAreasPerSlide(options.tiling.mask, inputs.length);
  await requireAreasPerSlide(options.tiling.roi, inputs.length);
  const folder = await mkdtemp(join(tmpdir(), 'lamina-dry-run-'));
  const estimates: Estimate[] = [];
  let isWarm = false;
  try {
    for (const input of inputs) {
      options.signal.throwIfAborted();
      const former = await estimateFinished(input, line, options);
      if (former) {
        estimates.push(former);
        onEstimate(former);
        continue;
      }
      if (!isWarm) isWarm = (await estimate(input, line, options, folder, WARM_UP)).failure === null;
      const found = await estimate(input, line, options, folder, SAMPLE);
      estimates.push(found);
      onEstimate(found);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return estimates;
}

/** Null when it is not finished. */
async function estimateFinished(
  input: SlideInput,
  line: Line,
  options: Omit<BatchOptions, 'onEvent'>,
): Promise<Estimate | null> {
  const configuration = await configurationHash(input, line, options);
  const former = await readFinished(slideFolder(options.out, input.id), input.source, configuration);
  return former && { input, finished: true, patches: 0, sampled: 0, seconds: 0, bytes: 0, failure: null };
}

async function estimate(
  input: SlideInput,
  line: Line,
  options: Omit<BatchOptions, 'onEvent'>,
  temporary: string,
  most: number,
): Promise<Estimate> {
  const { signal } = options;
  const stages = new Stages();
  let grid: PatchGrid | null = null;
  const sample = (whole: PatchGrid) => {
    grid = whole;
    const first = Math.max(0, Math.floor((whole.count - most) / 2));
    return sliceGrid(whole, first, first + most);
  };
  const control = { stages, signal, sample, live: false, onProgress: () => {} };
  const folder = join(temporary, input.id);
  try {
    await runSlide(input, folder, line, { ...options, configuration: '' }, control);
    const patches = grid!.count;
    const sampled = Math.min(most, patches);
    const share = sampled === 0 ? 0 : patches / sampled;
    const grows = (name: string) => (PER_PATCH as readonly string[]).includes(name);
    const seconds = Object.entries(stages.seconds).reduce((sum, [name, s]) => sum + s * (grows(name) ? share : 1), 0);
    return { input, finished: false, patches, sampled, seconds, bytes: await bytesOf(folder, share), failure: null };
  } catch (error) {
    signal.throwIfAborted();
    const failure = { stage: stages.current, ...failureOf(error) };
    return { input, finished: false, patches: null, sampled: 0, seconds: null, bytes: null, failure };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Tables have a row a patch; all other files are as large for few patches as for many. */
async function bytesOf(folder: string, share: number): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => {
    const { size } = await stat(join(folder, name));
    return name.endsWith('.arrow') ? size * share : size;
  });
  return Math.round((await Promise.all(sizes)).reduce((sum, size) => sum + size, 0));
}
