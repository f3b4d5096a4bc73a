/** A model on a device, as the line uses it: a bag in, the prediction file and the score columns out. */
import { createHash } from 'node:crypto';
import type { Bag } from '../features/bag.ts';
import type { Scores } from '../features/store.ts';
import type { Device } from '../kernels/device.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { type ExplanationKind, type Explanations, explainBag, kindsOf, patchSources } from '../mil/explain.ts';
import type { BlockType } from '../mil/mamba-block.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { openModel } from '../mil/model-folder.ts';
import { predictBag, type ReadableBag } from '../mil/predict.ts';
import type { PredictionResult, RunResult } from '../mil/result.ts';

export interface Prediction {
  readonly result: PredictionResult;
  /** Score columns of the bag; null for models without attention. */
  readonly scores: Scores | null;
  /** What the heatmap ranks patches by: raw scores where there is one a patch, for the softmax makes small ones equal. */
  readonly ranked: Float32Array | null;
  /** What the person should know of how it was made. */
  readonly warning?: string;
}

export interface Predictor {
  readonly card: ModelCard;
  readonly model: NonNullable<RunResult['model']>;
  readonly device: Device;
  readonly deviceName: string;
  predict(
    slide: { id: string; hash: string },
    bag: ReadableBag,
    label: string | null,
    signal: AbortSignal,
  ): Promise<Prediction>;
  /** For each patch its share in what feeds the one of this row. @throws UserError as `patchSources` */
  sources(bag: Bag, row: number): Promise<Float32Array>;
  /** What `explain` gives; empty when explanations were not asked for. */
  readonly explains: readonly ExplanationKind[];
  /** Score columns of the bag, which is read whole. @throws UserError `out-of-memory` */
  explain(bag: ReadableBag): Promise<Explanations>;
  close(): Promise<void>;
}

export interface PredictorOptions {
  /** For a checkpoint without a card. */
  readonly modelType: BlockType | null;
  readonly device: DeviceChoice;
  /** Of the wasm device; null takes the cores. */
  readonly threads: number | null;
  /** Whether slides are explained as well, in all ways that the model has. */
  readonly explain?: boolean;
}

/** @throws UserError as `openModel`; `no-gpu`. */
export async function openPredictor(path: string, options: PredictorOptions): Promise<Predictor> {
  const { modelType, threads, explain } = options;
  const device = await openDevice(options.device, threads === null ? {} : { threads });
  try {
    return await openPredictorOn(device, path, { modelType, explain });
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** Closes the device when it is closed. @throws UserError as `openModel` */
export async function openPredictorOn(
  device: Device,
  path: string,
  { modelType = null, explain = false }: Partial<Pick<PredictorOptions, 'modelType' | 'explain'>> = {},
): Promise<Predictor> {
  const opened = await openModel(path, device, modelType === null ? {} : { type: modelType });
  const { card } = opened;
  const { name, type, trained, classes, encoder } = card;
  const model = { name, hash: modelHash(opened), type, trained, classes, encoder };
  return {
    card,
    model,
    device,
    deviceName: device.name,
    async predict(slide, bag, label, signal) {
      const { logits, probabilities, attention, attentionRaw } = await predictBag(opened, bag, { signal });
      const best = probabilities.indexOf(Math.max(...probabilities));
      const result: PredictionResult = {
        slideId: slide.id,
        slideHash: slide.hash,
        model: { name, hash: model.hash, type, trained },
        classes,
        logits: [...logits],
        probabilities: [...probabilities],
        prediction: classes[best]!,
        label,
        device: device.name,
      };
      // Models whose attention differs by class have several raw scores a patch.
      const raw = attentionRaw?.length === bag.count ? attentionRaw : null;
      const scores = attention && { attention, ...(raw && { attention_raw: raw }) };
      return { result, scores, ranked: raw ?? attention };
    },
    explains: explain ? kindsOf(opened.model) : [],
    async explain(bag) {
      const features = await bag.read(0, bag.count);
      return await explainBag(opened, { ...bag, coords: bag.coords ?? null, features });
    },
    sources: (bag, row) => patchSources(opened, bag, row),
    async close() {
      opened.parameters.close();
      await device.close();
    },
  };
}

/** The weights and what the card says about how to use them: K and flip, for two, are not in the weights. */
export function modelHash({ card, hash }: { card: ModelCard; hash: string }): string {
  return `sha256:${createHash('sha256').update(JSON.stringify(card)).update(hash).digest('hex')}`;
}
