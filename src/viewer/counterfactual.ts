/** What the model would say if a region were not there, or were all there is: the aggregator again, on the patches that remain. */
import { resolve } from 'node:path';
import type { Position } from 'geojson';
import { UserError } from '../errors.ts';
import { readBag, type StoredBag } from '../features/store.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import type { ReadableBag } from '../mil/predict.ts';
import type { PredictionResult, SlideResult } from '../mil/result.ts';
import { openPredictor, type Predictor } from '../run/predictor.ts';
import type { CounterfactualEntry, CounterfactualView } from './api.ts';

export interface AggregatorOptions {
  /** Model folder; null takes the one that the run names. */
  readonly model: string | null;
  readonly device: DeviceChoice;
}

interface Held {
  readonly key: string;
  readonly bag: StoredBag;
}

export class Counterfactuals {
  private readonly options: AggregatorOptions;
  private predictor: { path: string; opened: Promise<Predictor> } | null = null;
  /** The bag that was asked for last: lassos come in series. */
  private held: Promise<Held> | null = null;
  private heldKey = '';
  /** The device does one thing after another. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: AggregatorOptions) {
    this.options = options;
  }

  /**
   * @param bagKey changes with the bag's content.
   * @throws UserError `no-model`, `model-mismatch`, `empty-bag` (nothing remains), and as `readBag`.
   */
  async predict(
    slide: SlideResult,
    before: PredictionResult,
    bagPath: string,
    bagKey: string,
    modelOfRun: string | null,
    entry: CounterfactualEntry,
    signal: AbortSignal,
  ): Promise<CounterfactualView> {
    const rings = ringsOf(entry);
    const predictor = await this.open(modelOfRun);
    if (predictor.model.hash !== before.model.hash) {
      throw new UserError(
        'model-mismatch',
        `The model ${predictor.model.name} is not the one that predicted ${slide.id} (${predictor.model.hash}, it was ${before.model.hash}).`,
        'Start the viewer with --model and the folder of that very model.',
      );
    }
    const { bag } = await this.bag(bagPath, `${bagPath} ${bagKey}`);
    if (!bag.coords) throw new UserError('no-coords', `The bag of ${slide.id} has no places.`, 'Extract it again.');
    const kept = remaining(bag.coords, slide.patch.level0Px, rings, entry.mode);
    if (kept.length === 0) {
      throw new UserError(
        'bad-request',
        'No patch would remain.',
        'Draw a smaller region to erase, or a larger one to keep.',
      );
    }
    const start = performance.now();
    const run = this.last.then(() => {
      signal.throwIfAborted();
      return predictor.predict(slide, subset(bag, kept), before.label, signal);
    });
    this.last = run.catch(() => {});
    const { result } = await run;
    return {
      patches: bag.count,
      kept: kept.length,
      classes: result.classes,
      before: before.probabilities,
      after: result.probabilities,
      seconds: (performance.now() - start) / 1000,
    };
  }

  async close(): Promise<void> {
    await this.last;
    await this.predictor?.opened.then((predictor) => predictor.close()).catch(() => {});
  }

  private async open(modelOfRun: string | null): Promise<Predictor> {
    const path = this.options.model ?? modelOfRun;
    if (path === null) {
      const hint = 'Start the viewer with --model and the folder of the model.';
      throw new UserError('no-model', 'The run does not say where its model lies.', hint);
    }
    if (this.predictor?.path !== path) {
      await this.close();
      const opened = openPredictor(resolve(path), { modelType: null, device: this.options.device, threads: null });
      this.predictor = { path, opened };
      opened.catch(() => {
        this.predictor = null;
      });
    }
    return this.predictor.opened;
  }

  private bag(path: string, key: string): Promise<Held> {
    if (this.held && this.heldKey === key) return this.held;
    const held = readBag(path).then((bag) => ({ key, bag }));
    this.held = held;
    this.heldKey = key;
    held.catch(() => {
      if (this.held === held) this.held = null;
    });
    return held;
  }
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

function subset(bag: StoredBag, rows: Uint32Array): ReadableBag {
  const { dimension } = bag;
  const features = new Float32Array(rows.length * dimension);
  const coords = new Int32Array(rows.length * 2);
  rows.forEach((row, i) => {
    features.set(bag.features.subarray(row * dimension, (row + 1) * dimension), i * dimension);
    coords.set(bag.coords!.subarray(row * 2, row * 2 + 2), i * 2);
  });
  const read = async (first: number, count: number) =>
    features.subarray(first * dimension, (first + count) * dimension);
  const { meta } = bag;
  const placed = { meta, count: rows.length, dimension, coords, read };
  return placed;
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
