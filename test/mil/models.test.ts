import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { crossEntropy } from '../../src/kernels/loss.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { checkConfig, createModel, createRandomModel, modelKinds } from '../../src/mil/create-model.ts';
import { initialWeights } from '../../src/mil/initialise.ts';
import type { BagModel, BagOutput } from '../../src/mil/model.ts';
import { type ModelConfig, type ModelType, poolingTypes } from '../../src/mil/model-card.ts';
import type { HostTensor } from '../../src/mil/safetensors.ts';
import { pseudoInverse, reciprocalOfLargestColumnSum } from '../../src/mil/transmil.ts';
import { expectGradients } from './gradients.ts';
import { mambaConfig, randomNumbers, relativeError } from './small-models.ts';
import { transmilLogits } from './transmil-reference.ts';

const INPUT = 12;
const OFFSETS = [0, 9, 10, 37];
const types = Object.keys(modelKinds) as ModelType[];

function configOf(type: ModelType): ModelConfig {
  if (!(poolingTypes as readonly string[]).includes(type)) return mambaConfig({ type: type as 'mamba' });
  return { type: type as 'abmil', input: INPUT, width: 16, attention: 8, classes: ['a', 'b', 'c'], dropout: 0 };
}

let device: Device;
beforeAll(async () => {
  device = await openWasm({ threads: 1 });
});
afterAll(() => device.close());

const features = randomNumbers(5, OFFSETS.at(-1)! * INPUT);

async function outputs(model: BagModel, data: Float32Array, offsets: readonly number[]) {
  const tape = new Tape(device);
  const rows = data.length / INPUT;
  const output = model.forward(tape, { features: tape.constant(data, [rows, INPUT]), offsets });
  const read: Partial<Record<keyof BagOutput, Float32Array>> = {};
  for (const [name, t] of Object.entries(output)) if (t) read[name as keyof BagOutput] = await device.read(t);
  tape.close();
  return read;
}

describe.each(types)('%s', (type) => {
  it('computes packed bags as if each were alone', async () => {
    const { model, parameters } = createRandomModel(device, configOf(type), { seed: 2 });
    const live = device.memory().live;
    const packed = await outputs(model, features, OFFSETS);
    for (let bag = 0; bag + 1 < OFFSETS.length; bag++) {
      const [first, end] = [OFFSETS[bag]!, OFFSETS[bag + 1]!];
      const alone = await outputs(model, features.slice(first * INPUT, end * INPUT), [0, end - first]);
      for (const [name, values] of Object.entries(packed)) {
        const perBag = name === 'logits' || name === 'pooled';
        const width = values.length / (perBag ? OFFSETS.length - 1 : OFFSETS.at(-1)!);
        const own = values.slice((perBag ? bag : first) * width, (perBag ? bag + 1 : end) * width);
        expect(relativeError(own, alone[name as keyof BagOutput]!), `${name} of bag ${bag}`).toBeLessThan(1e-5);
      }
    }
    expect(device.memory().live, 'everything is given back').toBe(live);
    parameters.close();
  });

  it('refuses a bag without patches, saying which', () => {
    const { model, parameters } = createRandomModel(device, configOf(type), { seed: 2 });
    const tape = new Tape(device);
    const rows = tape.constant(features.slice(0, 5 * INPUT), [5, INPUT]);
    const refused = (offsets: number[]) => expect(() => model.forward(tape, { features: rows, offsets }));
    const naming = (problem: string) => expect.objectContaining({ code: 'empty-bag', problem });
    refused([0, 3, 3, 5]).toThrow(naming('Bag 2 of 3 has no patches (rows 3 to 3).'));
    refused([0, 0, 5]).toThrow(naming('Bag 1 of 2 has no patches (rows 0 to 0).'));
    refused([0, 5, 5]).toThrow(naming('Bag 2 of 2 has no patches (rows 5 to 5).'));
    tape.close();
    parameters.close();
  });

  it('sends gradients to the features and every weight that it uses', async () => {
    const config = configOf(type);
    const shapes = modelKinds[type].shapes(config);
    const weights = initialWeights(shapes, { seed: 3 });
    // Weights of about one, so that no activation is in its dead range.
    const inputs: Record<string, HostTensor> = { features: { data: features, shape: [OFFSETS.at(-1)!, INPUT] } };
    for (const name of [
      'layers.0.1.A_log',
      'layers.1.1.dt_proj.bias',
      'layers.0.1.conv1d.weight',
      'layers.1.1.in_proj.weight',
    ]) {
      const given = weights.get(name);
      if (given) inputs[name] = given;
    }
    for (const [name, given] of weights) if (Object.keys(inputs).length < 6) inputs[name] = given;
    await expectGradients(
      device,
      inputs,
      (tape, tensors) => {
        // The op under test is the whole model: its weights are the tensors that are wiggled, the others as they are.
        const all = new Map(
          [...weights].map(([name, t]) => [name, tensors[name] ?? tape.constant(t.data, t.shape, true)]),
        );
        const stand = { get: (name: string) => all.get(name)!, tensors: all, attach: () => {} };
        const model = modelKinds[type].create(config, stand as never);
        return model.forward(tape, { features: tensors.features!, offsets: OFFSETS }).logits;
      },
      7,
    );
  });
});

describe('lbmamba', () => {
  it('with segments of one token and no flip is mamba, bit for bit', async () => {
    const weights = initialWeights(modelKinds.mamba.shapes(configOf('mamba')), { seed: 4 });
    const [local, plain] = [
      createModel(device, mambaConfig({ K: 1, flip: 'none' }), weights, 'test'),
      createModel(device, mambaConfig({ type: 'mamba', K: 0 }), weights, 'test'),
    ];
    const [a, b] = [await outputs(local.model, features, OFFSETS), await outputs(plain.model, features, OFFSETS)];
    expect(a).toEqual(b);
    const longer = createModel(device, mambaConfig({ K: 2, flip: 'none' }), weights, 'test');
    expect((await outputs(longer.model, features, OFFSETS)).logits).not.toEqual(a.logits);
    for (const { parameters } of [local, plain, longer]) parameters.close();
  });
});

describe.each(['clam-sb', 'dsmil'] as const)('the training loss of %s', (type) => {
  const labels = [0, 2, 1];
  const config = configOf(type);
  const weights = initialWeights(modelKinds[type].shapes(config), { seed: 6 });

  const lossOf = async (data: Float32Array) => {
    const { model, parameters } = createModel(device, config, weights, 'test');
    parameters.clearGradients();
    const tape = new Tape(device, { training: true, seed: 1 });
    const bags = { features: tape.constant(data, [OFFSETS.at(-1)!, INPUT], true), offsets: OFFSETS };
    const output = model.forward(tape, bags);
    const loss = (await device.read(model.loss!(tape, bags, output, labels, {})))[0]!;
    const apart = new Tape(device);
    const bagLoss = (await device.read(crossEntropy(apart, output.logits, labels)))[0]!;
    apart.close();
    tape.backward();
    const gradient = await device.read(tape.gradientOf(bags.features)!);
    tape.close();
    parameters.close();
    return { loss, bagLoss, gradient };
  };

  it('has the bag loss in it, and a gradient that differences agree with', async () => {
    const { loss, bagLoss, gradient } = await lossOf(features);
    expect(loss).toBeGreaterThan((type === 'clam-sb' ? 0.7 : 0.5) * bagLoss);
    const size = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    const strongest = [...gradient.keys()].sort((a, b) => Math.abs(gradient[b]!) - Math.abs(gradient[a]!));
    for (const i of [...strongest.slice(0, 6), ...strongest.slice(100, 104)]) {
      const moved = (by: number) => lossOf(features.map((value, at) => (at === i ? value + by : value)));
      const difference = ((await moved(2e-3)).loss - (await moved(-2e-3)).loss) / 4e-3;
      expect(Math.abs(difference - gradient[i]!), `feature ${i}`).toBeLessThan(0.03 * size + 1e-4);
    }
  });
});

describe('transmil', () => {
  it.each([1, 2, 5, 37, 60])('has the logits of the plain loops for a bag of %d', async (count) => {
    const config = configOf('transmil');
    const weights = initialWeights(modelKinds.transmil.shapes(config), { seed: 8 });
    const { model, parameters } = createModel(device, config, weights, 'test');
    const data = randomNumbers(count, count * INPUT);
    const { logits } = await outputs(model, data, [0, count]);
    const rows = Array.from({ length: count }, (_, i) => Array.from(data.subarray(i * INPUT, (i + 1) * INPUT)));
    expect(relativeError(logits!, transmilLogits(rows, weights))).toBeLessThan(2e-5);
    parameters.close();
  });

  it('inverts softmax matrices: x z x = x', async () => {
    const m = 8;
    const x = Float32Array.from({ length: m * m }, (_, i) => (i % (m + 1) === 0 ? 0.65 : 0.05));
    const tape = new Tape(device);
    const t = tape.constant(x, [m, m]);
    const z = await device.read(pseudoInverse(tape, t, reciprocalOfLargestColumnSum(tape, [t])));
    tape.close();
    const product = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Float32Array.from({ length: m * m }, (_, at) => {
        let sum = 0;
        for (let k = 0; k < m; k++) sum += a[Math.floor(at / m) * m + k]! * b[k * m + (at % m)]!;
        return sum;
      });
    expect(relativeError(product(product(x, z), x), x)).toBeLessThan(1e-4);
  });

  it('starts from one over the largest column sum of all heads', async () => {
    const tape = new Tape(device);
    const heads = [Float32Array.of(0.5, 0.5, 0.25, 0.75), Float32Array.of(0.9, 0.1, 0.8, 0.2)];
    const start = reciprocalOfLargestColumnSum(
      tape,
      heads.map((x) => tape.constant(x, [2, 2])),
    );
    expect((await device.read(start))[0]).toBeCloseTo(1 / 1.7, 6);
    tape.close();
  });
});

describe('initial weights', () => {
  const shapes = modelKinds.bimamba.shapes(mambaConfig({ type: 'bimamba', width: 64 }));

  it('are those of their seed', () => {
    expect(initialWeights(shapes, { seed: 1 })).toEqual(initialWeights(shapes, { seed: 1 }));
    expect(initialWeights(shapes, { seed: 1 })).not.toEqual(initialWeights(shapes, { seed: 2 }));
  });

  it('start with long memories, or as the original with short ones', () => {
    const [mamba, original] = [
      initialWeights(shapes, { seed: 1 }),
      initialWeights(shapes, { seed: 1, init: 'original' }),
    ];
    const bias = mamba.get('layers.0.1.dt_proj.bias')!.data;
    const steps = bias.map((b) => Math.log1p(Math.exp(b)));
    expect(Math.min(...steps)).toBeGreaterThanOrEqual(0.99e-3);
    expect(Math.max(...steps)).toBeLessThanOrEqual(0.101);
    expect(mamba.get('layers.0.1.dt_proj_b.bias')!.data).toEqual(bias);
    expect(original.get('layers.0.1.dt_proj.bias')!.data.every((b) => b === 0)).toBe(true);
    expect(Array.from(mamba.get('layers.0.1.A_log')!.data.subarray(4, 8))).toEqual(
      [1, 2, 3, 4].map((n) => Math.fround(Math.log(n))),
    );
    expect(mamba.get('layers.0.0.weight')!.data.every((w) => w === 1)).toBe(true);
    expect(mamba.get('layers.0.1.D_b')!.data.every((w) => w === 1)).toBe(true);
    expect(mamba.get('classifier.bias')!.data.every((w) => w === 0)).toBe(true);
  });
});

describe('a config', () => {
  it.each([
    [{ type: 'bimamba', flip: 'alternate' }, /both ways already/],
    [{ layers: 0 }, /"layers" is 0/],
    [{ width: 1.5 }, /"width" is 1.5/],
    [{ classes: ['only'] }, /two classes/],
    [{ K: 2.5 }, /K is 2.5/],
  ] as const)('%o is refused', (changes, message) => {
    expect(() => checkConfig(mambaConfig(changes as object))).toThrow(message);
  });
});
