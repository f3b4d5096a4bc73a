/**
 * Random weights as the original MambaMIL starts (mambamil.md, mamba-block.md): Linear weights Xavier-normal and their biases
 * zero, convolutions as PyTorch's default, A = -1..-N, D = 1, norms one.
 */

import { sizeOf } from '../kernels/tensor.ts';
import { createRandom, normal, type Random } from '../random.ts';
import type { Weights } from './safetensors.ts';

export interface Initialisation {
  readonly seed: number;
  /**
   * `mamba` keeps the step sizes of the Mamba library, 0.001 to 0.1: a long memory. `original` has zero step bias, as the
   * published code really starts: a memory of a few tokens.
   */
  readonly init?: 'mamba' | 'original';
}

const [SMALLEST_STEP, LARGEST_STEP, STEP_FLOOR] = [1e-3, 1e-1, 1e-4];

export function initialWeights(shapes: ReadonlyMap<string, readonly number[]>, options: Initialisation): Weights {
  const random = createRandom(options.seed);
  const weights = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const [name, shape] of shapes) {
    const data = new Float32Array(sizeOf(shape));
    const value = initialValue(name, shape, shapes, random, options.init ?? 'mamba');
    // Both branches of a block start with the same step sizes.
    const twin = name.endsWith('dt_proj_b.bias') ? weights.get(name.replace('dt_proj_b', 'dt_proj')) : undefined;
    if (twin) data.set(twin.data);
    else for (let i = 0; i < data.length; i++) data[i] = value(i);
    weights.set(name, { shape, data });
  }
  return weights;
}

type Value = (index: number) => number;

function initialValue(
  name: string,
  shape: readonly number[],
  shapes: ReadonlyMap<string, readonly number[]>,
  random: Random,
  init: 'mamba' | 'original',
): Value {
  const uniform =
    (bound: number): Value =>
    () =>
      (2 * random() - 1) * bound;
  if (/A(_b)?_log(_\d+)?$/.test(name)) return (i) => Math.log((i % shape[1]!) + 1);
  if (/\bD(_b|_\d+)?$/.test(name)) return () => 1;
  if (name.endsWith('alpha')) return () => 1e-3 * normal(random);
  if (/dt_proj(_b|_\d+)?\.bias$/.test(name) && init === 'mamba') return () => stepBias(random);
  if (/token$|embed$|latent$/.test(name)) return () => 0.02 * normal(random);
  // A convolution's weight and its bias share the bound of PyTorch's default, 1 / sqrt(inputs of one output).
  const kernel = shapes.get(name.replace(/bias$/, 'weight')) ?? shape;
  if (kernel.length > 2) return uniform(1 / Math.sqrt(sizeOf(kernel) / kernel[0]!));
  if (name.endsWith('bias')) return () => 0;
  if (shape.length === 1) return () => 1;
  const deviation = Math.sqrt(2 / (shape[0]! + shape[1]!));
  return () => deviation * normal(random);
}

/** The inverse softplus of a step size drawn log-uniformly. */
function stepBias(random: Random): number {
  const [low, high] = [Math.log(SMALLEST_STEP), Math.log(LARGEST_STEP)];
  const step = Math.max(STEP_FLOOR, Math.exp(low + random() * (high - low)));
  return step + Math.log(-Math.expm1(-step));
}
