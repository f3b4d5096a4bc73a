/** Opens the parts of the line and sees that they fit each other before any slide is touched. */
import { UserError } from '../errors.ts';
import type { Encoder } from '../features/encoder.ts';
import { openEncoder } from '../features/open-encoder.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { gridDefaults } from '../tiling/grid.ts';
import type { Mpp } from '../units.ts';
import { openPredictor } from './predictor.ts';
import type { Line } from './slide-job.ts';

export interface LineOptions {
  /** Folder of the model or a checkpoint; null goes no further than the bags. */
  readonly model: string | null;
  /** Null takes the one that the model was made for, and without a model the built-in one. */
  readonly encoder: string | null;
  readonly device: DeviceChoice;
  readonly threads: number | undefined;
  /** Null takes what the model was made for, and without a model what the encoder wants. */
  readonly patchPx: number | null;
  readonly patchMpp: Mpp | null;
}

export interface OpenLine extends Line {
  readonly patchPx: number;
  readonly patchMpp: Mpp;
  close(): Promise<void>;
}

const DEFAULT_ENCODER = 'stain-texture';

/**
 * @throws UserError `no-model`, `bad-model`, `unknown-encoder`; `encoder-mismatch` if model, encoder and patches do not belong
 * together; `no-gpu`.
 */
export async function openLine(options: LineOptions): Promise<OpenLine> {
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(part: T): T => {
    opened.unshift(part);
    return part;
  };
  const close = async () => void (await Promise.all(opened.map((part) => part.close())));
  try {
    const { model } = options;
    const predictor =
      model === null
        ? null
        : keep(await openPredictor(model, () => openDevice(options.device, { threads: options.threads })));
    const card = predictor?.card ?? null;
    const encoder = keep(await openFittingEncoder(options.encoder, model, card));
    const patchMpp = options.patchMpp ?? card?.patchMpp ?? encoder.input.mpp;
    const patchPx = options.patchPx ?? card?.patchPx ?? encoder.input.size ?? gridDefaults.patchPx;
    predictor?.requireFit(encoder, patchMpp);
    return { encoder, predictor, patchPx, patchMpp, close };
  } catch (error) {
    await close();
    throw error;
  }
}
