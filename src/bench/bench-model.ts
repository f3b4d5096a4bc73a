/** The model that is timed, its bags of random numbers, and one training step, as the peer programs have them. */
import type { Device } from '../kernels/device.ts';
import { crossEntropy } from '../kernels/loss.ts';
import { Adam } from '../kernels/optimizer.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { createRandomModel } from '../mil/create-model.ts';
import type { BlockType } from '../mil/mamba-block.ts';
import type { MambaMil } from '../mil/mambamil.ts';
import type { MambaMilConfig } from '../mil/model-card.ts';
import { uniform } from './kernel-case.ts';

export interface ModelShape {
  readonly type: BlockType;
  /** Feature width of a patch, and width of the model. */
  readonly input: number;
  readonly width: number;
  readonly dropout?: number;
}

export function configOf({ type, input, width, dropout = 0 }: ModelShape): MambaMilConfig {
  return {
    type,
    input,
    width,
    attention: 128,
    classes: ['0', '1'],
    dropout,
    layers: 2,
    state: 16,
    conv: 4,
    expand: 2,
    K: 16,
    flip: type === 'lbmamba' ? 'alternate' : 'none',
    rate: 10,
    activation: 'gelu',
  };
}

export interface Trainee {
  readonly model: MambaMil;
  readonly parameters: Parameters;
  readonly optimizer: Adam;
}

export interface AdamRule {
  readonly lr: number;
  readonly weightDecay: number;
  /** Weight decay on matrices only: not on biases, norms, A and D. */
  readonly matricesOnly?: boolean;
}

export function createTrainee(device: Device, shape: ModelShape, { matricesOnly, ...rule }: AdamRule): Trainee {
  const { model, parameters } = createRandomModel(device, configOf(shape), { seed: 1 });
  const isMatrix = (name: string) => parameters.get(name).shape.length > 1 && !name.endsWith('_log');
  const optimizer = new Adam(parameters, matricesOnly ? { ...rule, decays: isMatrix } : rule);
  return { model: model as MambaMil, parameters, optimizer };
}

export const TRAINING_RULE: AdamRule = { lr: 2e-4, weightDecay: 1e-5 };

/** Rows that are written at a time: a bag of 50,000 patches need not lie in host memory as well. */
const ROWS = 1000;

/** Random features of L patches on the device; the caller gives the storage back. */
export function putFeatures(device: Device, L: number, input: number): Tensor {
  const storage = device.create(L * input);
  for (let first = 0; first < L; first += ROWS) {
    const rows = Math.min(ROWS, L - first);
    device.write(storage, uniform(first, rows * input, -1.7, 1.7), first * input);
  }
  return tensor(storage, 0, [L, input]);
}

export async function predict(device: Device, model: MambaMil, features: Tensor): Promise<Float32Array> {
  const tape = new Tape(device);
  try {
    const { logits } = model.forward(tape, { features, offsets: [0, features.shape[0]!] });
    return await device.read(logits);
  } finally {
    tape.close();
  }
}

export interface StepOptions {
  /** Of dropout. */
  readonly seed?: number;
  /** Computes layers again on the way back instead of keeping them. */
  readonly checkpoint?: boolean;
}

/** Forward, backward and AdamW over one bag, all queued when it returns. */
export function trainingStep(trainee: Trainee, bag: Tensor | HostBag, label: number, options: StepOptions = {}): void {
  const { model, parameters, optimizer } = trainee;
  const tape = new Tape(parameters.device, { training: true, ...options });
  try {
    parameters.clearGradients();
    const features = 'rows' in bag ? tape.constant(bag.rows, bag.shape) : bag;
    const { logits } = model.forward(tape, { features, offsets: [0, features.shape[0]!] });
    crossEntropy(tape, logits, [label]);
    tape.backward();
    optimizer.step();
  } finally {
    tape.close();
  }
}

/** A bag in host memory, to be uploaded by the step. */
export interface HostBag {
  readonly rows: Float32Array;
  readonly shape: readonly [number, number];
}
