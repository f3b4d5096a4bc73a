import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBag, readBagHead } from '../../src/features/store.ts';
import { toTorch } from '../../src/features/torch-file.ts';
import { openDevice } from '../../src/kernels/open-device.ts';
import { openModel } from '../../src/mil/model-folder.ts';
import { predictBag } from '../../src/mil/predict.ts';
import type { SlideResult } from '../../src/mil/result.ts';
import { readSafetensors } from '../../src/mil/safetensors.ts';
import { createRandom, normal } from '../../src/random.ts';
import { scoreColumns } from '../../src/viewer/slide-scores.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina } from './spawn.ts';

let folder = '';
const at = (name: string) => join(folder, name);
const ENCODER = 'resnet50@clam';
const WIDTH = 32;
const COUNT = 40;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-convert-cli-'));
  const random = createRandom(1);
  const data = Float32Array.from({ length: COUNT * WIDTH }, () => normal(random));
  await writeFile(at('clam.pt'), toTorch({ shape: [COUNT, WIDTH], data }));
  await saveRandomModel(at('model'), { encoder: ENCODER, input: WIDTH });
});
afterAll(() => rm(folder, { recursive: true }));

describe('lamina convert', () => {
  it('makes a bag of a tensor, which predicts and has no heatmap', async () => {
    const { code, stdout } = await lamina('convert', at('clam.pt'), at('bag.arrow'), '--encoder', ENCODER, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ slideId: 'clam', encoder: ENCODER, patches: COUNT, places: false });
    const device = await openDevice('wasm', { threads: 1 });
    try {
      const { probabilities } = await predictBag(await openModel(at('model'), device), await readBag(at('bag.arrow')));
      expect(probabilities.reduce((sum, p) => sum + p)).toBeCloseTo(1, 5);
    } finally {
      await device.close();
    }
    const { meta } = await readBagHead(at('bag.arrow'));
    const slide = { id: 'clam', hash: meta.slideHash } as unknown as SlideResult;
    await expect(scoreColumns(at('bag.arrow'), slide)).rejects.toThrow(
      /does not say where its patches lie\. .*heatmap\./,
    );
  });

  it('leaves a bag that nobody said the encoder of to no model', async () => {
    await lamina('convert', at('clam.pt'), at('unknown.arrow'));
    const device = await openDevice('wasm', { threads: 1 });
    try {
      const model = await openModel(at('model'), device);
      const bag = await readBag(at('unknown.arrow'));
      await expect(async () => await predictBag(model, bag)).rejects.toThrow(
        /features of unknown, the model needs resnet50@clam/,
      );
    } finally {
      await device.close();
    }
  });

  it('takes checkpoints to PyTorch and back without a bit changed', async () => {
    const weights = at('model/model.safetensors');
    expect((await lamina('convert', weights, at('model.pt'))).code).toBe(0);
    expect((await lamina('convert', at('model.pt'), at('again.safetensors'))).code).toBe(0);
    const [before, after] = [weights, at('again.safetensors')].map(async (path) =>
      readSafetensors(await readFile(path), path),
    );
    expect(await after).toEqual(await before);
  });

  it.each([
    [['clam.pt', 'clam.pt'], /not converted into itself/],
    [['clam.pt', 'bag.zip'], /bag\.zip: no kind of bag/],
    [['gone.h5', 'bag.arrow'], /gone\.h5: cannot be opened/],
    [['clam.pt', 'bag.h5', '--layout', 'stamp'], /STAMP wants the places.*--layout clam/],
    [['clam.pt', 'none/bag.arrow'], /none\/bag\.arrow: cannot be written/],
    [['clam.pt', 'none/bag.h5'], /none\/bag\.h5: cannot be written/],
    [['clam.pt', 'weights.safetensors'], /clam\.pt holds no state dict/],
  ])('refuses %j with a sentence', async ([from, to, ...more], sentence) => {
    const { code, stdout, stderr } = await lamina('convert', at(from!), at(to!), ...more);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/^lamina: .*\.\n$/);
  });
});
