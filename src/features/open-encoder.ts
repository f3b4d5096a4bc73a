/** Encoders by name. */
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import type { Encoder } from './encoder.ts';
import type { OnDownload } from './encoders/hub.ts';
import { hubOptions, locate } from './encoders/locate.ts';
import { publishedStain, type StainPlan, stainId, withStain } from './stain-normalise.ts';
import { createStainTexture } from './stain-texture.ts';

const BUILT_IN = 'stain-texture';

export interface EncoderOptions {
  /** Weights of a preset: a file, a folder, `hf:owner/name[/file]`; null looks where weights are kept. */
  readonly weights?: string | null;
  /** Null leaves the number to the encoder. */
  readonly threads?: number | null;
  /** The device of the kernels; where it is a GPU, encoders compute on it as well. */
  readonly device?: () => Promise<Device | null>;
  /** What is done to the colours; null does nothing, unless an id says otherwise. */
  readonly stain?: StainPlan | null;
  /** Hears of weights that come from Hugging Face. */
  readonly onDownload?: OnDownload | undefined;
}

/** Names of encoders that need nothing but themselves. */
export const encoderNames: readonly string[] = [BUILT_IN];

/**
 * @param name of the built-in encoder or a preset, the path of an ONNX file or of a folder with one, `hf:owner/name[/file]`;
 *   or an id, as in a model's card (`stain-texture@1`, `stain-texture@1+macenko-1a2b3c4d`), which must be that of the encoder
 *   found.
 * @throws UserError `unknown-encoder`, which says what there is; as `locate` and `openOnnxEncoder`
 */
export async function openEncoder(name: string, options: EncoderOptions = {}): Promise<Encoder> {
  // An id is a name, an @ and a hash, and perhaps a + and stains; a path may have all of these in it.
  const [, family = name, colours = null] = /^([\w.-]+)@[\w.]+(?:\+([\w.-]+))?$/.exec(name) ?? [];
  const stain = options.stain ?? (colours === null ? null : publishedStain(colours));
  if (colours !== null && (stain === null || stainId(stain) !== colours)) throw otherColours(name, colours);
  const plain = await openFamily(family, options);
  const encoder = plain && stain ? withStain(plain, stain) : plain;
  if (!encoder)
    throw unknown(name, `Choose ${BUILT_IN}, one of those that \`lamina encoders\` lists, or an ONNX file.`);
  if (name === family || name === encoder.id) return encoder;
  await encoder.close();
  throw unknown(name, `The one that can be opened is ${encoder.id}: other weights, or another recipe.`);
}

async function openFamily(name: string, options: EncoderOptions): Promise<Encoder | null> {
  const { weights = null, threads = null, device, onDownload } = options;
  if (name === BUILT_IN) {
    if (weights === null) return await openStainTexture((await device?.()) ?? null);
    throw new UserError(
      'unknown-encoder',
      `${BUILT_IN} has no weights.`,
      'Leave --weights, or name another --encoder.',
    );
  }
  const found = await locate(name, { weights, hub: { ...hubOptions(), onProgress: onDownload } });
  if (!found) return null;
  const { openOnnxEncoder } = await import('./encoders/onnx-encoder.ts');
  return await openOnnxEncoder({ ...found, threads, device: (await device?.()) ?? null });
}

/** On a GPU, if that is the device. */
async function openStainTexture(device: Device | null): Promise<Encoder> {
  if (device?.kind !== 'webgpu') return createStainTexture();
  const { stainTextureOn } = await import('./encoders/stain-texture-on-device.ts');
  return createStainTexture(stainTextureOn(device));
}

function otherColours(name: string, colours: string): UserError {
  const problem = `${name} was made with its stains normalised or augmented (${colours}), and not with what is asked for now.`;
  return new UserError('unknown-encoder', problem, 'Give the same --stain and --stain-target (or --stain-augment).');
}

function unknown(name: string, hint: string): UserError {
  return new UserError('unknown-encoder', `There is no encoder ${name}.`, hint);
}
