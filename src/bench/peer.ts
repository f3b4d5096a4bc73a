/** The same models in PyTorch on the same machine, by the programs of a folder (`torch_mambamil.py`, `torch_train_bags.py`). */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockType } from '../mil/mamba-block.ts';
import type { ModelShape } from './bench-model.ts';
import { lastJson } from './child.ts';
import { uniform } from './kernel-case.ts';

/** An interpreter that sees PyTorch; `PYTHON` names another. */
const PYTHON = process.env.PYTHON ?? '/usr/bin/python3';

const PEER_TYPE: Readonly<Record<BlockType, string>> = {
  mamba: 'Mamba',
  lbmamba: 'LBMamba',
  bimamba: 'BiMamba',
  srmamba: 'SRMamba',
};

/** A time, and the largest resident size of the process until then. */
export interface PeerFigure {
  readonly seconds: number;
  readonly peakBytes: number;
}

export interface Peer {
  /** One bag through the model, or one training step over it. */
  longBag(shape: ModelShape, task: 'forward' | 'train', patches: number, threads: number): Promise<PeerFigure>;
  /** Training steps a second, one bag of `bagSizes` a step, on one thread. */
  smallBags(shape: ModelShape, bagSizes: readonly number[], epochs: number): Promise<number>;
}

interface BagLine {
  readonly forward_s: number;
  readonly forward_peak_rss_mb: number;
  readonly train_step_s?: number;
  readonly train_peak_rss_mb?: number;
}

/** The peer, or why there is none. */
export async function findPeer(folder: string, signal?: AbortSignal): Promise<Peer | string> {
  if (!existsSync(join(folder, 'torch_mambamil.py'))) return `no peer programs in ${folder}: nothing to compare with`;
  try {
    await lastJson(PYTHON, ['-c', 'import torch, numpy; print(1)'], { signal });
  } catch {
    signal?.throwIfAborted();
    return `${PYTHON} has no PyTorch (apt-get install python3-torch, or set PYTHON): nothing to compare with`;
  }
  const run = <T>(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    lastJson<T>(PYTHON, [join(folder, program), ...args], { env: { PYTHONDONTWRITEBYTECODE: '1', ...env }, signal });
  return {
    async longBag(shape, task, patches, threads) {
      const found = await run<BagLine>('torch_mambamil.py', [
        ...flags({ type: PEER_TYPE[shape.type], L: patches, threads, 'in-dim': shape.input, 'd-model': shape.width }),
        ...(task === 'train' ? ['--train-step'] : []),
      ]);
      const [seconds, peak] =
        task === 'train'
          ? [found.train_step_s!, found.train_peak_rss_mb!]
          : [found.forward_s, found.forward_peak_rss_mb];
      // Its megabytes are 2^20 bytes.
      return { seconds, peakBytes: peak * 2 ** 20 };
    },
    async smallBags({ type, input, width, dropout = 0 }, bagSizes, epochs) {
      const scratch = await mkdtemp(join(tmpdir(), 'lamina-bench-'));
      try {
        const file = join(scratch, 'bags.csv');
        await writeFile(file, bagTable(bagSizes, input));
        // Half of the bags are a fold's training set: twice the epochs give the same number of steps.
        const options = flags({ type: PEER_TYPE[type], folds: 2, epochs: 2 * epochs, 'd-model': width, dropout });
        const oneThread = { OPENBLAS_NUM_THREADS: '1' };
        const found = await run<{ bag_steps_per_s: number }>('torch_train_bags.py', [file, ...options], oneThread);
        return found.bag_steps_per_s;
      } finally {
        await rm(scratch, { recursive: true });
      }
    },
  };
}

function flags(values: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, `${value}`]);
}

/** Label, bag, features; one line an instance. */
function bagTable(bagSizes: readonly number[], features: number): string {
  const rows = bagSizes.flatMap((size, bag) =>
    Array.from({ length: size }, (_, i) => [bag % 2, bag, ...uniform(64 * bag + i, features)].join(',')),
  );
  return `${rows.join('\n')}\n`;
}
