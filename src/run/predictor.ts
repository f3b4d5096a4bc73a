/** A model on a device, as the line uses it: a bag in, the prediction file and the score columns out. */
import type { Bag } from '../features/bag.ts';
import type { PredictionResult, RunResult } from '../mil/result.ts';

export interface Prediction {
  readonly result: PredictionResult;
  /** One value a patch; null for models without attention. */
  readonly scores: { readonly attention: Float32Array; readonly attention_raw: Float32Array } | null;
}

export interface Predictor {
  readonly model: NonNullable<RunResult['model']>;
  readonly deviceName: string;
  predict(slide: { id: string; hash: string }, bag: Bag, label: string | null): Promise<Prediction>;
  close(): Promise<void>;
}
