/** Whether the model that will be timed is right: prediction, streamed prediction, and a training step, against plain loops. */
import type { Device } from '../kernels/device.ts';
import { streamBag } from '../mil/stream.ts';
import {
  createTrainee,
  type ModelShape,
  predict,
  putFeatures,
  type StepOptions,
  TRAINING_RULE,
  trainingStep,
} from './bench-model.ts';
import { expectClose } from './check.ts';
import { type PlainWeights, plainMambaMil } from './plain-mambamil.ts';

/** Of a small bag: several segments of 16, the last one short, and rows that are no multiple of SRMamba's rate. */
const PATCHES = 37;
/** For the prediction in pieces: one segment. */
const CHUNK = 16;

/** Weights whose gradients are of one size: a small one would not be seen beside a large one. The first that fits counts. */
const GROUPS = [/A(_b)?_log$/, /dt_proj/, /x_proj/, /\bD(_b)?$/, /conv1d/, /layers/, /./];
const STEP = 1e-4;

/**
 * The training step is checked in two parts: by how much the plain loss changes along the gradient of a group of weights, which
 * must be that gradient's length, and by the weights after AdamW's first step, which the gradient decides.
 *
 * @throws WrongResult
 */
export async function checkModel(device: Device, shape: ModelShape, options: StepOptions = {}): Promise<void> {
  const trainee = createTrainee(device, shape, TRAINING_RULE);
  const { model, parameters } = trainee;
  const bag = putFeatures(device, PATCHES, shape.input);
  const rows = await device.read(bag);
  const matrix = Array.from({ length: PATCHES }, (_, t) =>
    Float64Array.from(rows.subarray(t * shape.input, (t + 1) * shape.input)),
  );
  try {
    const before = await readWeights(device, parameters.tensors);
    const wanted = plainMambaMil(model.config, before, matrix);
    // f16 has 11 bits, and a prediction is some hundred roundings away from the features.
    const tolerance = device.half ? 5e-3 : 5e-5;
    expectClose(`${shape.type} forward`, await predict(device, model, bag), wanted, tolerance);
    const read = async (first: number, count: number) =>
      rows.subarray(first * shape.input, (first + count) * shape.input);
    const source = { count: PATCHES, dimension: shape.input, read };
    const streamed = await streamBag(model, device, source, { chunk: CHUNK });
    expectClose(`${shape.type} in pieces`, streamed.logits, wanted, tolerance);

    const label = 1;
    trainingStep(trainee, bag, label, options);
    const gradient = new Map<string, Float64Array>();
    for (const name of parameters.tensors.keys()) {
      gradient.set(name, Float64Array.from(await device.read(parameters.gradient(name))));
    }
    for (const group of GROUPS) {
      const names = [...gradient.keys()].filter((name) => GROUPS.find((pattern) => pattern.test(name)) === group);
      const squares = names.flatMap((name) => Array.from(gradient.get(name)!, (g) => g * g));
      const length = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
      const lossAt = (distance: number) => {
        const along = (name: string, w: Float64Array) =>
          names.includes(name) ? w.map((x, i) => x + (distance * gradient.get(name)![i]!) / length) : w;
        const moved = new Map([...before].map(([name, w]) => [name, along(name, w)]));
        return crossEntropy(plainMambaMil(model.config, moved, matrix), label);
      };
      const slope = (lossAt(STEP) - lossAt(-STEP)) / (2 * STEP);
      expectClose(`${shape.type} gradient of ${group}`, [length], [slope], 1e-3);
    }

    const { lr, weightDecay } = TRAINING_RULE;
    for (const [name, after] of await readWeights(device, parameters.tensors)) {
      const g = gradient.get(name)!;
      const w = before.get(name)!;
      const moves = after.map((x, i) => (x - w[i]!) / lr);
      const wantedMoves = w.map((x, i) => -weightDecay * x - g[i]! / (Math.abs(g[i]!) + 1e-8));
      // Weights are rounded to 24 bits, steps are small against them.
      const rounding = (w.reduce((most, x) => Math.max(most, Math.abs(x)), 1) * 2 ** -23) / lr;
      expectClose(`${shape.type} AdamW on ${name}`, moves, wantedMoves, 1e-3 + rounding, 1);
    }
  } finally {
    device.release(bag.storage);
    trainee.optimizer.close();
    parameters.close();
  }
}

async function readWeights(device: Device, tensors: ReadonlyMap<string, Parameters<Device['read']>[0]>) {
  const weights = new Map<string, Float64Array>();
  for (const [name, t] of tensors) weights.set(name, Float64Array.from(await device.read(t)));
  return weights satisfies PlainWeights;
}

function crossEntropy(logits: Float64Array, label: number): number {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0)) - logits[label]!;
}
