/** Encoders by name. */
import { UserError } from '../errors.ts';
import type { Encoder } from './encoder.ts';
import { createStainTexture } from './stain-texture.ts';

const ENCODERS: Readonly<Record<string, () => Encoder | Promise<Encoder>>> = {
  'stain-texture': createStainTexture,
};

/** Names that `openEncoder` knows. */
export const encoderNames: readonly string[] = Object.keys(ENCODERS);

/**
 * @param name of an encoder; an id with a version, as in a model's card (`stain-texture@1`), must be the version there is.
 * @throws UserError `unknown-encoder`, which lists the encoders there are.
 */
export async function openEncoder(name: string): Promise<Encoder> {
  const [family] = name.split('@');
  const open = Object.hasOwn(ENCODERS, family!) ? ENCODERS[family!]! : null;
  if (!open) throw unknown(name, encoderNames);
  const encoder = await open();
  if (name === family || name === encoder.id) return encoder;
  await encoder.close();
  throw unknown(name, [encoder.id]);
}

function unknown(name: string, known: readonly string[]): UserError {
  return new UserError('unknown-encoder', `There is no encoder ${name}.`, `Choose one of: ${known.join(', ')}.`);
}
