/** Bags as training reads them, and what is changed about them each time. */
import { integer, type Random } from '../random.ts';
import { orderOfCells } from '../row-order.ts';
import type { Recipe } from './recipe.ts';

export interface TrainingBag {
  /** What the bag is called in messages. */
  readonly id: string;
  readonly count: number;
  readonly dimension: number;
  /** count x dimension */
  readonly features: Float32Array;
  /** count x 2: row and column of each patch on the slide's grid; null when not known. */
  readonly cells: Int32Array | null;
}

export interface BagSource {
  readonly dimension: number;
  /** Whether each bag is read anew for whoever asks, who may then write to it; otherwise nobody does. */
  readonly fresh?: boolean;
  /** The bag of a row of the cohort. */
  read(row: number): TrainingBag | Promise<TrainingBag>;
}

/** Bags that are in memory already. */
export function memorySource(bags: readonly TrainingBag[]): BagSource {
  return { dimension: bags[0]?.dimension ?? 0, read: (row) => bags[row]! };
}

/** Keeps the bags read last, up to so many bytes. */
export function cachedSource(source: BagSource, mostBytes: number): BagSource {
  const kept = new Map<number, TrainingBag>();
  let bytes = 0;
  const keep = (row: number, bag: TrainingBag): TrainingBag => {
    if (bag.features.byteLength > mostBytes) return bag;
    kept.set(row, bag);
    bytes += bag.features.byteLength;
    for (const [old, { features }] of kept) {
      if (bytes <= mostBytes) break;
      kept.delete(old);
      bytes -= features.byteLength;
    }
    return bag;
  };
  return {
    dimension: source.dimension,
    read(row) {
      const present = kept.get(row);
      if (present) {
        kept.delete(row);
        kept.set(row, present);
        return present;
      }
      const found = source.read(row);
      return found instanceof Promise ? found.then((bag) => keep(row, bag)) : keep(row, found);
    },
  };
}

/** A bag as one step sees it: rows drawn, left out or reordered as the recipe says. */
export function augmented(bag: TrainingBag, recipe: Recipe, most: number, random: Random): TrainingBag {
  const order = drawnOrder(bag, recipe, random);
  const kept = thinned(order, bag.count, keptPatches(bag.count, recipe, most), random);
  return kept === null ? bag : rowsOf(bag, kept);
}

function keptPatches(count: number, { patchDropout }: Recipe, most: number): number {
  return Math.max(1, Math.min(most, Math.round(count * (1 - patchDropout))));
}

function drawnOrder({ cells }: TrainingBag, { rowOrders }: Recipe, random: Random): Int32Array | null {
  if (rowOrders.length === 0 || cells === null) return null;
  return orderOfCells(rowOrders[integer(random, rowOrders.length)]!, cells);
}

/** `keep` of the rows, each as likely as the others, still in their order; null for all rows as they are. */
function thinned(order: Int32Array | null, count: number, keep: number, random: Random): Int32Array | null {
  if (keep >= count) return order;
  const rows = new Int32Array(keep);
  let [taken, seen] = [0, 0];
  for (; taken < keep; seen++) {
    if (random() * (count - seen) < keep - taken) rows[taken++] = order ? order[seen]! : seen;
  }
  return rows;
}

export function rowsOf(bag: TrainingBag, rows: Int32Array): TrainingBag {
  const { dimension, features, cells } = bag;
  const picked = new Float32Array(rows.length * dimension);
  rows.forEach((row, i) => {
    picked.set(features.subarray(row * dimension, (row + 1) * dimension), i * dimension);
  });
  return {
    ...bag,
    count: rows.length,
    features: picked,
    cells: cells && Int32Array.from({ length: 2 * rows.length }, (_, i) => cells[2 * rows[i >> 1]! + (i & 1)]!),
  };
}

/** Cells of several bags one after another; null unless all say where their patches lie. */
export function packedCells(bags: readonly TrainingBag[]): Int32Array | null {
  if (bags.length === 1) return bags[0]!.cells;
  if (bags.some(({ cells }) => cells === null)) return null;
  const packed = new Int32Array(2 * bags.reduce((sum, { count }) => sum + count, 0));
  let at = 0;
  for (const { cells } of bags) {
    packed.set(cells!, at);
    at += cells!.length;
  }
  return packed;
}
