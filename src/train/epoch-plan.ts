/** Which bags an epoch sees, in which order, and how large its steps are. All of it follows from the seed and the epoch. */
import { createRandom, integer, shuffle } from '../random.ts';
import type { Recipe } from './recipe.ts';

/** A generator for one purpose of one epoch, so that a run that is taken up again draws what it would have drawn. */
export function epochRandom(seed: number, epoch: number, purpose: number): () => number {
  return createRandom(
    Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca77) ^ Math.imul(purpose + 1, 0xc2b2ae3d),
  );
}

/**
 * @param rows of training.
 * @param groups of the same length: the class, or bin and censoring, that is to be balanced.
 */
export function bagsOfEpoch(
  rows: readonly number[],
  groups: readonly number[],
  recipe: Recipe,
  seed: number,
  epoch: number,
): number[] {
  const random = epochRandom(seed, epoch, 0);
  if (recipe.balance === 'sampling') {
    const kinds = [...new Set(groups)].sort((a, b) => a - b);
    const members = kinds.map((kind) => rows.filter((_, i) => groups[i] === kind));
    // A draw of weight N / n_group is a group first, then one of its rows.
    return rows.map(() => {
      const group = members[integer(random, members.length)]!;
      return group[integer(random, group.length)]!;
    });
  }
  return recipe.shuffle ? shuffle(random, [...rows]) : [...rows];
}

/** Inverse frequencies with a mean of 1 over the rows. */
export function classWeights(labels: readonly number[], classes: number): Float32Array {
  const counts = new Float64Array(classes);
  for (const label of labels) counts[label]!++;
  const present = counts.filter((count) => count > 0).length;
  return Float32Array.from(counts, (count) => (count > 0 ? labels.length / (present * count) : 0));
}

/** @param progress epochs done so far, with the part of the present one. */
export function learningRate({ lr, warmUp, cosine, epochs }: Recipe, progress: number): number {
  // Within an epoch warm-up moves with each step, or its first epoch would stand still at 0.
  if (progress < warmUp) return lr * Math.max(progress / warmUp, 0.01);
  if (cosine === 'none') return lr;
  const at = cosine === 'epochs' ? Math.floor(progress) : progress;
  const part = Math.min(1, (at - warmUp) / Math.max(1, epochs - warmUp));
  return (lr * (1 + Math.cos(Math.PI * part))) / 2;
}
