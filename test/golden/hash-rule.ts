/** The hash rule of the golden README: parameters and bags that are not stored but computed, the same everywhere. */
import { sizeOf } from '../../src/kernels/tensor.ts';
import type { HostTensor } from '../../src/mil/safetensors.ts';

export const BAG_RANGE = 1.7320508;

/** n numbers in [low, high) that depend on the name, the seed and their index only. */
export function hashUniform(name: string, seed: number, n: number, low: number, high: number): Float32Array {
  const h = (fnv1a(name) ^ seed) >>> 0;
  return Float32Array.from({ length: n }, (_, i) => {
    let x = (Math.imul(i, 0x9e3779b9) + h) >>> 0;
    x ^= x >>> 16;
    x = Math.imul(x, 0x7feb352d);
    x ^= x >>> 15;
    x = Math.imul(x, 0x846ca68b);
    x ^= x >>> 16;
    return low + ((high - low) * (x >>> 8)) / 2 ** 24;
  });
}

function fnv1a(text: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** A parameter of a model by its state key. */
export function hashParameter(model: string, key: string, shape: readonly number[], seed: number): HostTensor {
  const n = sizeOf(shape);
  const within = (low: number, high: number) => hashUniform(`${model}.${key}`, seed, n, low, high);
  const [out, input] = [shape[0]!, shape.at(-1)!];
  if (/A(_b)?_log$/.test(key)) {
    const jitter = within(-0.1, 0.1);
    return { shape, data: jitter.map((value, i) => Math.log((i % input) + 1) + value) };
  }
  const data = (): Float32Array => {
    if (/\bD(_b)?$/.test(key)) return within(0.8, 1.2);
    if (/conv1d(_b)?\.weight$/.test(key)) return within(-0.5, 0.5);
    if (/conv1d(_b)?\.bias$/.test(key)) return within(-0.1, 0.1);
    if (/dt_proj(_b)?\.weight$/.test(key)) return within(-(input ** -0.5), input ** -0.5);
    if (/dt_proj(_b)?\.bias$/.test(key)) return within(-4.5, -1);
    if (/(layers\.\d+\.0|norm)\.weight$/.test(key)) return within(0.9, 1.1);
    if (/(layers\.\d+\.0|norm)\.bias$/.test(key)) return within(-0.1, 0.1);
    if (key.endsWith('bias')) return within(-0.05, 0.05);
    const xavier = Math.sqrt(6 / (out + input));
    return within(-xavier, xavier);
  };
  return { shape, data: data() };
}
