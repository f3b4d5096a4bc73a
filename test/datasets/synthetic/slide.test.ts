import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FeatureCollection, Polygon } from 'geojson';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ring, type SyntheticTruth, writeSyntheticSlide } from '../../../datasets/synthetic/slide.ts';

const options = { seed: 5, widthPx: 2100, heightPx: 1700, tumour: true };

let folder: string;
let truth: SyntheticTruth;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-synthetic-'));
  truth = await writeSyntheticSlide(join(folder, 'tumour.tif'), options);
});
afterAll(() => rm(folder, { recursive: true }));

function inside(ring: Ring, x: number, y: number): boolean {
  return ring.reduce((odd, [x1, y1], i) => {
    const [x0, y0] = ring.at(i - 1)!;
    return y0 <= y !== y1 <= y && x < x0 + ((y - y0) * (x1 - x0)) / (y1 - y0) ? !odd : odd;
  }, false);
}

/** Share of dark blue pixels (nuclei) and of glass among those that the rings hold, and among the others. */
async function shares(path: string, rings: readonly Ring[]) {
  const { data, info } = await sharp(path, { page: 0 }).raw().toBuffer({ resolveWithObject: true });
  const count = () => ({ pixels: 0, nuclei: 0, glass: 0 });
  const [within, without] = [count(), count()];
  for (let y = 0; y < info.height; y += 3) {
    for (let x = 0; x < info.width; x += 3) {
      const i = (y * info.width + x) * 3;
      const side = rings.some((ring) => inside(ring, x, y)) ? within : without;
      side.pixels++;
      if (data[i]! < 110) side.nuclei++;
      if (Math.min(data[i]!, data[i + 1]!, data[i + 2]!) > 225) side.glass++;
    }
  }
  const share = ({ pixels, nuclei, glass }: ReturnType<typeof count>) => ({
    nuclei: nuclei / pixels,
    glass: glass / pixels,
  });
  return { within: share(within), without: share(without) };
}

describe('a synthetic slide', () => {
  it('has glass outside its tissue and hardly any inside', async () => {
    const { within, without } = await shares(truth.slide, truth.tissue);
    expect(without.glass).toBeGreaterThan(0.99);
    expect(within.glass).toBeLessThan(0.25);
  });

  it('has its crowded nuclei where the truth says tumour', async () => {
    expect(truth.tumourShare).toBeGreaterThan(0.15);
    const { within, without } = await shares(truth.slide, truth.nests);
    expect(within.nuclei).toBeGreaterThan(0.2);
    expect(within.nuclei).toBeGreaterThan(4 * without.nuclei);
  });

  it('comes with its nests as closed polygons that QuPath reads', async () => {
    const collection = JSON.parse(await readFile(truth.geojson, 'utf8')) as FeatureCollection<Polygon>;
    expect(collection.features).toHaveLength(truth.nests.length);
    for (const { geometry, properties } of collection.features) {
      const [ring] = geometry.coordinates;
      expect(ring!.at(-1)).toEqual(ring![0]);
      expect(properties).toMatchObject({ objectType: 'annotation', classification: { name: 'Tumor' } });
    }
  });

  it('is the same for the same seed, and another for another', async () => {
    await writeSyntheticSlide(join(folder, 'again.tif'), options);
    await writeSyntheticSlide(join(folder, 'other.tif'), { ...options, seed: 6 });
    const bytes = await readFile(truth.slide);
    expect(bytes.equals(await readFile(join(folder, 'again.tif')))).toBe(true);
    expect(bytes.equals(await readFile(join(folder, 'other.tif')))).toBe(false);
  });

  it('without tumour has no nests', async () => {
    const normal = await writeSyntheticSlide(join(folder, 'normal.tif'), { ...options, tumour: false });
    expect([normal.nests, normal.tumourShare]).toEqual([[], 0]);
    expect(JSON.parse(await readFile(normal.geojson, 'utf8')).features).toEqual([]);
  });

  it('leaves no temporary file', async () => {
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });
});
