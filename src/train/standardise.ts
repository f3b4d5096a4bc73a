/**
 * Features centred and scaled by what the training rows show. The saved model takes raw features: its first layers absorb
 * both, W' = W / deviation and b' = b - W' mean, so nothing outside training knows of it.
 */
import type { ModelType } from '../mil/model-card.ts';
import type { HostTensor, Weights } from '../mil/safetensors.ts';
import type { BagSource } from './training-bag.ts';

export interface FeatureScale {
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

/** Smaller deviations are those of a constant feature. */
const CONSTANT = 1e-6;

/** Over all patches of the rows; the mean and the deviation of a patch, not of a bag. */
export async function featureScale(source: BagSource, rows: readonly number[]): Promise<FeatureScale> {
  const width = source.dimension;
  const [sum, squares] = [new Float64Array(width), new Float64Array(width)];
  // Deviations from the first patch: the squares of raw values would lose small deviations of large means.
  let first: Float32Array | null = null;
  let patches = 0;
  for (const row of rows) {
    const { features, count } = await source.read(row);
    first ??= features.slice(0, width);
    for (let i = 0, at = 0; i < count; i++) {
      for (let k = 0; k < width; k++, at++) {
        const value = features[at]! - first[k]!;
        sum[k]! += value;
        squares[k]! += value * value;
      }
    }
    patches += count;
  }
  const mean = Float32Array.from(sum, (total, k) => total / patches + first![k]!);
  const deviation = Float32Array.from(squares, (total, k) => {
    const variance = total / patches - (sum[k]! / patches) ** 2;
    return variance > CONSTANT ** 2 ? Math.sqrt(variance) : 1;
  });
  return { mean, deviation };
}

export function standardisedSource(source: BagSource, { mean, deviation }: FeatureScale): BagSource {
  const width = source.dimension;
  return {
    dimension: width,
    async read(row) {
      const bag = await source.read(row);
      // In place where nobody else has them: of a long bag there is then one copy less.
      const features = source.fresh ? bag.features : new Float32Array(bag.features.length);
      for (let i = 0, at = 0; i < bag.count; i++) {
        for (let k = 0; k < width; k++, at++) features[at] = (bag.features[at]! - mean[k]!) / deviation[k]!;
      }
      return { ...bag, features };
    },
  };
}

/** The layers that read the features themselves. */
const FIRST_LAYERS: Readonly<Record<ModelType, readonly string[]>> = {
  mamba: ['_fc1.0'],
  lbmamba: ['_fc1.0'],
  bimamba: ['_fc1.0'],
  srmamba: ['_fc1.0'],
  mean: ['head.0'],
  max: ['head.0'],
  abmil: ['feature.0'],
  'gated-abmil': ['feature.0'],
  'clam-sb': ['attention_net.0'],
  dsmil: ['i_classifier.fc.0', 'b_classifier.q.0', 'b_classifier.v.1'],
  transmil: ['_fc1.0'],
};

/** The weights that do to raw features what the given ones do to standardised ones. */
export function forRawFeatures(weights: Weights, type: ModelType, { mean, deviation }: FeatureScale): Weights {
  const changed = new Map(weights);
  for (const layer of FIRST_LAYERS[type]) {
    const W = changed.get(`${layer}.weight`)!;
    const b = changed.get(`${layer}.bias`)!;
    const [out, input] = W.shape as [number, number];
    const weight = new Float32Array(W.data.length);
    const bias = new Float32Array(out);
    for (let o = 0; o < out; o++) {
      let shift = 0;
      for (let k = 0; k < input; k++) {
        const scaled = W.data[o * input + k]! / deviation[k]!;
        weight[o * input + k] = scaled;
        shift += scaled * mean[k]!;
      }
      bias[o] = b.data[o]! - shift;
    }
    const tensor = (like: HostTensor, data: Float32Array) => ({ shape: like.shape, data });
    changed.set(`${layer}.weight`, tensor(W, weight)).set(`${layer}.bias`, tensor(b, bias));
  }
  return changed;
}
