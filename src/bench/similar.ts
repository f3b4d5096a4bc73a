/** A cohort for the search for similar patches: one bag under the names of many slides, so that it lies in the page cache. */
import { link, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BagMeta } from '../features/bag.ts';
import { createBagWriter } from '../features/store.ts';
import type { SlideResult } from '../mil/result.ts';
import { VERSION } from '../version.ts';
import { WrongResult } from './check.ts';
import { uniform } from './kernel-case.ts';

export interface Cohort {
  readonly slides: number;
  /** A slide. */
  readonly patches: number;
  readonly features: number;
}

const SIDE = 128;
const COLUMNS = 100;

/** Writes a run of slides `0`, `1`, … into `folder`; the picture is of no matter. */
export async function writeCohort(
  folder: string,
  slide: Partial<SlideResult>,
  { slides, patches, features }: Cohort,
): Promise<void> {
  const patch = { px: SIDE, level0Px: SIDE, mpp: 0.5 };
  const meta: BagMeta = {
    slideId: 'bench',
    slideHash: 'head:bench',
    mpp: 0.5,
    mppSource: 'file',
    patchMpp: patch.mpp,
    patchPx: patch.px,
    patchLevel0Px: patch.level0Px,
    encoder: 'none',
    order: 'row-major',
    version: VERSION,
  };
  const bag = join(folder, 'bag.arrow');
  await mkdir(folder, { recursive: true });
  const writer = await createBagWriter(bag, meta, { dimension: features, dtype: 'f16' });
  for (let first = 0; first < patches; first += 1000) {
    const rows = Math.min(1000, patches - first);
    const coords = Int32Array.from({ length: 2 * rows }, (_, i) => placeOf(first + (i >> 1))[i % 2]!);
    await writer.append(Float32Array.from(uniform(first + 1, rows * features)), coords);
  }
  await writer.finish();
  for (let id = 0; id < slides; id++) {
    const out = join(folder, 'run/slides', `${id}`);
    await mkdir(out, { recursive: true });
    await link(bag, join(out, 'bag.arrow'));
    const record = { ...slide, id: `${id}`, hash: meta.slideHash, nPatches: patches, patch };
    await writeFile(join(out, 'slide.json'), JSON.stringify(record));
  }
  const run = { version: VERSION, startedAt: new Date().toISOString(), configuration: {} };
  await writeFile(join(folder, 'run/run.json'), JSON.stringify(run));
}

/** Milliseconds until the most similar patches of the cohort are known, round after round: those at the same place of the other slides. */
export async function timeSimilar(address: string, { slides, patches }: Cohort, rounds: number): Promise<number[]> {
  const url = new URL('api/slides/0/similar', address);
  const headers = { 'content-type': 'application/json', 'x-lamina': '1' };
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const [x, y] = placeOf(Math.floor((patches * (round + 1)) / (rounds + 1)));
    const count = Math.min(12, slides - 1);
    const start = performance.now();
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ x, y, count }) });
    const found = (await answer.json()) as {
      patches?: { x: number; y: number; similarity: number }[];
      searched?: { patches: number };
    };
    times.push(performance.now() - start);
    const right = found.patches?.filter((one) => one.x === x && one.y === y && Math.abs(one.similarity - 1) < 1e-6);
    if (right?.length !== count || found.searched?.patches !== slides * patches) {
      throw new WrongResult(
        `the search found ${right?.length} of ${count} copies in ${found.searched?.patches} patches`,
      );
    }
  }
  return times;
}

function placeOf(patch: number): [number, number] {
  return [SIDE * (patch % COLUMNS), SIDE * Math.floor(patch / COLUMNS)];
}
