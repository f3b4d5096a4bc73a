import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createGrid } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { readOverview } from '../../src/tiling/overview.ts';
import { patchQuality } from '../../src/tiling/patch-quality.ts';
import { patches } from '../../src/tiling/patches.ts';
import { canTellInk, penColourOf, penColours, penMask } from '../../src/tiling/pen.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { readTissue, tissueOf } from '../../src/tiling/tissue.ts';
import { dataFolder, isMeasured, slideNames } from '../real-data.ts';
import { createPicture } from './pictures.ts';

const masks = join(dataFolder, 'masks');

async function readRgb(path: string) {
  const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: new Uint8Array(data) };
}

async function readMask(path: string): Promise<Uint8Array> {
  return (await sharp(path).greyscale().raw().toBuffer()).map((value) => (value > 127 ? 1 : 0));
}

function recallAndPrecision(found: Uint8Array, truth: Uint8Array) {
  let both = 0;
  let foundCount = 0;
  let trueCount = 0;
  for (let i = 0; i < truth.length; i++) {
    both += found[i]! & truth[i]!;
    foundCount += found[i]!;
    trueCount += truth[i]!;
  }
  return { recall: both / trueCount, precision: both / foundCount };
}

const maskNames = existsSync(masks) ? readdirSync(masks) : [];
/** `<name>_mask.png` is drawn by hand on `<name>.png`; the name ends in the colour of the pen. */
const drawn = maskNames
  .map((name) => name.replace(/_mask\.png$/, ''))
  .filter((name) => maskNames.includes(`${name}.png`) && maskNames.includes(`${name}_mask.png`));

describe.skipIf(drawn.length === 0)(`pen marks of real slides (skipped if ${masks} has none)`, () => {
  it.each(drawn)('%s: found where they were drawn around by hand, and no tissue', async (name) => {
    const image = await readRgb(join(masks, `${name}.png`));
    const truth = await readMask(join(masks, `${name}_mask.png`));
    const colour = penColours.find((one) => name.endsWith(one));
    // The drawing is of one colour; other ink on the slide is not in it.
    const ofColour = penMask(image, 100, 8).data.map((ink, i) => {
      const [red, green, blue] = image.data.subarray(i * 3, i * 3 + 3) as unknown as [number, number, number];
      return ink === 1 && (!colour || penColourOf(red, green, blue) === colour) ? 1 : 0;
    });
    const { recall, precision } = recallAndPrecision(ofColour, truth);
    const tissue = tissueOf({ ...image, level0PerPixel: 1 }, 8);
    const covered = recallAndPrecision(tissue.data, truth).recall;
    expect(recall).toBeGreaterThan(0.85);
    expect(precision).toBeGreaterThan(0.85);
    expect(covered).toBeLessThan(0.1);
  });
});

describe('whether ink can be told', () => {
  const measured = [
    ['slides/wsi-jpeg.dcm', false, 'stained blue'],
    ['slides/test3-DAPI-2-387.ndpi', false, 'dark'],
    ['slides/CMU-1-Small-Region.svs', true, 'pink'],
    ['masks/histoqc-pen_red.png', true, 'marked'],
    ['masks/tcga-red-pen.png', true, 'marked all over'],
  ] as const;
  const overviewOf = (slide: Slide) => readOverview(slide, Math.max(1, slide.levels[0]!.width / 500));

  describe.each(measured)('%s, which is %s', (name, tells) => {
    it.skipIf(!isMeasured(name))('(skipped if missing or another file of that name)', async () => {
      const slide = await openSlide(join(dataFolder, name));
      expect(canTellInk(await overviewOf(slide))).toBe(tells);
      if (!tells) {
        // Its tissue is not taken for a mark.
        const tissue = await readTissue(slide);
        expect(tissue.data.reduce((sum, value) => sum + value, 0) / tissue.data.length).toBeGreaterThan(0.5);
      }
      await slide.close();
    });
  });

  const all = [...slideNames.map((name) => `slides/${name}`), ...drawn.map((name) => `masks/${name}.png`)];
  it.each(all)('%s: marks are taken from its tissue where it can, and nothing where it cannot', async (name) => {
    const slide = await openSlide(join(dataFolder, name));
    const overview = await overviewOf(slide);
    const [left, whole] = [false, true].map((keepPen) => tissueOf(overview, slide.scale.mpp ?? 1, { keepPen }).data);
    await slide.close();
    expect(left!.filter((value, i) => value > whole![i]!)).toHaveLength(0);
    if (!canTellInk(overview)) expect(left).toEqual(whole);
  });
});

describe('penColourOf', () => {
  it.each([
    [200, 30, 50, 'red'],
    [60, 150, 130, 'green'],
    [20, 50, 180, 'blue'],
    [40, 40, 45, 'black'],
    [215, 160, 195, null],
    [110, 70, 150, null],
    [245, 245, 245, null],
    [150, 110, 80, null],
  ] as const)('%i, %i, %i is %s', (red, green, blue, colour) => {
    expect(penColourOf(red, green, blue)).toBe(colour);
  });
});

describe('patchQuality', () => {
  const size = 128;
  const raw = { width: size, height: size, channels: 3 } as const;

  it('focus falls with blur', async () => {
    const { data } = createPicture(size, size);
    const values = [patchQuality(data, size).focus];
    for (const sigma of [0.6, 1.2, 2.4]) {
      values.push(patchQuality(new Uint8Array(await sharp(data, { raw }).blur(sigma).raw().toBuffer()), size).focus);
    }
    values.slice(1).forEach((value, i) => {
      expect(value).toBeLessThan(values[i]! / 2);
    });
  });

  it('counts ink by colour, and saturation', () => {
    const data = new Uint8Array(size * size * 3).fill(240);
    for (let i = 0; i < (size * size) / 4; i++) data.set([60, 150, 130], i * 3);
    const { ink, saturation, focus } = patchQuality(data, size);
    expect(ink).toEqual({ red: 0, green: 0.25, blue: 0, black: 0 });
    expect(saturation).toBeCloseTo(0.25 * (90 / 150), 6);
    expect(focus).toBeGreaterThan(0);
  });

  it('compares blocks with ink, not single pixels: dark nuclei are none', () => {
    const data = new Uint8Array(size * size * 3).fill(220);
    // A dark pixel in four: black by itself, grey from afar.
    for (let i = 0; i < size * size; i++)
      if (i % 2 === 0 && Math.floor(i / size) % 2 === 0) data.set([40, 30, 60], i * 3);
    expect(patchQuality(data, size).ink.black).toBe(0.25);
    expect(patchQuality(data, size, 8).ink.black).toBe(0);
  });

  const real = 'slides/CMU-1-Small-Region.svs';
  it.skipIf(!isMeasured(real))(
    `finds little ink on a real slide without marks (skipped if ${real} is missing or another file)`,
    async () => {
      const slide = await openSlide(join(dataFolder, real));
      const grid = createGrid(slide, await readTissue(slide));
      const most: number[] = [];
      for await (const { pixels, count, size: side } of patches(slide, grid)) {
        for (let i = 0; i < count; i++) {
          const { ink } = patchQuality(pixels.subarray(i * side * side * 3, (i + 1) * side * side * 3), side, 16);
          most.push(Math.max(...Object.values(ink)));
        }
      }
      await slide.close();
      expect(most.length).toBeGreaterThan(40);
      expect(Math.max(...most)).toBeLessThan(0.3);
      expect(most.filter((share) => share < 0.05).length / most.length).toBeGreaterThan(0.7);
    },
  );
});
