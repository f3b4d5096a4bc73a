import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { fitStains } from '../../src/features/stain-fit.ts';
import {
  fitSlideStain,
  planStain,
  publishedStain,
  type StainPlan,
  stainId,
  stainsOfPicture,
  withStain,
} from '../../src/features/stain-normalise.ts';
import { createGrid } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { patches } from '../../src/tiling/patches.ts';
import { readTissue } from '../../src/tiling/tissue.ts';

let folder: string;
/** Slides of two laboratories, which stain differently. */
let slides: { path: string; site: string }[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-normalise-'));
  const cohort = await writeSyntheticCohort(folder, { slides: 4, seed: 3, widthPx: 2400, heightPx: 1900 });
  slides = cohort.slides.map(({ path, site }) => ({ path, site }));
});
afterAll(() => rm(folder, { recursive: true }));

const choose = (
  method: 'macenko' | 'vahadane' | 'reinhard' | 'none',
  target: string | null = null,
  augmentSeed: number | null = null,
) => planStain({ method, target, augmentSeed });

/** Features of the first patches of a slide, and what was done to its colours. */
async function features(path: string, plan: StainPlan | null): Promise<Float32Array> {
  const slide = await openSlide(path, { mpp: 0.5, mppSource: 'flag' });
  const plain = await openEncoder('stain-texture');
  const encoder = plan ? withStain(plain, plan) : plain;
  try {
    const grid = createGrid(slide, await readTissue(slide), { patchPx: 256, mpp: 0.5 });
    const stain = plan && (await fitSlideStain('slide', slide, grid, plan));
    expect(stain?.warning ?? null).toBeNull();
    for await (const { pixels, count, size, first } of patches(slide, grid, { batchSize: 24 })) {
      const recolouring = stain && { ...stain.recolouring, first };
      return await encoder.encode({ pixels, count, size, recolouring });
    }
    throw new Error('no patches');
  } finally {
    await encoder.close();
    await slide.close();
  }
}

/** Mean amounts of the stains: the first numbers of each. */
function amounts(rows: Float32Array): number[] {
  const mean = (column: number) => {
    let sum = 0;
    for (let i = column; i < rows.length; i += 128) sum += rows[i]!;
    return sum / (rows.length / 128);
  };
  return [0, 7, 14].map(mean);
}

describe('a slide with its stains normalised', () => {
  it('looks more like one of another laboratory than before', async () => {
    const [one, other] = [slides[0]!, slides.find(({ site }) => site !== slides[0]!.site)!];
    const apart = async (plan: StainPlan | null) => {
      const [a, b] = [amounts(await features(one.path, plan)), amounts(await features(other.path, plan))];
      return Math.hypot(...a.map((value, i) => value - b[i]!));
    };
    const before = await apart(null);
    expect(await apart(await choose('macenko'))).toBeLessThan(0.85 * before);
  });

  it('is the same at every run, augmented or not, and differs when augmented by another seed', async () => {
    const { path } = slides[0]!;
    const plans = await Promise.all([choose('macenko'), choose('macenko', null, 1), choose('macenko', null, 2)]);
    const [plain, first, second] = await Promise.all(plans.map((plan) => features(path, plan)));
    expect(await features(path, plans[0]!)).toEqual(plain);
    expect(await features(path, plans[1]!)).toEqual(first);
    expect(first).not.toEqual(plain);
    expect(second).not.toEqual(first);
  });

  it('keeps its colours, with a reason, where there is nothing to normalise', async () => {
    const path = join(folder, 'grey.png');
    const grey = { create: { width: 800, height: 800, channels: 3 as const, background: '#e8e8e8' } };
    await sharp(grey).png().toFile(path);
    const slide = await openSlide(path, { mpp: 0.5, mppSource: 'flag' });
    const grid = createGrid(slide, null, { patchPx: 256, mpp: 0.5 });
    const stain = await fitSlideStain('grey', slide, grid, (await choose('macenko'))!);
    expect(stain.recolouring.transform).toBeNull();
    expect(stain.warning).toMatch(/not normalised \(macenko\): 0 of \d+ sampled pixels are stained/);
    await slide.close();
  });

  it('keeps its colours where they are light on darkness', () => {
    const pixels = Uint8Array.from({ length: 90_000 }, (_, i) => (i % 3 === 2 ? 70 + (i % 60) : 3 + (i % 5)));
    for (const method of ['macenko', 'vahadane', 'reinhard'] as const) {
      expect(fitStains(method, pixels)).toMatchObject({ reason: expect.stringContaining('dark') });
    }
  });
});

describe('the id of an encoder', () => {
  it('names the method and the target, so that other colours are other features', async () => {
    const picture = await stainsOfPicture('macenko', slides[0]!.path);
    const stored = join(folder, 'target.json');
    await writeFile(stored, JSON.stringify(picture));
    const plans = await Promise.all([
      choose('macenko'),
      choose('vahadane'),
      choose('macenko', stored),
      choose('reinhard', slides[0]!.path),
      choose('macenko', null, 7),
      choose('none', null, 7),
    ]);
    const ids = plans.map((plan) => stainId(plan!));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids[4]).toMatch(/^macenko-[0-9a-f]{8}\.augmented-7$/);
    expect(stainId((await choose('macenko', slides[0]!.path))!)).toBe(ids[2]);
    expect(await choose('none')).toBeNull();
    expect(publishedStain(ids[0]!)).toEqual(plans[0]);
    expect(publishedStain(ids[2]!)).toBeNull();
  });

  it('is enough to open it where the target is the published one', async () => {
    const stain = (await choose('macenko'))!;
    const encoder = await openEncoder(`stain-texture@1+${stainId(stain)}`);
    expect(encoder).toMatchObject({ id: `stain-texture@1+${stainId(stain)}`, stain });
    const batch = { pixels: new Uint8Array(3 * 64 * 64), count: 1, size: 64 };
    // Colours that are forgotten would be another encoder's features under this one's name.
    await expect(encoder.encode(batch)).rejects.toThrow('without the colours of its slide');
    await encoder.close();
    await expect(openEncoder('stain-texture@1+macenko-00000000')).rejects.toMatchObject({
      code: 'unknown-encoder',
      hint: expect.stringContaining('--stain-target'),
    });
    await expect(openEncoder('stain-texture@1+reinhard-00000000', { stain })).rejects.toMatchObject({
      code: 'unknown-encoder',
    });
  });
});

describe('a target', () => {
  it.each([
    ['{', /not JSON/],
    ['{"stains": [1, 0, 0, 0, 1], "amounts": [1, 1]}', /six numbers/],
    ['{"stains": [1, 1, 0, 0, 1, 0], "amounts": [1, 1]}', /length 1/],
    ['{"stains": [1, 0, 0, 0, 1, 0], "amounts": [1, 0]}', /above 0/],
    ['null', /six numbers/],
  ])('of %s is refused', async (text, says) => {
    const path = join(folder, 'bad.json');
    await writeFile(path, text);
    await expect(choose('macenko', path)).rejects.toMatchObject({
      code: 'bad-stain-target',
      problem: expect.stringMatching(says),
    });
  });

  it('is wanted by reinhard, and by no method without one', async () => {
    await expect(choose('reinhard')).rejects.toMatchObject({ code: 'bad-stain-target' });
    await expect(choose('none', 'a.png')).rejects.toMatchObject({ code: 'bad-stain-target' });
    await expect(choose('macenko', join(folder, 'no.json'))).rejects.toMatchObject({ code: 'bad-stain-target' });
  });
});
