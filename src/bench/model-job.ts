/** One measurement of a model, made in a process of its own so that its peak of memory is its own. */

import type { DeviceKind } from '../kernels/device.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { streamBag } from '../mil/stream.ts';
import { createRandom, shuffle } from '../random.ts';
import {
  createTrainee,
  type HostBag,
  type ModelShape,
  predict,
  putFeatures,
  TRAINING_RULE,
  trainingStep,
} from './bench-model.ts';
import { checkModel } from './check-model.ts';
import { uniform } from './kernel-case.ts';

interface Common extends ModelShape {
  /** Training steps compute layers again instead of keeping them. */
  readonly checkpoint?: boolean;
}

export type Measurement =
  | (Common & { readonly task: 'check' })
  | (Common & { readonly task: 'forward' | 'train' | 'stream'; readonly patches: number; readonly repeats: number })
  | (Common & { readonly task: 'small'; readonly bagSizes: readonly number[]; readonly epochs: number });

export interface Place {
  readonly device: DeviceChoice;
  readonly threads: number;
}

export type ModelJob = Measurement & Place;

export interface Outcome {
  /** Of each round; of `small`, seconds an epoch; of `check`, none. */
  readonly seconds: readonly number[];
  /** Largest resident size of the process. */
  readonly peakBytes: number;
  readonly device: string;
  readonly kind: DeviceKind;
}

export async function runModelJob(job: ModelJob): Promise<Outcome> {
  const device = await openDevice(job.device, { threads: job.threads });
  try {
    const work = await prepare(job, device);
    const seconds: number[] = [];
    for (let round = 0; round < work.rounds; round++) {
      await device.finish();
      const start = performance.now();
      await work.run();
      await device.finish();
      seconds.push((performance.now() - start) / 1000);
    }
    return { seconds, peakBytes: process.resourceUsage().maxRSS * 1024, device: device.name, kind: device.kind };
  } finally {
    await device.close();
  }
}

interface Work {
  readonly rounds: number;
  run(): unknown;
}

type OpenDevice = Awaited<ReturnType<typeof openDevice>>;

/** Patches with which a model is warmed up: enough to compile everything, too few to cost memory. */
const WARM_UP = 64;

async function prepare(job: ModelJob, device: OpenDevice): Promise<Work> {
  switch (job.task) {
    case 'check':
      return { rounds: 1, run: () => checkModel(device, job, { checkpoint: job.checkpoint }) };
    case 'forward': {
      const { model } = createTrainee(device, job, TRAINING_RULE);
      await predict(device, model, putFeatures(device, WARM_UP, job.input));
      const bag = putFeatures(device, job.patches, job.input);
      return { rounds: job.repeats, run: () => predict(device, model, bag) };
    }
    case 'train': {
      const { checkpoint } = job;
      const trainee = createTrainee(device, job, TRAINING_RULE);
      trainingStep(trainee, putFeatures(device, WARM_UP, job.input), 1, { checkpoint });
      const bag = putFeatures(device, job.patches, job.input);
      return { rounds: job.repeats, run: () => trainingStep(trainee, bag, 1, { checkpoint }) };
    }
    case 'stream': {
      const { model } = createTrainee(device, job, TRAINING_RULE);
      const source = (count: number) => ({ count, dimension: job.input, read: repeatedRows(job.input) });
      await streamBag(model, device, source(Math.min(job.patches, LONGEST_READ + WARM_UP)));
      return { rounds: job.repeats, run: () => streamBag(model, device, source(job.patches)) };
    }
    case 'small':
      return smallBags(device, job);
  }
}

const LONGEST_READ = 4096;

/** Rows without end out of one block: a million rows of features are 4 GB, and making them would take longer than reading them. */
function repeatedRows(width: number): (first: number, count: number) => Promise<Float32Array> {
  const block = uniform(1, 2 * LONGEST_READ * width, -1.7, 1.7);
  return async (first, count) => {
    if (count > LONGEST_READ) throw new Error(`${count} rows at once`);
    const start = (first % LONGEST_READ) * width;
    return block.subarray(start, start + count * width);
  };
}

/** Epochs over many small bags, one step a bag, in shuffled order, features uploaded by each step. */
function smallBags(device: OpenDevice, job: Extract<ModelJob, { task: 'small' }>): Work {
  const trainee = createTrainee(device, job, { lr: 5e-4, weightDecay: 1e-4, matricesOnly: true });
  const bags = job.bagSizes.map((size, i): HostBag & { label: number } => ({
    rows: uniform(i, size * job.input, -1.7, 1.7),
    shape: [size, job.input],
    label: i % 2,
  }));
  const random = createRandom(1);
  let steps = 0;
  const epoch = () => {
    for (const bag of shuffle(random, bags)) trainingStep(trainee, bag, bag.label, { seed: ++steps });
  };
  epoch();
  return { rounds: job.epochs, run: epoch };
}
