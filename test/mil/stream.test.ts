import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { createRandomModel } from '../../src/mil/create-model.ts';
import type { MambaMil } from '../../src/mil/mambamil.ts';
import type { BagModel } from '../../src/mil/model.ts';
import type { MambaMilConfig, ModelConfig } from '../../src/mil/model-card.ts';
import { readsPieces, streamBag } from '../../src/mil/stream.ts';
import { mambaConfig, randomNumbers, relativeError, smallModel } from './small-models.ts';

describe('a bag in pieces', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm({ threads: 1 });
  });
  afterAll(() => device.close());

  const models: [string, Partial<MambaMilConfig>][] = [
    ['lbmamba, layers alternating', { layers: 3 }],
    ['lbmamba, K auto, all forward', { K: 'auto', flip: 'none' }],
    ['lbmamba, K 12', { K: 12 }],
    ['mamba', { type: 'mamba', K: 0 }],
    ['mamba, layers alternating', { type: 'mamba', K: 0, flip: 'alternate', layers: 3 }],
    ['bimamba', { type: 'bimamba', layers: 3 }],
    ['srmamba', { type: 'srmamba' }],
    ['srmamba, rate 10', { type: 'srmamba', rate: 10, layers: 1 }],
  ];

  it.each(models)('equals the bag at once: %s', async (_, changes) => {
    const { model, parameters } = smallModel(device, changes);
    const live = device.memory().live;
    for (const tokens of [1, 7, 131, 200]) {
      const features = randomNumbers(tokens, tokens * 12);
      const whole = await wholeBag(device, model as MambaMil, features, tokens);
      const source = {
        count: tokens,
        dimension: 12,
        read: async (first: number, count: number) => features.subarray(first * 12, (first + count) * 12),
      };
      for (const chunk of [16, 48, 64, 1000]) {
        for (const mostDeviceBytes of [0, 1e6]) {
          const pieces = await streamBag(model as MambaMil, device, source, { chunk, mostDeviceBytes });
          const at = `${tokens} tokens by ${chunk}, ${mostDeviceBytes ? 'on the device' : 'in a file'}`;
          expect(relativeError(pieces.logits, whole.logits), `logits, ${at}`).toBeLessThan(2e-5);
          expect(relativeError(pieces.scores!, whole.scores!), `scores, ${at}`).toBeLessThan(2e-5);
          expect(relativeError(pieces.pooled!, whole.pooled!), `pooled, ${at}`).toBeLessThan(2e-5);
        }
      }
    }
    expect(device.memory().live, 'everything is given back').toBe(live);
    parameters.close();
  });

  it.each(['abmil', 'gated-abmil', 'clam-sb', 'mean', 'max'] as const)('equals the bag at once: %s', async (type) => {
    const config = { type, input: 12, width: 16, attention: 8, classes: ['a', 'b', 'c'], dropout: 0.25 };
    const { model, parameters } = createRandomModel(device, config, { seed: 3 });
    if (!readsPieces(model)) throw new Error('it does not read pieces');
    const live = device.memory().live;
    for (const tokens of [1, 131]) {
      const features = randomNumbers(tokens, tokens * 12);
      const whole = await wholeBag(device, model, features, tokens);
      const read = async (first: number, count: number) => features.slice(first * 12, (first + count) * 12);
      for (const chunk of [1, 16, 48, 1000]) {
        const pieces = await streamBag(model, device, { count: tokens, dimension: 12, read }, { chunk });
        for (const part of ['logits', 'scores', 'pooled'] as const) {
          const at = `${part}, ${tokens} tokens by ${chunk}`;
          if (part !== 'logits' && (type === 'mean' || type === 'max')) expect(pieces[part], at).toBeNull();
          else expect(relativeError(pieces[part]!, whole[part]!), at).toBeLessThan(2e-5);
        }
      }
    }
    expect(device.memory().live, 'everything is given back').toBe(live);
    parameters.close();
  });

  it('takes no more memory for a longer bag', async () => {
    for (const type of ['lbmamba', 'abmil', 'mean'] as const) {
      const peaks: number[] = [];
      for (const count of [400, 4000]) {
        const own = await openWasm({ threads: 1 });
        const config = type === 'lbmamba' ? mambaConfig({ flip: 'none' }) : { ...mambaConfig(), type };
        const { model } = createRandomModel(own, config as ModelConfig, { seed: 3 });
        const read = async (_: number, n: number) => new Float32Array(n * 12);
        await streamBag(model as MambaMil, own, { count, dimension: 12, read }, { chunk: 64 });
        peaks.push(own.memory().peak);
        await own.close();
      }
      // Scores, for one number a patch.
      expect(peaks[1]! - peaks[0]!, type).toBeLessThanOrEqual(4 * 3600 + 128);
    }
  });

  it.each([
    ['dsmil', { ...mambaConfig(), type: 'dsmil' }],
    ['transmil', { ...mambaConfig(), type: 'transmil' }],
    ['lbmamba in orders of its own', mambaConfig({ orders: [['row-major'], ['hilbert']] })],
  ] as [string, ModelConfig][])('is not for %s', (_, config) => {
    const { model, parameters } = createRandomModel(device, config, { seed: 3 });
    expect(readsPieces(model)).toBe(false);
    parameters.close();
  });

  it('reads rows where they lie on the device', async () => {
    const { model, parameters } = smallModel(device);
    const features = randomNumbers(5, 130 * 12);
    const storage = device.create(features.length + 12);
    device.write(storage, features, 12);
    const onDevice = { storage, offset: 12, length: features.length };
    const read = () => Promise.reject(new Error('read'));
    const found = await streamBag(
      model as MambaMil,
      device,
      { count: 130, dimension: 12, read, onDevice },
      { chunk: 48 },
    );
    const whole = await wholeBag(device, model as MambaMil, features, 130);
    expect(relativeError(found.logits, whole.logits)).toBeLessThan(2e-5);
    expect(relativeError(found.scores!, whole.scores!)).toBeLessThan(2e-5);
    expect(await device.read(onDevice), 'the rows are as they were').toEqual(features);
    device.release(storage);
    parameters.close();
  });

  it('is not none at all', async () => {
    const { model, parameters } = smallModel(device);
    const none = { count: 0, dimension: 12, read: async () => new Float32Array() };
    await expect(streamBag(model as MambaMil, device, none)).rejects.toThrow('Bag 1 of 1 has no patches');
    parameters.close();
  });

  it('stops between two pieces when told to', async () => {
    const { model, parameters } = smallModel(device);
    const abort = new AbortController();
    let reads = 0;
    const source = {
      count: 100,
      dimension: 12,
      read: async (_: number, count: number) => {
        if (++reads === 2) abort.abort();
        return new Float32Array(count * 12);
      },
    };
    const live = device.memory().live;
    await expect(streamBag(model as MambaMil, device, source, { chunk: 16, signal: abort.signal })).rejects.toThrow();
    expect(reads).toBe(2);
    expect(device.memory().live).toBe(live);
    parameters.close();
  });
});

async function wholeBag(device: Device, model: BagModel, features: Float32Array, tokens: number) {
  const tape = new Tape(device);
  const bags = { features: tape.constant(features, [tokens, 12]), offsets: [0, tokens] };
  const { logits, scores, pooled } = model.forward(tape, bags);
  const read = [
    await device.read(logits),
    scores && (await device.read(scores)),
    pooled && (await device.read(pooled)),
  ] as const;
  tape.close();
  return { logits: read[0], scores: read[1], pooled: read[2] };
}
