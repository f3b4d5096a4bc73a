/** The model of a run, for questions about single slides: opened when it is first asked, one question after another. */
import { resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { readBag, type StoredBag } from '../features/store.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import type { PredictionResult, SlideResult } from '../mil/result.ts';
import { openPredictor, type Predictor } from '../run/predictor.ts';

export interface RunModelOptions {
  /** Model folder; null takes the one that the run names. */
  readonly model: string | null;
  readonly device: DeviceChoice;
}

/** What a question is about. */
export interface PredictedSlide {
  readonly slide: SlideResult;
  readonly prediction: PredictionResult;
  /** Path of its bag, and what changes with the bag's content. */
  readonly bag: string;
  readonly bagTag: string;
  /** Where the run says that its model lies. */
  readonly model: string | null;
}

/** A bag whose patches have places. */
export type PlacedBag = StoredBag & { readonly coords: Int32Array };

export class RunModel {
  private readonly options: RunModelOptions;
  private predictor: { path: string; opened: Promise<Predictor> } | null = null;
  /** The bag that was asked for last: questions come in series. */
  private held: Promise<StoredBag> | null = null;
  private heldKey = '';
  /** The device does one thing after another. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: RunModelOptions) {
    this.options = options;
  }

  /**
   * Asks the very model that predicted the slide, when it is free.
   * @throws UserError `no-model`, `model-mismatch`, `no-coords`, and as `readBag`; the signal's reason.
   */
  async ask<T>(
    { slide, prediction, bag: path, bagTag, model }: PredictedSlide,
    signal: AbortSignal,
    question: (predictor: Predictor, bag: PlacedBag) => Promise<T>,
  ): Promise<T> {
    const predictor = await this.open(model);
    if (predictor.model.hash !== prediction.model.hash) {
      throw new UserError(
        'model-mismatch',
        `The model ${predictor.model.name} is not the one that predicted ${slide.id} (${predictor.model.hash}, it was ${prediction.model.hash}).`,
        'Start the viewer with --model and the folder of that very model.',
      );
    }
    const bag = await this.bag(path, `${path} ${bagTag}`);
    const { coords } = bag;
    if (!coords) throw new UserError('no-coords', `The bag of ${slide.id} has no places.`, 'Extract it again.');
    if (bag.dimension === 0) {
      const problem = `The run kept the places of the patches of ${slide.id}, not their features.`;
      throw new UserError('no-features', problem, 'Run the slide again and keep its bag.');
    }
    const answer = this.last.then(() => {
      signal.throwIfAborted();
      return question(predictor, { ...bag, coords });
    });
    this.last = answer.catch(() => {});
    return await answer;
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

  private bag(path: string, key: string): Promise<StoredBag> {
    if (this.held && this.heldKey === key) return this.held;
    const held = readBag(path);
    this.held = held;
    this.heldKey = key;
    held.catch(() => {
      if (this.held === held) this.held = null;
    });
    return held;
  }
}
