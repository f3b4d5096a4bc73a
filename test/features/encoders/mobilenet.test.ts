import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mobilenetOnnx, mobilenetRecipe } from '../../../bench/onnx/mobilenet.ts';
import type { Encoder } from '../../../src/features/encoder.ts';
import { openEncoder } from '../../../src/features/open-encoder.ts';
import { dataFolder, isMeasured } from '../../real-data.ts';
import { aboveChance, labelledTiles, nearestInClass } from '../nearest-neighbour.ts';
import { mobilenetByHand } from './mobilenet-by-hand.ts';

const MODEL = join(dataFolder, 'models/mobilenet_v1_1.0_224_tfjs');
const TILES = join(dataFolder, 'tiles/crc-val-he-7k');
/** Published with the data, from a program of its own. */
const FIRST_EIGHT = [0.38866, 0.00594, 0.95637, 0.03916, 0.00831, 0.39724, 1.58486, 0.10963];

const SIZE = 224;

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

  const measured = isMeasured('models/mobilenet_v1_1.0_224_tfjs', 'tiles/crc-val-he-7k');
  const tiles = present ? labelledTiles(TILES) : [];

  async function read(path: string): Promise<Uint8Array> {
    return new Uint8Array(await sharp(path).resize(SIZE, SIZE).removeAlpha().raw().toBuffer());
  }

  it.skipIf(!measured)(
    'gives the numbers that another program gives (skipped for other weights or tiles)',
    async () => {
      const pixels = await read(join(TILES, 'TUM/TUM-TCGA-DRHQMTQA.png'));
      const features = await encoder.encode({ pixels, count: 1, size: SIZE });
      expect(features).toHaveLength(1024);
      for (const [i, value] of FIRST_EIGHT.entries()) expect(Math.abs(features[i]! - value)).toBeLessThan(2e-5);
    },
  );

  it('gives the numbers of the network written out in loops', async () => {
    const pixels = await read(tiles[0]!.path);
    const features = await encoder.encode({ pixels, count: 1, size: SIZE });
    const expected = mobilenetByHand(MODEL, pixels, SIZE);
    expect(features).toHaveLength(expected.length);
    const largest = expected.reduce((most, value) => Math.max(most, value), 0);
    for (const [i, value] of expected.entries()) expect(Math.abs(features[i]! - value)).toBeLessThan(1e-4 * largest);
  });

  it('finds the nearest tile in the same class far more often than chance, and as often as is known of it', async () => {
    const pixels = new Uint8Array(Buffer.concat(await Promise.all(tiles.map(({ path }) => read(path)))));
    const features = await encoder.encode({ pixels, count: tiles.length, size: SIZE });
    const width = features.length / tiles.length;
    const rows = tiles.map(({ label }, i) => ({ label, row: features.subarray(width * i, width * (i + 1)) }));
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    const share = nearestInClass(rows, ({ row: a }, { row: b }) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)));
    expect(share).toBeGreaterThan(aboveChance(tiles));
    if (measured) expect(share).toBeCloseTo(0.625, 3);
  });
});
