/** Two runs over the same synthetic slides by the program itself, with two models: patches to be asked about, heatmaps to compare. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { saveRandomModel } from '../cli/random-model.ts';
import { lamina } from '../cli/spawn.ts';

export interface TwoRuns {
  /** Slides `one` and `two`, and `stained`, whose features are those of recoloured patches. */
  readonly first: string;
  /** Slides `one` and `two` by a wider model. */
  readonly other: string;
  remove(): Promise<void>;
}

const SIDE = 128;

export async function writeTwoRuns(): Promise<TwoRuns> {
  const at = await mkdtemp(join(tmpdir(), 'lamina-two-runs-'));
  await mkdir(join(at, 'slides'));
  const slide = (name: string) => join(at, 'slides', `${name}.svs`);
  for (const [seed, name] of ['one', 'two', 'stained'].entries()) {
    await writeSyntheticSlide(slide(name), { seed: 20 + seed, widthPx: 1792, heightPx: 1280, tumour: true });
  }
  const [first, other] = [join(at, 'first'), join(at, 'other')];
  // Before the runs: run.json is that of the last one, and says which model is asked.
  await succeed('extract', slide('stained'), '--out', first, '--stain', 'macenko', '--patch-size', `${SIDE}`);
  const run = async (out: string, model: string) => {
    const fixed = ['--patch-size', `${SIDE}`, '--device', 'wasm', '--threads', '1'];
    await succeed('run', slide('one'), slide('two'), '--model', model, '--out', out, ...fixed);
  };
  for (const [out, name, width] of [
    [first, 'narrow', 16],
    [other, 'wide', 24],
  ] as const) {
    await saveRandomModel(join(at, name), { width, patchPx: SIDE, trained: true });
    await run(out, join(at, name));
  }
  return { first, other, remove: () => rm(at, { recursive: true, force: true }) };
}

async function succeed(...args: string[]): Promise<void> {
  const { code, stderr } = await lamina(...args);
  if (code !== 0) throw new Error(`lamina ${args[0]} ended with ${code}: ${stderr}`);
}
