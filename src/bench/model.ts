/** `lamina bench model`: whole models on bags of random numbers, checked first, beside PyTorch where it is installed. */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { built } from '../built.ts';
import { UserError } from '../errors.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import { type BlockType, blockTypes } from '../mil/mamba-block.ts';
import type { ModelShape } from './bench-model.ts';
import { WrongResult } from './check.ts';
import { lastJson } from './child.ts';
import type { Failure } from './model-child.ts';
import type { Measurement, ModelJob, Outcome } from './model-job.ts';
import { findPeer, type Peer, type PeerFigure } from './peer.ts';
import { type Limit, type Report, type Result, resultOf, withoutMarks } from './result.ts';
import { bestOf } from './timing.ts';

/**
 * `forward` and `train`: a bag of 10,000 patches, all layer types. `small`: many bags of a few instances, in the layout of MUSK1.
 * `length`: inference in pieces, 1,000 to 1,000,000 patches. `memory`: a training step over 50,000 patches, layers
 * computed again on the way back.
 */
export const modelParts = ['forward', 'train', 'small', 'length', 'memory'] as const;
export type ModelPart = (typeof modelParts)[number];

export interface ModelOptions {
  readonly parts?: readonly ModelPart[];
  readonly device?: DeviceChoice;
  readonly threads?: number;
  /** Folder of the PyTorch programs. */
  readonly peer: string;
  /** Small sizes: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly say?: (what: string) => void;
  readonly signal?: AbortSignal;
}

interface Sizes {
  readonly input: number;
  readonly width: number;
  /** Patches of `forward` and `train`, and rounds. */
  readonly patches: number;
  readonly repeats: number;
  /** Patches of `length`; the last is compared with the second. */
  readonly lengths: readonly number[];
  /** Patches of `memory`. */
  readonly large: number;
  readonly epochs: number;
}

const fullSizes: Sizes = {
  input: 1024,
  width: 512,
  patches: 10_000,
  repeats: 3,
  lengths: [1_000, 10_000, 100_000, 1_000_000],
  large: 50_000,
  epochs: 10,
};

const quickSizes: Sizes = {
  input: 32,
  width: 32,
  patches: 200,
  repeats: 2,
  lengths: [100, 1_000, 5_000],
  large: 400,
  epochs: 1,
};

/** What every part works with. */
interface Bench {
  readonly sizes: Sizes;
  readonly threads: number;
  readonly peer: Peer | null;
  readonly say: (what: string) => void;
  /** Measures in a process of its own, after a check of the model in another. Threads: those of the bench, or others. */
  measure(what: Measurement, threads?: number): Promise<Outcome>;
}

const parts: Readonly<Record<ModelPart, (bench: Bench) => Promise<Result[]>>> = {
  forward: (bench) => longBags(bench, 'forward'),
  train: (bench) => longBags(bench, 'train'),
  small: smallBags,
  length: lengths,
  memory,
};

/** @throws WrongResult before anything is timed that is wrong. */
export async function benchModel(options: ModelOptions): Promise<Report> {
  const { quick = false, say = () => {}, signal, device = 'auto' } = options;
  const threads = options.threads ?? availableParallelism();
  const found = await findPeer(options.peer, signal);
  const [peer, notes] = typeof found === 'string' ? [null, [found]] : [found, []];
  let deviceName = '';
  const checked = new Set<string>();
  const run = async (job: ModelJob): Promise<Outcome> => {
    say([job.type, job.task, 'patches' in job ? `${job.patches} patches` : ''].join(' ').trim());
    const program = fileURLToPath(built('./model-child.js', import.meta.url));
    const outcome = await lastJson<Outcome | Failure>(process.execPath, [program, JSON.stringify(job)], { signal });
    if ('failure' in outcome) throw errorOf(outcome);
    deviceName = outcome.device;
    return outcome;
  };
  const bench: Bench = {
    sizes: quick ? quickSizes : fullSizes,
    threads,
    peer,
    say,
    async measure(what, ownThreads = threads) {
      const { type, input, width, checkpoint } = what;
      const place = { device, threads: ownThreads };
      const check: ModelJob = { task: 'check', type, input, width, checkpoint, ...place };
      const key = JSON.stringify(check);
      if (!checked.has(key)) await run(check);
      checked.add(key);
      return run({ ...what, ...place });
    },
  };
  const results: Result[] = [];
  for (const part of options.parts ?? modelParts) results.push(...(await parts[part](bench)));
  return { device: deviceName, notes, results: quick ? withoutMarks(results) : results };
}

function errorOf(failed: Failure): Error {
  if (failed.failure === 'wrong') return new WrongResult(failed.message);
  return new UserError(failed.code, failed.problem, failed.hint);
}

/** Every layer type on one bag. */
async function longBags(bench: Bench, task: 'forward' | 'train'): Promise<Result[]> {
  const { patches, repeats } = bench.sizes;
  const results: Result[] = [];
  let onGpu = false;
  for (const type of blockTypes) {
    const shape = shapeOf(bench, type);
    const outcome = await bench.measure({ ...shape, task, patches, repeats });
    onGpu = outcome.kind === 'webgpu';
    if (bench.peer) bench.say(`${type} ${task}, PyTorch`);
    const peer = (await bench.peer?.longBag(shape, task, patches, bench.threads)) ?? null;
    const marked = type === 'lbmamba' && peer;
    const name = `${type} ${task === 'train' ? 'training step' : 'forward'}, ${patches} patches`;
    results.push(
      secondsOf(name, outcome, peer, marked ? { least: 1.6 } : null),
      peakOf(name, outcome, peer, marked && task === 'train' ? { least: 1 } : null),
    );
  }
  if (onGpu && task === 'forward') results.push(await gpuForward(bench));
  return results;
}

/** The mark of a GPU: 20,000 patches through the whole model in 100 ms. */
async function gpuForward(bench: Bench): Promise<Result> {
  const patches = 2 * bench.sizes.patches;
  const outcome = await bench.measure({ ...shapeOf(bench, 'lbmamba'), task: 'forward', patches, repeats: 10 });
  return secondsOf(`lbmamba forward, ${patches} patches`, outcome, null, { most: 0.1 });
}

/** Bags of MUSK1: how many there are of how many instances (median 4), and the features of an instance. */
const MUSK1 = { sizes: { 2: 32, 3: 5, 4: 32, 5: 5, 6: 2, 8: 10, 9: 2, 16: 1, 32: 1, 40: 2 }, features: 166 };

async function smallBags({ sizes: { epochs }, peer, measure, say }: Bench): Promise<Result[]> {
  const bagSizes = Object.entries(MUSK1.sizes).flatMap(([size, bags]) => Array<number>(bags).fill(Number(size)));
  const shape: ModelShape = { type: 'lbmamba', input: MUSK1.features, width: 64, dropout: 0.25 };
  const outcome = await measure({ ...shape, task: 'small', bagSizes, epochs }, 1);
  const { best, spread } = bestOf(outcome.seconds);
  if (peer) say('small bags, PyTorch');
  const baseline = (await peer?.smallBags(shape, bagSizes, epochs)) ?? null;
  const name = 'lbmamba training steps on small bags (layout of MUSK1), 1 thread';
  const mark = baseline === null ? null : { least: 5 };
  return [resultOf(name, bagSizes.length / best, 'steps/s', { baseline, spread, mark })];
}

async function lengths(bench: Bench): Promise<Result[]> {
  const { lengths } = bench.sizes;
  const results: Result[] = [];
  const perPatch: number[] = [];
  for (const patches of lengths) {
    // Short bags often, long ones once.
    const repeats = Math.max(1, Math.min(10, Math.floor(lengths.at(-2)! / patches)));
    const outcome = await bench.measure({ ...shapeOf(bench, 'lbmamba'), task: 'stream', patches, repeats });
    const { best, spread } = bestOf(outcome.seconds);
    const name = `lbmamba in pieces, ${patches} patches`;
    perPatch.push(best / patches);
    results.push(resultOf(`${name}, time a patch`, (1e6 * best) / patches, 'us', { spread }));
    results.push(peakOf(name, outcome, null, { most: 1500 }));
  }
  const name = `lbmamba in pieces, time a patch at ${lengths.at(-1)} / ${lengths[1]} patches`;
  return [...results, resultOf(name, perPatch.at(-1)! / perPatch[1]!, 'x', { mark: { most: 1.15 } })];
}

async function memory(bench: Bench): Promise<Result[]> {
  const patches = bench.sizes.large;
  const shape = { ...shapeOf(bench, 'lbmamba'), checkpoint: true };
  const outcome = await bench.measure({ ...shape, task: 'train', patches, repeats: 1 });
  const name = `lbmamba training step with checkpoints, ${patches} patches`;
  return [secondsOf(name, outcome, null, null), peakOf(name, outcome, null, { most: 4000 })];
}

function shapeOf({ sizes: { input, width } }: Bench, type: BlockType): ModelShape {
  return { type, input, width };
}

function secondsOf(name: string, { seconds }: Outcome, peer: PeerFigure | null, mark: Limit | null): Result {
  const { best, spread } = bestOf(seconds);
  return resultOf(name, best, 's', { baseline: peer?.seconds, spread, mark });
}

/** Megabytes of 10^6 bytes. */
function peakOf(name: string, { peakBytes }: Outcome, peer: PeerFigure | null, mark: Limit | null): Result {
  const baseline = peer && peer.peakBytes / 1e6;
  return resultOf(`${name}, peak memory`, peakBytes / 1e6, 'MB', { baseline, mark });
}
