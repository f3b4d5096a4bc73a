/** What the model would say if a region were not there, or were all there is: the aggregator again, on the patches that remain. */
import type { Position } from 'geojson';
import { UserError } from '../errors.ts';
import type { ReadableBag } from '../mil/predict.ts';
import type { CounterfactualEntry, CounterfactualView } from './api.ts';
import type { PlacedBag, PredictedSlide, RunModel } from './run-model.ts';

/** @throws UserError `bad-request` (no region, or nothing remains), and as `RunModel.ask`. */
export async function counterfactual(
  model: RunModel,
  subject: PredictedSlide,
  entry: CounterfactualEntry,
  signal: AbortSignal,
): Promise<CounterfactualView> {
  const rings = ringsOf(entry);
  const { slide, prediction } = subject;
  return await model.ask(subject, signal, async (predictor, bag) => {
    const kept = remaining(bag.coords, slide.patch.level0Px, rings, entry.mode);
    if (kept.length === 0) {
      throw new UserError(
        'bad-request',
        'No patch would remain.',
        'Draw a smaller region to erase, or a larger one to keep.',
      );
    }
    const start = performance.now();
    const { result } = await predictor.predict(slide, subset(bag, kept), prediction.label, signal);
    return {
      patches: bag.count,
      kept: kept.length,
      classes: result.classes,
      before: prediction.probabilities,
      after: result.probabilities,
      seconds: (performance.now() - start) / 1000,
    };
  });
}

/** Rows of the patches whose middle lies in a ring (`keep`) or in none (`erase`). */
export function remaining(
  coords: Int32Array,
  side: number,
  rings: readonly (readonly Position[])[],
  mode: CounterfactualEntry['mode'],
): Uint32Array {
  const kept: number[] = [];
  for (let row = 0; row < coords.length / 2; row++) {
    const [x, y] = [coords[2 * row]! + side / 2, coords[2 * row + 1]! + side / 2];
    const inside = rings.some((ring) => contains(ring, x, y));
    if (inside === (mode === 'keep')) kept.push(row);
  }
  return Uint32Array.from(kept);
}

/** Whether a line from the point to the right crosses the ring an odd number of times. */
function contains(ring: readonly Position[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, before = ring.length - 1; i < ring.length; before = i++) {
    const [ax, ay] = ring[before] as [number, number];
    const [bx, by] = ring[i] as [number, number];
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  }
  return inside;
}

/** Rows are gathered when they are read, into the memory of the piece before, which is on the device by then. */
function subset({ meta, dimension, features, coords: all }: PlacedBag, rows: Uint32Array): ReadableBag {
  const coords = new Int32Array(rows.length * 2);
  rows.forEach((row, i) => void coords.set(all.subarray(row * 2, row * 2 + 2), i * 2));
  let piece = new Float32Array(0);
  const read = async (first: number, count: number) => {
    if (piece.length < count * dimension) piece = new Float32Array(count * dimension);
    for (let i = 0; i < count; i++) {
      const row = rows[first + i]!;
      piece.set(features.subarray(row * dimension, (row + 1) * dimension), i * dimension);
    }
    return piece.subarray(0, count * dimension);
  };
  return { meta, count: rows.length, dimension, coords, read };
}

const MOST_POINTS = 20_000;

function ringsOf({ mode, rings }: CounterfactualEntry): readonly (readonly Position[])[] {
  const isRing = (ring: unknown) =>
    Array.isArray(ring) &&
    ring.length >= 3 &&
    ring.every((point) => Array.isArray(point) && Number.isFinite(point[0]) && Number.isFinite(point[1]));
  const right = (mode === 'erase' || mode === 'keep') && Array.isArray(rings) && rings.every(isRing);
  if (right && rings.reduce((sum, ring) => sum + ring.length, 0) <= MOST_POINTS) return rings;
  throw new UserError('bad-request', 'The region is not understood.', 'Draw it again.');
}
