/** Opens the parts of the line and sees that they fit each other before any slide is touched. */
import { UserError } from '../errors.ts';
import { requireMatch } from '../features/bag-check.ts';
import type { Encoder } from '../features/encoder.ts';
import type { OnDownload } from '../features/encoders/hub.ts';
import { type EncoderOptions, encoderNames, openEncoder } from '../features/open-encoder.ts';
import { planStain, type StainChoice } from '../features/stain-normalise.ts';
import type { Device } from '../kernels/device.ts';
import { type DeviceChoice, openGpu } from '../kernels/open-device.ts';
import type { ModelCard } from '../mil/model-card.ts';
import type { GridOrder } from '../row-order.ts';
import { gridDefaults } from '../tiling/grid.ts';
import type { Mpp } from '../units.ts';
import { lastingEncoder } from './lasting-encoder.ts';
import { type LastingPredictor, lastingPredictor } from './lasting-predictor.ts';
import { openPredictor, type Predictor, type PredictorOptions } from './predictor.ts';
import type { Line } from './slide-job.ts';

export interface LineOptions extends PredictorOptions {
  /** Folder of the model or a checkpoint; null goes no further than the bags. */
  readonly model: string | null;
  /** Null takes the one that the model was made for, and without a model the built-in one. */
  readonly encoder: string | null;
  /** Weights of a known encoder: a file, a folder, `hf:owner/name[/file]`. */
  readonly weights: string | null;
  readonly stain: StainChoice;
  /** Null takes what the model was made for, and without a model what the encoder wants. */
  readonly patchPx: number | null;
  /** Null likewise; `native` takes the pixels of level 0 as they are. */
  readonly patchMpp: Mpp | 'native' | null;
}

export interface OpenLine extends Line {
  readonly patchPx: number;
  /** Null for the pixels of level 0. */
  readonly patchMpp: Mpp | null;
  /** The order that the model was trained on. */
  readonly order: GridOrder;
  close(): Promise<void>;
}

const DEFAULT_ENCODER = 'stain-texture';

/**
 * @param onDownload hears of weights that come from Hugging Face.
 * @throws UserError as `openModel`; `unknown-encoder`, `encoder-unknown`; `encoder-mismatch` if model, encoder and patches do not belong
 * together; `no-gpu`.
 */
export async function openLine(options: LineOptions, onDownload?: OnDownload): Promise<OpenLine> {
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(part: T): T => {
    opened.unshift(part);
    return part;
  };
  // The last first: an encoder may compute on the model's device.
  const close = async () => {
    for (const part of opened) await part.close();
  };
  try {
    const { model } = options;
    const predictor = model === null ? null : keep(await openLastingPredictor(model, options));
    const card = predictor?.card ?? null;
    const { weights, threads } = options;
    const device = async () => await deviceFor(predictor, options.device, keep);
    const how: EncoderOptions = { weights, threads, device, stain: await planStain(options.stain), onDownload };
    const open = async () =>
      await (options.encoder === null ? openEncoderFor(model, card, how) : openEncoder(options.encoder, how));
    const encoder = keep(lastingEncoder(await open(), open));
    const asked = options.patchMpp ?? card?.patchMpp ?? encoder.input.mpp;
    const patchMpp = asked === 'native' ? null : asked;
    const patchPx = options.patchPx ?? card?.patchPx ?? encoder.input.size ?? gridDefaults.patchPx;
    if (card) {
      const needs = { encoder: card.encoder ?? encoder.id, dimension: card.input, patchMpp: card.patchMpp };
      requireMatch(
        `--model ${model}`,
        { meta: { encoder: encoder.id, patchMpp }, dimension: encoder.dimension },
        needs,
      );
    }
    const order = card && card.order !== 'unknown' ? card.order : gridDefaults.order;
    return { encoder, predictor, patchPx, patchMpp, order, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Where the device is lost and any may be taken, the CPU goes on. */
async function openLastingPredictor(model: string, options: LineOptions): Promise<LastingPredictor> {
  const open = () => openPredictor(model, options);
  const again = async (): Promise<Predictor> =>
    await open().catch((error) => {
      if (options.device !== 'auto') throw error;
      return openPredictor(model, { ...options, device: 'wasm' });
    });
  return lastingPredictor(await open(), again);
}

/** The model's device, so that both compute on the same; without a model, a GPU of its own if there is a real one. */
async function deviceFor(
  predictor: LastingPredictor | null,
  choice: DeviceChoice,
  keep: <T extends { close(): Promise<void> }>(part: T) => T,
): Promise<Device | null> {
  if (predictor) return await predictor.openDevice();
  const device = await openGpu(choice);
  return device && keep(device);
}

/** The encoder that the model was made for; the built-in one where there is no model. */
async function openEncoderFor(model: string | null, card: ModelCard | null, how: EncoderOptions): Promise<Encoder> {
  if (!card) return await openEncoder(DEFAULT_ENCODER, how);
  if (!card.encoder) {
    const problem = `--model ${model} does not say of which encoder its features were.`;
    throw new UserError(
      'encoder-unknown',
      problem,
      `Name it with --encoder, for example --encoder ${DEFAULT_ENCODER}.`,
    );
  }
  return await openEncoder(card.encoder, how).catch((error) => {
    if (!(error instanceof UserError)) throw error;
    const problem = `--model ${model} needs features of the encoder ${card.encoder}, which cannot be made here: ${error.problem}`;
    const hint = `${error.hint} Or take a model made for ${encoderNames.join(' or ')}.`;
    throw new UserError('encoder-mismatch', problem, hint, { cause: error });
  });
}
