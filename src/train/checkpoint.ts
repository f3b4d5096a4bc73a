/** The state of a training under way, in one file that is either whole or not there: weights, best weights, moments, history. */
import { readFile, rm } from 'node:fs/promises';
import type { AdamState } from '../kernels/optimizer.ts';
import { readSafetensors, toSafetensors } from '../mil/safetensors.ts';
import { writeWhole } from '../run/whole-file.ts';
import type { EpochRecord } from './fold-training.ts';

export interface TrainingState {
  readonly history: readonly EpochRecord[];
  /** Steps of the optimizer so far. */
  readonly steps: number;
  readonly seconds: number;
  /** Number of the epoch whose weights are the best so far, and its score; -1 for none. */
  readonly bestEpoch: number;
  readonly bestScore: number | null;
  /** Flat parameters, in the order of the model's shapes. */
  readonly values: Float32Array;
  readonly best: Float32Array;
  readonly optimizer: AdamState;
}

export interface CheckpointFile {
  read(): Promise<TrainingState | null>;
  write(state: TrainingState): Promise<void>;
  remove(): Promise<void>;
}

/** @param key what the training is; a file of another one counts as none. */
export function checkpointFile(path: string, key: string): CheckpointFile {
  return {
    async read() {
      const bytes = await readFile(path).catch(() => null);
      if (bytes === null) return null;
      const text = metadataOf(bytes).state;
      const state = text === undefined ? null : JSON.parse(text);
      if (state?.key !== key) return null;
      const tensors = readSafetensors(bytes, path);
      const data = (name: string) => tensors.get(name)!.data;
      const optimizer = { step: state.steps as number, m: data('m'), v: data('v') };
      return { ...state, values: data('values'), best: data('best'), optimizer };
    },
    async write({ values, best, optimizer, ...state }) {
      const tensors = { values, best, m: optimizer.m, v: optimizer.v };
      const weights = new Map(Object.entries(tensors).map(([name, data]) => [name, { shape: [data.length], data }]));
      await writeWhole(path, toSafetensors(weights, { state: JSON.stringify({ key, ...state }) }));
    },
    async remove() {
      await rm(path, { force: true });
    },
  };
}

/** The texts that a safetensors file carries beside its tensors. */
function metadataOf(bytes: Uint8Array): Record<string, string> {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))).__metadata__ ?? {};
}
