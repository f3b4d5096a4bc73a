import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bag } from '../../src/features/bag.ts';
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { createRandomModel } from '../../src/mil/create-model.ts';
import type { ModelCard, ModelType } from '../../src/mil/model-card.ts';
import type { OpenModel } from '../../src/mil/model-folder.ts';
import { predictBag, predictRows } from '../../src/mil/predict.ts';
import { cardOf, mambaConfig, origin, randomNumbers, relativeError } from './small-models.ts';

let device: Device;
beforeAll(async () => {
  device = await openWasm({ threads: 1 });
});
afterAll(() => device.close());

function open(card: ModelCard = cardOf(mambaConfig())): OpenModel {
  return { card, ...createRandomModel(device, card, { seed: 1 }), hash: 'sha256:0' };
}

function bagOf(count: number, changes: Partial<Bag['meta']> = {}): Bag {
  const meta = {
    slideId: 'slide-7',
    slideHash: 'sha256:0',
    mpp: 0.25,
    mppSource: 'file' as const,
    patchMpp: 0.5,
    patchPx: 224,
    patchLevel0Px: 448,
    encoder: 'made-up@1',
    order: 'row-major' as const,
    version: '0',
    ...changes,
  };
  return { meta, count, dimension: 12, features: randomNumbers(count, count * 12), coords: null };
}

describe('a prediction', () => {
  it('is the same whole and in pieces', async () => {
    const model = open();
    const long = bagOf(5000);
    const streamed = await predictBag(model, long);
    const { tape, output } = atOnce(model, long);
    expect(relativeError(streamed.logits, await device.read(output.logits))).toBeLessThan(2e-5);
    expect(relativeError(streamed.attentionRaw!, await device.read(output.scores!))).toBeLessThan(2e-5);
    expect(relativeError(streamed.attention!, await device.read(output.attention!))).toBeLessThan(5e-5);
    tape.close();
    model.parameters.close();
  });

  it.each(['mean', 'max', 'abmil', 'gated-abmil', 'clam-sb', 'dsmil', 'transmil'] as ModelType[])(
    'of %s has one probability a class, and one attention a patch where it has any',
    async (type) => {
      const config = { type, input: 12, width: 16, attention: 8, classes: ['a', 'b', 'c'], dropout: 0.25 };
      const model = open({ ...config, ...origin } as ModelCard);
      const { probabilities, attention } = await predictBag(model, bagOf(30));
      expect(probabilities).toHaveLength(3);
      expect(probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      const attends = !['mean', 'max', 'transmil'].includes(type);
      expect(attention?.length ?? 0).toBe(attends ? 30 : 0);
      if (attention) expect(attention.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      model.parameters.close();
    },
  );

  it('of a survival model has hazards and a risk', async () => {
    const model = open({ ...cardOf(mambaConfig()), task: 'survival' });
    const { logits, probabilities, risk } = await predictBag(model, bagOf(10));
    const hazards = Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
    expect(relativeError(probabilities, hazards)).toBeLessThan(1e-6);
    const curve = hazards.map((_, k) => hazards.slice(0, k + 1).reduce((s, h) => s * (1 - h), 1));
    expect(risk).toBeCloseTo(-curve.reduce((a, b) => a + b), 6);
    model.parameters.close();
  });
});

describe('a bag that does not fit', () => {
  let model: OpenModel;
  beforeAll(() => {
    model = open();
  });
  afterAll(() => model.parameters.close());
  const refused = (bag: Bag) => expect(async () => predictBag(model, bag)).rejects;

  it('is refused by a sentence that names both encoders', async () => {
    await refused(bagOf(3, { encoder: 'other@2' })).toThrow(/slide-7.*other@2.*made-up@1/);
  });

  it('is refused for another width, naming both', async () => {
    await refused({ ...bagOf(3), dimension: 9 }).toThrow(/9 features.*12/);
    const source = { count: 3, dimension: 9, read: async () => new Float32Array(27) };
    await expect(predictRows(model, 'x', source)).rejects.toThrow(/x: the bag has 9 features.*12/);
  });

  it('is refused when it is empty', async () => {
    await refused(bagOf(0)).toThrow(/slide-7.*no patches/);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused for %d, naming the patch', async (value) => {
    for (const count of [20, 6000]) {
      const bag = bagOf(count);
      bag.features[17 * 12 + 5] = value;
      await refused(bag).toThrow(new RegExp(`feature 5 of patch 17 is ${value}`));
      bag.features[17 * 12 + 5] = 0;
      bag.features[(count - 1) * 12] = value;
      await refused(bag).toThrow(new RegExp(`feature 0 of patch ${count - 1} is`));
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused for %d on the device too', async (value) => {
    const bag = bagOf(5000);
    const storage = device.create(bag.features.length);
    const predict = () => {
      device.write(storage, bag.features);
      const onDevice = { storage, offset: 0, length: storage.length };
      return predictRows(model, 'slide-7', {
        count: 5000,
        dimension: 12,
        onDevice,
        read: (first, count) => device.read({ storage, offset: 12 * first, length: 12 * count }),
      });
    };
    // Squares beyond single precision are no reason to refuse.
    bag.features[3] = 1e20;
    await predict();
    bag.features[4500 * 12 + 5] = value;
    await expect(predict()).rejects.toThrow(new RegExp(`feature 5 of patch 4500 is ${value}`));
    device.release(storage);
  });

  it('is refused before the work when it needs more memory than there is, saying how much', async () => {
    const config = {
      type: 'transmil' as const,
      input: 12,
      width: 512,
      attention: 128,
      classes: ['a', 'b'],
      dropout: 0,
    };
    const transmil = open({ ...config, ...origin });
    const source = { count: 20e6, dimension: 12, read: () => Promise.reject(new Error('must not be read')) };
    await expect(predictRows(transmil, 'huge', source)).rejects.toThrow(
      /huge: 20000000 patches in a model of type transmil need about \d+\.\d GiB, and there are [0-4]\.\d GiB\. .*lbmamba/,
    );
    transmil.parameters.close();
  });
});

function atOnce(model: OpenModel, bag: Bag) {
  const tape = new Tape(device);
  const features = tape.constant(bag.features, [bag.count, bag.dimension]);
  return { tape, output: model.model.forward(tape, { features, offsets: [0, bag.count] }) };
}
