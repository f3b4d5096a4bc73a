/**
 * What is known of a slide while its patches are still being encoded, for whoever watches the run: `live/progress.json` and
 * `live/scores.arrow` in its hidden folder.
 *
 * A by-product: it takes a small share of the time, fails no slide, changes none of its files, and is gone before the slide's
 * folder gets its name. What a killed run leaves of it goes with the hidden folder.
 */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { addScores, createBagWriter } from '../features/store.ts';
import type { ReadableBag } from '../mil/predict.ts';
import type { LiveResult, PredictionResult, SlideResult } from '../mil/result.ts';
import type { Predictor } from './predictor.ts';
import type { Station } from './station.ts';
import { makeFolder, writeJson } from './whole-file.ts';

/** Watchers see no more than this often how far it is. */
const INTERVAL_MS = 1000;
/** Of the time since the first patch, for predictions on the way. */
const MOST_SHARE = 0.03;

export interface LiveOptions {
  /** The slide's hidden folder. */
  readonly work: string;
  readonly slide: SlideResult;
  /** Patches to come. */
  readonly patches: number;
  readonly label: string | null;
  /** Null: there is progress only. */
  readonly predictor: Predictor | null;
  /** Where the model is busy with another slide, this one waits for the next time. */
  readonly model: Station;
  readonly signal: AbortSignal;
}

/** The rows of the bag so far, with their places. */
export interface BagSoFar extends ReadableBag {
  readonly coords: Int32Array;
}

export class LiveSlide {
  readonly #options: LiveOptions;
  readonly #folder: string;
  #done = 0;
  #prediction: PredictionResult | null = null;
  #predicted = 0;
  #times = 0;
  #began = 0;
  #written = 0;
  #spentMs = 0;
  #lastMs = 0;
  #givenUp = false;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#folder = join(options.work, 'live');
  }

  /** Says that the slide has its turn, or waits for it. */
  async begin(): Promise<void> {
    await this.#attempt(async () => {
      await makeFolder(this.#folder);
      await this.#write();
    });
  }

  /**
   * @param done patches encoded or left out so far.
   * @param count rows of the bag so far.
   * @param bag those rows, if they are wanted.
   */
  async hear(done: number, count: number, bag: () => BagSoFar): Promise<void> {
    this.#done = done;
    const now = performance.now();
    if (this.#began === 0) this.#began = this.#written = now;
    if (now - this.#written < INTERVAL_MS) return;
    await this.#attempt(async () => {
      if (this.#mayPredict(count, now)) await this.#predict(bag());
      await this.#write();
    });
    if (this.#times > 1) this.#spentMs += performance.now() - now;
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The first time warms the model up, the second says what a patch costs; after that only what fits the share. */
  #mayPredict(count: number, now: number): boolean {
    const { predictor, model } = this.#options;
    // Part of it grows with the patches, part does not.
    const expected = (this.#lastMs * (1 + count / this.#predicted)) / 2;
    const fits = this.#times < 2 || this.#spentMs + expected <= MOST_SHARE * (now - this.#began);
    return predictor !== null && count > this.#predicted && model.isFree && fits;
  }

  async #predict(bag: BagSoFar): Promise<void> {
    const { slide, label, predictor, model, signal } = this.#options;
    const start = performance.now();
    const { result, scores } = await model.run(() => predictor!.predict(slide, bag, label, signal));
    if (scores) {
      const next = join(this.#folder, 'next.arrow');
      const writer = await createBagWriter(next, bag.meta, { dimension: 0, dtype: 'f32' });
      await writer.append(new Float32Array(0), bag.coords);
      await writer.finish();
      await addScores(next, scores);
      await rename(next, join(this.#folder, 'scores.arrow'));
    }
    this.#prediction = result;
    this.#predicted = bag.count;
    this.#times++;
    this.#lastMs = performance.now() - start;
  }

  async #write(): Promise<void> {
    const { slide, patches } = this.#options;
    const live: LiveResult = {
      slide,
      done: this.#done,
      patches,
      prediction: this.#prediction,
      predictedPatches: this.#predicted,
    };
    await writeJson(join(this.#folder, 'progress.json'), live);
    this.#written = performance.now();
  }

  /** A full disk, or too little memory for the model, meets the slide itself soon enough; here it ends the watching. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.#givenUp) return;
    await work().catch(() => {
      this.#givenUp = true;
    });
  }
}
