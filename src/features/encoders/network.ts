/** A network with what leads to it and away from it: batches of patches in, features out. */
import { UserError } from '../../errors.ts';
import type { PatchBatch } from '../encoder.ts';
import type { GraphPlan } from './graph.ts';
import type { PixelData } from './picture-input.ts';
import { poolTokens } from './pool-tokens.ts';
import type { Recipe } from './recipe.ts';
import type { Session } from './session.ts';

export interface Network {
  readonly path: string;
  readonly recipe: Recipe;
  readonly session: Session;
  readonly input: {
    /** As `PictureInput`; at once, or from another thread. */
    fill(batch: PatchBatch, first: number, count: number): PixelData | Promise<PixelData>;
  };
}

/** Of the input of one run; larger batches are run in parts. */
const INPUT_BYTES = 256 * 1024 * 1024;

/** How many pictures of a batch of `count` the network is given at once. */
export function picturesARun({ batch, size }: GraphPlan, count: number): number {
  return batch ?? Math.min(count, Math.max(1, Math.floor(INPUT_BYTES / (12 * size ** 2))));
}

/** @throws UserError `not-finite`, and as the session */
export async function encodeBatch(
  { path, recipe, session, input }: Network,
  batch: PatchBatch,
): Promise<Float32Array<ArrayBuffer>> {
  const { plan } = session;
  const perRun = picturesARun(plan, batch.count);
  const parts: Float32Array[] = [];
  for (let first = 0; first < batch.count; first += perRun) {
    const wanted = Math.min(perRun, batch.count - first);
    const count = plan.batch ?? wanted;
    const { values, shape } = await session.run(await input.fill(batch, first, count), count);
    const features = poolTokens(path, values, shape, recipe.tokens, plan.map);
    parts.push(features.subarray(0, (features.length / count) * wanted));
  }
  const features = joined(parts);
  requireFinite(path, features);
  return features;
}

/** @throws UserError `not-finite` */
export function requireFinite(path: string, features: Float32Array): void {
  if (features.every(Number.isFinite)) return;
  const problem = `${path}: the network gives numbers that are not finite.`;
  const hint = 'A file in half precision may have overflowed: export it in single precision.';
  throw new UserError('not-finite', problem, hint);
}

/** Of a grey patch: it tells what the file may leave open, the width, and whether the network runs at all. */
export async function countFeatures(network: Network): Promise<number> {
  const { size } = network.session.plan;
  return (await encodeBatch(network, { pixels: new Uint8Array(3 * size * size).fill(128), count: 1, size })).length;
}

/** One array of its own, which can be given away. */
function joined(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const features = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    features.set(part, at);
    at += part.length;
  }
  return features;
}
