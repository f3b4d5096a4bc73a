/**
 * Bags of made-up features with known truth, for comparing aggregators. Patches are noisy copies of a few kinds ("stroma",
 * "tumour", …) on a grid; two laboratories shift all features, and half of the bags of each class come from each.
 *
 * needle   some patches of a class-1 bag (0.5 to 3 %, one at least) are tumour.
 * subtype  three classes are three mixtures of the same kinds.
 * context  both classes hold the same patches in the same numbers: 8 of kind A and 8 of kind B among 400. In class 1 each A
 *          touches a B (beside, above or below it), in class 0 none does. Who is blind to order and position cannot tell.
 */
import { createRandom, integer, normal, type Random, shuffle } from '../../src/random.ts';

export const bagTasks = ['needle', 'subtype', 'context'] as const;
export type BagTask = (typeof bagTasks)[number];

export interface SyntheticBag {
  readonly id: string;
  readonly label: number;
  readonly site: 'A' | 'B';
  readonly count: number;
  readonly dimension: number;
  /** count x dimension */
  readonly features: Float32Array;
  /** count x 2: row and column; patches are listed row by row. */
  readonly cells: Int32Array;
  /** 1 for the patches that the class is about: tumour, or A and B. */
  readonly truth: Uint8Array;
}

export interface SyntheticBagOptions {
  readonly bags: number;
  readonly seed: number;
  /** Feature width; 16 unless given. */
  readonly dimension?: number;
}

export const taskClasses: Readonly<Record<BagTask, readonly string[]>> = {
  needle: ['normal', 'tumour'],
  subtype: ['subtype 1', 'subtype 2', 'subtype 3'],
  context: ['apart', 'touching'],
};

/** The kinds of patches are the same for every seed: what differs is the bags. */
const WORLD_SEED = 20;
const KINDS = 6;
/** Length of a kind's vector over the deviation of the noise in each feature. */
const CONTRAST = 8;
const SITE_SHIFT = 1;
const CONTEXT_SIDE = 20;
const PAIRS = 8;

/** Classes take turns, so that any number of bags is balanced. */
export function syntheticBags(task: BagTask, { bags, seed, dimension = 16 }: SyntheticBagOptions): SyntheticBag[] {
  const world = createRandom(WORLD_SEED);
  const kinds = Array.from({ length: KINDS }, () => direction(world, dimension, CONTRAST));
  const shift = direction(world, dimension, SITE_SHIFT);
  const random = createRandom(Math.imul(seed + 1, 0x9e3779b1) + bagTasks.indexOf(task));
  const classes = taskClasses[task].length;
  return Array.from({ length: bags }, (_, i) => {
    const label = i % classes;
    const site = Math.floor(i / classes) % 2 === 0 ? 'A' : 'B';
    const { side, kindOf, truth } = LAYOUTS[task](random, label);
    const count = kindOf.length;
    const features = new Float32Array(count * dimension);
    for (let patch = 0; patch < count; patch++) {
      const kind = kinds[kindOf[patch]!]!;
      for (let k = 0; k < dimension; k++) {
        const shifted = kind[k]! + (site === 'B' ? shift[k]! : 0);
        features[patch * dimension + k] = shifted + normal(random);
      }
    }
    const cells = Int32Array.from({ length: 2 * count }, (_, j) => {
      return j % 2 === 0 ? Math.floor(j / 2 / side) : (j >> 1) % side;
    });
    return { id: `${task}-${seed}-${i}`, label, site, count, dimension, features, cells, truth };
  });
}

interface Layout {
  /** Patches of one row of the grid. */
  readonly side: number;
  readonly kindOf: Uint8Array;
  readonly truth: Uint8Array;
}

const LAYOUTS: Readonly<Record<BagTask, (random: Random, label: number) => Layout>> = {
  needle(random, label) {
    const count = 200 + integer(random, 201);
    const kindOf = Uint8Array.from({ length: count }, () => integer(random, KINDS - 1));
    const truth = new Uint8Array(count);
    const share = 0.005 + 0.025 * random();
    const tumour = label === 1 ? Math.max(1, Math.round(share * count)) : 0;
    for (const patch of shuffle(random, [...kindOf.keys()]).slice(0, tumour)) {
      kindOf[patch] = KINDS - 1;
      truth[patch] = 1;
    }
    return { side: 20, kindOf, truth };
  },
  subtype(random, label) {
    const count = 100 + integer(random, 201);
    // Each class has a little more of two kinds of its own, and every bag its own taste on top.
    const weights = Array.from(
      { length: KINDS },
      (_, kind) => (1 + Number(kind >> 1 === label)) * Math.exp(normal(random) / 2),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const draw = () => {
      let rest = random() * total;
      return Math.max(
        0,
        weights.findIndex((weight) => (rest -= weight) < 0),
      );
    };
    return { side: 20, kindOf: Uint8Array.from({ length: count }, draw), truth: new Uint8Array(count) };
  },
  context(random, label) {
    const [A, B] = [KINDS - 2, KINDS - 1];
    const kindOf = Uint8Array.from({ length: CONTEXT_SIDE ** 2 }, () => integer(random, KINDS - 2));
    const truth = new Uint8Array(kindOf.length);
    const taken: number[] = [];
    const put = (patch: number, kind: number) => {
      kindOf[patch] = kind;
      truth[patch] = 1;
      taken.push(patch);
    };
    // Whatever is put down touches nothing but its partner: pairs do not touch pairs either.
    for (let pair = 0; pair < PAIRS; pair++) {
      const a = freePatch(random, taken);
      const b = label === 1 ? freeNeighbour(random, a, taken) : null;
      if (label === 1 && b === null) {
        pair--;
        continue;
      }
      put(a, A);
      put(b ?? freePatch(random, taken), B);
    }
    return { side: CONTEXT_SIDE, kindOf, truth };
  },
};

function freePatch(random: Random, taken: readonly number[]): number {
  for (;;) {
    const patch = integer(random, CONTEXT_SIDE ** 2);
    if (!taken.some((other) => distance(other, patch) <= 1)) return patch;
  }
}

/** A patch beside, above or below `patch` that touches nothing else. */
function freeNeighbour(random: Random, patch: number, taken: readonly number[]): number | null {
  const column = patch % CONTEXT_SIDE;
  const steps = shuffle(random, [
    ...(column > 0 ? [-1] : []),
    ...(column < CONTEXT_SIDE - 1 ? [1] : []),
    -CONTEXT_SIDE,
    CONTEXT_SIDE,
  ]);
  const inside = steps.map((step) => patch + step).filter((next) => next >= 0 && next < CONTEXT_SIDE ** 2);
  return inside.find((next) => !taken.some((other) => distance(other, next) <= 1)) ?? null;
}

/** In moves of a chess king. */
function distance(a: number, b: number): number {
  const rows = Math.abs(Math.floor(a / CONTEXT_SIDE) - Math.floor(b / CONTEXT_SIDE));
  return Math.max(rows, Math.abs((a % CONTEXT_SIDE) - (b % CONTEXT_SIDE)));
}

function direction(random: Random, dimension: number, length: number): Float32Array {
  const values = Float32Array.from({ length: dimension }, () => normal(random));
  const norm = Math.hypot(...values);
  return values.map((value) => (value * length) / norm);
}
