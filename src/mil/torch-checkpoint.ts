/** Checkpoints as `torch.save` writes them: the weights out of a PyTorch file, which `features/torch-file.ts` reads. */
import { UserError } from '../errors.ts';
import { isTensor, readTorch } from '../features/torch-file.ts';
import type { HostTensor, Weights } from './safetensors.ts';

/**
 * The weights of a checkpoint: a state dict, bare or as `state_dict` or `model` of a larger dict; `module.` prefixes go.
 * @throws UserError `not-torch` naming `source`.
 */
export function readTorchWeights(bytes: Uint8Array, source: string): Weights {
  const value = readTorch(bytes, source);
  const dict = value instanceof Map ? (value.get('state_dict') ?? value.get('model') ?? value) : value;
  const weights = new Map<string, HostTensor>();
  if (dict instanceof Map) {
    for (const [name, t] of dict) if (isTensor(t)) weights.set(name.replace(/^module\./, ''), t);
  }
  if (weights.size === 0) {
    throw new UserError('not-torch', `${source} holds no state dict.`, 'Save model.state_dict() with torch.save.');
  }
  return weights;
}
