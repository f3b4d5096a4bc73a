/** Small random models and bags for tests. */
import type { Device } from '../../src/kernels/device.ts';
import { type CreatedModel, createRandomModel } from '../../src/mil/create-model.ts';
import type { MambaMilConfig, ModelCard, ModelOrigin } from '../../src/mil/model-card.ts';
import { createRandom, normal } from '../../src/random.ts';

export function mambaConfig(changes: Partial<MambaMilConfig> = {}): MambaMilConfig {
  const type = changes.type ?? 'lbmamba';
  return {
    type,
    input: 12,
    width: 16,
    attention: 8,
    classes: ['a', 'b', 'c'],
    dropout: 0,
    layers: 2,
    state: 4,
    conv: 4,
    expand: 2,
    K: 8,
    flip: type === 'lbmamba' ? 'alternate' : 'none',
    rate: 5,
    activation: 'gelu',
    ...changes,
  };
}

export const origin: ModelOrigin = {
  name: 'small',
  task: 'classification',
  encoder: 'made-up@1',
  patchMpp: 0.5,
  patchPx: 224,
  order: 'row-major',
  trained: false,
  trainingDataHash: null,
  metrics: null,
  version: null,
};

export function cardOf(config: MambaMilConfig): ModelCard {
  return { ...config, ...origin };
}

export function smallModel(device: Device, changes: Partial<MambaMilConfig> = {}, seed = 1): CreatedModel {
  return createRandomModel(device, mambaConfig(changes), { seed });
}

/** n standard normal numbers. */
export function randomNumbers(seed: number, n: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: n }, () => normal(random));
}

/** The largest difference over the largest reference. */
export function relativeError(got: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (got.length !== reference.length) return Number.POSITIVE_INFINITY;
  let [error, size] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    error = Math.max(error, Math.abs(got[i]! - reference[i]!));
    size = Math.max(size, Math.abs(reference[i]!));
    if (Number.isNaN(got[i]!)) return Number.POSITIVE_INFINITY;
  }
  return error / (size || 1);
}
