/**
 * Derives the constants that bring the features of `stain-texture` to mean 0 and deviation 1, and writes src/features/stain-scale.ts:
 *
 *     npx tsx bench/stain-scale.ts
 *
 * Real tissue is what the encoder is for: the means are those of crops of the three real tiles of `data/features` (with synthetic
 * patches in the mean, all real crops lie on one side of the origin and their cosines say little). Three tiles of one slide vary too
 * little, so the variance is the average of theirs and that of synthetic patches (both stains, with and without tumour, glass at the
 * edges), each about its own mean. The labelled tiles of `data/tiles` are not looked at: they are what the encoder is tested on.
 */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { writeSyntheticCohort } from '../datasets/synthetic/cohort.ts';
import { createDescriber, DIMENSION } from '../src/features/stain-vector.ts';

const SIZE = 256;
const DATA = process.env.LAMINA_DATA ?? '../shared/data';

const describer = createDescriber(SIZE);

/** Raw features of the crops of a picture at every `step` pixels; glass alone is left out. */
async function crops(path: string, step: number): Promise<Float32Array[]> {
  const { data, info } = await sharp(path, { page: 0 }).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const found: Float32Array[] = [];
  const patch = new Uint8Array(SIZE * SIZE * 3);
  for (let y = 0; y + SIZE <= info.height; y += step) {
    for (let x = 0; x + SIZE <= info.width; x += step) {
      for (let row = 0; row < SIZE; row++) {
        const start = ((y + row) * info.width + x) * 3;
        patch.set(data.subarray(start, start + SIZE * 3), row * SIZE * 3);
      }
      const features = new Float32Array(DIMENSION);
      describer.describe(patch, 0, features);
      if (features[GREY]! > 0.1) found.push(features);
    }
  }
  return found;
}

/** Where the vector holds the root of the share of pixels that are not glass. */
const GREY = 21 + 36 + 27;

async function synthetic(): Promise<Float32Array[]> {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-scale-'));
  try {
    const { slides } = await writeSyntheticCohort(folder, { slides: 8, seed: 20, widthPx: 4096, heightPx: 3072 });
    return (await Promise.all(slides.map(({ path }) => crops(path, SIZE)))).flat();
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function real(): Promise<Float32Array[]> {
  const root = join(DATA, 'features');
  const files = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.jpg')).sort();
  return (await Promise.all(files.map((name) => crops(join(root, name), 64)))).flat();
}

const drawn = await synthetic();
const tissue = await real();
console.error(`${drawn.length} synthetic and ${tissue.length} real patches`);

const columns = Array.from({ length: DIMENSION }, (_, i) => i);
const average = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const meanOf = (set: Float32Array[], i: number) => average(set.map((features) => features[i]!));
function varianceOf(set: Float32Array[], i: number): number {
  const mean = meanOf(set, i);
  return average(set.map((features) => (features[i]! - mean) ** 2));
}

const means = columns.map((i) => meanOf(tissue, i));
const deviations = columns.map((i) => Math.max(0.01, Math.sqrt((varianceOf(drawn, i) + varianceOf(tissue, i)) / 2)));

const list = (values: number[]) => `[${values.map((value) => Number(value.toPrecision(4))).join(', ')}]`;
await writeFile(
  'src/features/stain-scale.ts',
  `/** Mean and deviation of each number of \`stain-vector.ts\`, written by \`bench/stain-scale.ts\`, which says on what they were measured. */
export const MEANS = ${list(means)};

export const DEVIATIONS = ${list(deviations)};
`,
);
