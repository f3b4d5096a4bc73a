/** Weights from PyTorch's file into safetensors and back, as f32, under the names they have. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { cannotWrite, messageOf, UserError } from '../errors.ts';
import { isTorchFile, toTorch } from '../features/torch-file.ts';
import { readSafetensors, toSafetensors } from './safetensors.ts';
import { readTorchWeights } from './torch-checkpoint.ts';

/** What the files are is told by their first bytes and the new one's extension. @throws UserError `no-model`, `not-torch`, `not-safetensors`, `cannot-write`. */
export async function convertCheckpoint(from: string, to: string): Promise<{ tensors: number; parameters: number }> {
  const bytes = await readFile(from).catch((error) => {
    throw new UserError('no-model', `${from}: cannot be read (${messageOf(error)}).`, 'Check the path.');
  });
  const weights = isTorchFile(bytes) ? readTorchWeights(bytes, from) : readSafetensors(bytes, from);
  const written = /\.safetensors$/i.test(to)
    ? toSafetensors(weights, { format: 'pt' })
    : /\.(pt|pth|bin)$/i.test(to)
      ? toTorch(weights)
      : null;
  if (!written) {
    throw new UserError('unknown-format', `${to}: no kind of checkpoint.`, 'Let its name end in .safetensors or .pt.');
  }
  const partial = `${to}.partial`;
  try {
    await writeFile(partial, written);
    await rename(partial, to);
  } catch (error) {
    await rm(partial, { force: true });
    throw cannotWrite(to, error);
  }
  const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  return { tensors: weights.size, parameters };
}
