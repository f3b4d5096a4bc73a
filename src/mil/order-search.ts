/**
 * The search of scan orders (localmamba.md): a model is trained with all candidates in every layer, weighted by a softmax that is
 * trained along; then each layer keeps the orders of the largest weights, and the discrete model is trained anew.
 */
import type { Parameters } from '../kernels/parameters.ts';
import { type ScanOrder, searchOrders } from '../row-order.ts';
import type { MambaMilConfig } from './model-card.ts';

/** The model to search with: every layer scans in all candidates. Those that read backwards are candidates, so no layer is flipped. */
export function searchConfig(config: MambaMilConfig, candidates: readonly ScanOrder[] = searchOrders): MambaMilConfig {
  const orders = Array.from({ length: config.layers }, () => candidates);
  return { ...config, flip: 'none', orders, merge: 'search' };
}

/** For each layer the softmax weight of each of its orders. */
export async function orderWeights(config: MambaMilConfig, parameters: Parameters): Promise<number[][]> {
  return await Promise.all(
    (config.orders ?? []).map(async (_, layer) => {
      const alpha = await parameters.read(`layers.${layer}.1.alpha`);
      const shares = [...alpha].map((value) => Math.exp(value - Math.max(...alpha)));
      const total = shares.reduce((a, b) => a + b, 0);
      return shares.map((share) => share / total);
    }),
  );
}

/** The discrete model: each layer with the `keep` orders that weighed most, in the order of the candidates. */
export function discreteConfig(
  search: MambaMilConfig,
  weights: readonly (readonly number[])[],
  keep = 4,
): MambaMilConfig {
  const orders = search.orders!.map((candidates, layer) => {
    const ranked = [...candidates.keys()].sort((a, b) => weights[layer]![b]! - weights[layer]![a]! || a - b);
    const kept = new Set(ranked.slice(0, keep));
    return candidates.filter((_, i) => kept.has(i));
  });
  return { ...search, orders, merge: 'scattn' };
}
