import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mobilenetOnnx, mobilenetRecipe } from '../../../bench/onnx/mobilenet.ts';
import type { Encoder } from '../../../src/features/encoder.ts';
import { openEncoder } from '../../../src/features/open-encoder.ts';

const DATA = process.env.LAMINA_DATA ?? '../shared/data';
const MODEL = join(DATA, 'models/mobilenet_v1_1.0_224_tfjs');
const TILES = join(DATA, 'tiles/crc-val-he-7k');
/** Published with the data, from a program of its own. */
const FIRST_EIGHT = [0.38866, 0.00594, 0.95637, 0.03916, 0.00831, 0.39724, 1.58486, 0.10963];

const present = existsSync(MODEL) && existsSync(TILES);

describe.skipIf(!present)(`a real network, MobileNet v1 (${MODEL} and ${TILES} present)`, () => {
  let folder: string;
  let encoder: Encoder;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-mobilenet-'));
    await writeFile(join(folder, 'mobilenet.onnx'), await mobilenetOnnx(MODEL));
    await writeFile(join(folder, 'encoder.json'), JSON.stringify(mobilenetRecipe));
    encoder = await openEncoder(folder);
  });
  afterAll(async () => {
    await encoder?.close();
    await rm(folder, { recursive: true });
  });

  const read = async (path: string) => new Uint8Array(await sharp(path).removeAlpha().raw().toBuffer());

  it('gives the numbers that another program gives', async () => {
    const pixels = await read(join(TILES, 'TUM/TUM-TCGA-DRHQMTQA.png'));
    const features = await encoder.encode({ pixels, count: 1, size: 224 });
    expect(features).toHaveLength(1024);
    for (const [i, value] of FIRST_EIGHT.entries()) expect(Math.abs(features[i]! - value)).toBeLessThan(2e-5);
  });

  it('finds the nearest tile in the same class as often as is known of it', async () => {
    const labels = await readdir(TILES);
    const tiles = (
      await Promise.all(
        labels.map(async (label) =>
          (await readdir(join(TILES, label))).map((name) => ({ label, path: join(TILES, label, name) })),
        ),
      )
    ).flat();
    const pictures = await Promise.all(tiles.map(({ path }) => read(path)));
    const pixels = new Uint8Array(Buffer.concat(pictures));
    const features = await encoder.encode({ pixels, count: tiles.length, size: 224 });
    const row = (i: number) => features.subarray(1024 * i, 1024 * (i + 1));
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    const cosine = (i: number, j: number) => dot(row(i), row(j)) / Math.sqrt(dot(row(i), row(i)) * dot(row(j), row(j)));
    const right = tiles.filter(({ label }, i) => {
      const others = tiles.map((_, j) => j).filter((j) => j !== i);
      const nearest = others.reduce((best, j) => (cosine(i, j) > cosine(i, best) ? j : best));
      return tiles[nearest]!.label === label;
    });
    expect(right.length / tiles.length).toBeCloseTo(0.625, 3);
  });
});
