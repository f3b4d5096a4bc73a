import { basename } from 'node:path';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { openDevice } from '../../src/kernels/open-device.ts';
import { createRandomModel } from '../../src/mil/create-model.ts';
import type { ModelCard } from '../../src/mil/model-card.ts';
import { saveModel } from '../../src/mil/model-folder.ts';

/** A small LBMamba model with random weights, for the built-in encoder unless `changes` says otherwise. */
export async function saveRandomModel(folder: string, changes: Partial<ModelCard> = {}): Promise<void> {
  const encoder = await openEncoder('stain-texture');
  const device = await openDevice('wasm', { threads: 1 });
  const card = {
    name: basename(folder),
    type: 'lbmamba',
    task: 'classification',
    classes: ['normal', 'tumour'],
    input: encoder.dimension,
    width: 16,
    attention: 8,
    layers: 2,
    state: 16,
    conv: 4,
    expand: 2,
    K: 16,
    flip: 'alternate',
    rate: 1,
    activation: 'gelu',
    dropout: 0,
    encoder: encoder.id,
    patchMpp: 0.5,
    patchPx: 256,
    order: 'row-major',
    trained: false,
    trainingDataHash: null,
    metrics: null,
    version: null,
    ...changes,
  } as ModelCard;
  const { parameters } = createRandomModel(device, card, { seed: 7 });
  await saveModel(folder, card, parameters);
  await device.close();
  await encoder.close();
}
