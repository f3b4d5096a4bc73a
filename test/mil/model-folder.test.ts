import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTorch } from '../../src/features/torch-file.ts';
import type { Device } from '../../src/kernels/device.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { CARD_FILE, openModel, saveModel, WEIGHTS_FILE } from '../../src/mil/model-folder.ts';
import { predictRows } from '../../src/mil/predict.ts';
import { type HostTensor, readSafetensors, toSafetensors } from '../../src/mil/safetensors.ts';
import { errorRatio } from '../golden/compare.ts';
import type { GoldenCase } from '../golden/source.ts';
import { storedZip } from './pickles.ts';
import { cardOf, mambaConfig, randomNumbers, smallModel } from './small-models.ts';

const golden = process.env.LAMINA_GOLDEN ?? '../shared/golden';

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openWasm({ threads: 1 });
  folder = await mkdtemp(join(tmpdir(), 'lamina-model-'));
});
afterAll(async () => {
  await device.close();
  await rm(folder, { recursive: true });
});

describe('a model folder', () => {
  it('comes back as it was saved, and predicts the same', async () => {
    const { model, parameters } = smallModel(device);
    const card = cardOf(mambaConfig());
    const path = join(folder, 'saved');
    await saveModel(path, card, parameters);
    expect((await readdir(path)).sort()).toEqual([CARD_FILE, WEIGHTS_FILE]);

    const opened = await openModel(path, device);
    expect(opened.card).toEqual({ ...card, version: expect.any(String) });
    expect(opened.hash).toMatch(/^sha256:[0-9a-f]{64}$/);
    for (const name of parameters.tensors.keys()) {
      expect(await opened.parameters.read(name)).toEqual(await parameters.read(name));
    }
    const features = randomNumbers(3, 20 * 12);
    const source = { count: 20, dimension: 12, read: async () => features };
    const before = await predictRows({ card, model, parameters, hash: '' }, 'bag', source);
    expect(await predictRows(opened, 'bag', source)).toEqual(before);
    expect(before.probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(before.attention!.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
  });

  it('says which field of a card is wrong', async () => {
    const { parameters } = smallModel(device);
    const path = join(folder, 'spoiled');
    await saveModel(path, cardOf(mambaConfig()), parameters);
    const card = JSON.parse(await readFile(join(path, CARD_FILE), 'utf8'));
    const withCard = (changes: object) => writeFile(join(path, CARD_FILE), JSON.stringify({ ...card, ...changes }));

    await withCard({ type: 'lbmambo' });
    await expect(openModel(path, device)).rejects.toThrow(/no model type "lbmambo".*lbmamba/);
    await withCard({ width: 32 });
    await expect(openModel(path, device)).rejects.toThrow(/_fc1\.0\.weight.*\[16,12\].*\[32,12\]/);
    await withCard({ type: 'bimamba', flip: 'none' });
    await expect(openModel(path, device)).rejects.toThrow(/no tensor "layers\.0\.1\.A_b_log"/);
    await withCard({ K: -1 });
    await expect(openModel(path, device)).rejects.toThrow(/segment length K is -1/);
    await withCard({ classes: undefined });
    await expect(openModel(path, device)).rejects.toThrow(/no "classes"/);
    await writeFile(join(path, CARD_FILE), '{');
    await expect(openModel(path, device)).rejects.toThrow(/model\.json/);
    await expect(openModel(join(folder, 'nowhere'), device)).rejects.toThrow(/no model at .*nowhere/);
  });
});

/** The checkpoints of the golden folder, with the case of the bag that was saved beside each. */
const checkpoints = existsSync(join(golden, 'manifest.json')) ? findCheckpoints() : [];

function findCheckpoints() {
  const manifest = JSON.parse(readFileSync(join(golden, 'manifest.json'), 'utf8'));
  return ((manifest.other_files ?? []) as string[]).flatMap((file) => {
    const model = /^ckpt_(.*)\.pt$/.exec(file)?.[1];
    if (!model) return [];
    const bags = manifest.cases.filter((c: GoldenCase) => c.kind === 'mil_model' && c.config.name === model);
    return [{ name: model, bagCase: bags.at(-1) as GoldenCase }];
  });
}

describe.skipIf(checkpoints.length === 0)(`PyTorch checkpoints (in ${golden})`, () => {
  const file = (name: string) => join(golden, name);

  it.each(checkpoints)('open with a type, the same from .pt and .safetensors: $name', async ({ name, bagCase }) => {
    const { config } = bagCase;
    const type = config.type.toLowerCase();
    const torch = await openModel(file(`ckpt_${name}.pt`), device, { type });
    const safe = await openModel(file(`ckpt_${name}.safetensors`), device, { type });
    expect(torch.card).toMatchObject({
      input: config.in_dim,
      width: config.d_model,
      attention: config.attn_dim,
      layers: config.layers,
      state: config.d_state,
    });
    expect(torch.card.classes).toHaveLength(config.n_classes);
    for (const parameter of torch.parameters.tensors.keys()) {
      expect(await torch.parameters.read(parameter)).toEqual(await safe.parameters.read(parameter));
    }
  });

  it.each(checkpoints)('predict the bag saved beside them with the stored logits: $name', async ({ name, bagCase }) => {
    const { K, flip, rate, act: activation, type, in_dim: dimension } = bagCase.config;
    const overrides = { type: type.toLowerCase(), K, flip, rate, activation };
    const open = await openModel(file(`ckpt_${name}.pt`), device, overrides);
    const stored = readSafetensors(await readFile(file(bagCase.file)), 'golden');
    const reference = stored.get(`${bagCase.name}/out/logits`)!.data;
    const largest = reference.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
    const bagOf = async (suffix: string) => {
      const bag = readTorch(await readFile(file(`bag_${name}${suffix}.pt`)), name) as HostTensor;
      expect(bag.shape).toEqual([bagCase.L, dimension]);
      const source = { count: bagCase.L, dimension, read: async () => bag.data };
      return { bag, logits: (await predictRows(open, name, source)).logits };
    };
    const [whole, half] = [await bagOf(''), await bagOf('_f16')];
    expect(errorRatio(whole.logits, reference, bagCase.outputs!.logits!)).toBeLessThanOrEqual(1);
    for (const [i, value] of half.bag.data.entries()) {
      const exact = whole.bag.data[i]!;
      expect(Math.abs(value - exact)).toBeLessThanOrEqual(2 ** -11 * Math.abs(exact) + 2 ** -25);
    }
    for (const [i, logit] of half.logits.entries()) {
      expect(Math.abs(logit - reference[i]!)).toBeLessThan(1e-2 * Math.max(1, largest));
    }
  });

  it.each(checkpoints)('ask for the layer type, which they do not hold: $name', async ({ name }) => {
    await expect(openModel(file(`ckpt_${name}.pt`), device)).rejects.toThrow(/does not say which layer type/);
    const bag = openModel(file(`bag_${name}.pt`), device, { type: 'lbmamba' });
    await expect(bag).rejects.toThrow(/no state dict/);
  });
});

describe('safetensors', () => {
  it('come back from bytes', () => {
    const weights = new Map([
      ['b', { shape: [2, 3], data: randomNumbers(1, 6) }],
      ['a', { shape: [], data: Float32Array.of(7) }],
      ['empty', { shape: [0, 4], data: new Float32Array(0) }],
    ]);
    expect(readSafetensors(toSafetensors(weights), 'x')).toEqual(weights);
  });

  it('say what is wrong with a file', () => {
    const bytes = toSafetensors(new Map([['a', { shape: [2], data: Float32Array.of(1, 2) }]]));
    expect(() => readSafetensors(bytes.subarray(0, 5), 'cut.safetensors')).toThrow(/cut\.safetensors.*too few/);
    expect(() => readSafetensors(bytes.subarray(0, bytes.length - 4), 'cut')).toThrow(/"a".*lies at bytes 0 to 8 of 4/);
    const huge = bytes.slice();
    huge.fill(0xff, 0, 8);
    expect(() => readSafetensors(huge, 'x')).toThrow(/header is said to have/);
    const spoiled = bytes.slice();
    spoiled[9] = 0x00;
    expect(() => readSafetensors(spoiled, 'x')).toThrow(/not JSON/);
  });
});

describe('a hostile pickle', () => {
  const read = (pickle: string) => () =>
    readTorch(storedZip({ 'x/data.pkl': Buffer.from(pickle, 'latin1'), 'x/data/0': Buffer.alloc(16) }), 'evil.pt');

  it('is refused by the name of what it wants to run', () => {
    expect(read('\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.')).toThrow(/evil\.pt.*wants to run "os system"/);
    expect(read('\x80\x02c__builtin__\neval\n.')).toThrow(/"__builtin__ eval"/);
  });

  it('is refused for instructions that tensors do not need', () => {
    expect(read('\x80\x02i')).toThrow(/instruction 0x69/);
    expect(read('\x80\x04\x8c')).toThrow(/instruction 0x8c/);
  });

  it('is refused when it is damaged, holds itself, or describes tensors that its data do not have', () => {
    expect(read('\x80\x02')).toThrow(/ends too early/);
    expect(read('\x80\x02.')).toThrow(/damaged/);
    expect(read('\x80\x02]q\x00h\x00a.')).toThrow(/inside itself/);
    const tensor = (key: string, size: string, stride: string) =>
      `\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00${key}X\x03\x00\x00\x00cpuK\x04tQK\x00K${size}\x85K${stride}\x85\x89}tR.`;
    expect(read(tensor('0', '\x04', '\x01'))()).toEqual({ shape: [4], data: new Float32Array(4) });
    expect(read(tensor('0', '\x02', '\x02'))()).toEqual({ shape: [2], data: new Float32Array(2) });
    expect(read(tensor('0', '\x05', '\x01'))).toThrow(/larger than its data/);
    expect(read(tensor('0', '\xff', '\x00'))).toThrow(/repeats its data/);
    expect(read(tensor('1', '\x04', '\x01'))).toThrow(/no data in the file/);
  });

  it('is told from a file that is no zip at all', () => {
    expect(() => readTorch(Buffer.alloc(100), 'old.pt')).toThrow(/old\.pt.*not a zip/);
    expect(() => readTorch(storedZip({ 'x/data/0': Buffer.alloc(4) }), 'x.pt')).toThrow(/no data\.pkl/);
  });
});
