/** Encoders by name. */
import { UserError } from '../errors.ts';
import type { Encoder } from './encoder.ts';
import { locate } from './encoders/locate.ts';
import { createStainTexture } from './stain-texture.ts';

const BUILT_IN = 'stain-texture';

export interface EncoderOptions {
  /** Weights of a preset: a file, a folder, `hf:owner/name[/file]`; null looks where weights are kept. */
  readonly weights?: string | null;
  /** Null leaves the number to the encoder. */
  readonly threads?: number | null;
}

/** Names of encoders that need nothing but themselves. */
export const encoderNames: readonly string[] = [BUILT_IN];

/**
 * @param name of the built-in encoder or a preset, the path of an ONNX file or of a folder with one, `hf:owner/name[/file]`;
 *   or an id, as in a model's card (`stain-texture@1`), which must be that of the encoder found.
 * @throws UserError `unknown-encoder`, which says what there is; as `locate` and `openOnnxEncoder`
 */
export async function openEncoder(name: string, options: EncoderOptions = {}): Promise<Encoder> {
  // An id is a name, an @ and a hash; a path may have an @ in it.
  const family = /^([\w.-]+)@[\w.]+$/.exec(name)?.[1] ?? name;
  const encoder = await openFamily(family, options);
  if (!encoder)
    throw unknown(name, `Choose ${BUILT_IN}, one of those that \`lamina encoders\` lists, or an ONNX file.`);
  if (name === family || name === encoder.id) return encoder;
  await encoder.close();
  throw unknown(name, `The one that can be opened is ${encoder.id}: other weights, or another recipe.`);
}

async function openFamily(name: string, { weights = null, threads = null }: EncoderOptions): Promise<Encoder | null> {
  if (name === BUILT_IN) {
    if (weights === null) return createStainTexture();
    throw new UserError(
      'unknown-encoder',
      `${BUILT_IN} has no weights.`,
      'Leave --weights, or name another --encoder.',
    );
  }
  const found = await locate(name, { weights });
  if (!found) return null;
  const { openOnnxEncoder } = await import('./encoders/onnx-encoder.ts');
  return await openOnnxEncoder({ ...found, threads });
}

function unknown(name: string, hint: string): UserError {
  return new UserError('unknown-encoder', `There is no encoder ${name}.`, hint);
}
