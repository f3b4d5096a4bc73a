import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { otsu, readTissue, tissueMask, tissueOf } from '../../src/tiling/tissue.ts';
import { dataFolder, isMeasured, type MeasuredFile, slideNames } from '../real-data.ts';

const masks = join(dataFolder, 'masks');

/** A boolean NumPy array of two axes. */
function readNpy(path: string) {
  const bytes = readFileSync(path);
  const headerLength = bytes.readUInt16LE(8);
  const [, rows, columns] = /'shape': \((\d+), (\d+)\)/.exec(bytes.toString('latin1', 10, 10 + headerLength))!;
  return { width: Number(columns), height: Number(rows), data: bytes.subarray(10 + headerLength) };
}

const maskNames = existsSync(masks) ? readdirSync(masks) : [];

/** `tissue-mask-<name>.npy` is of the picture of that name, or of the slide whose name begins so. */
const references = maskNames.flatMap((reference) => {
  const name = /^tissue-mask-(.+)\.npy$/.exec(reference)?.[1];
  if (name === undefined) return [];
  const slide = slideNames.find((one) => one.toLowerCase().startsWith(name));
  const file = slide ? `slides/${slide}` : maskNames.includes(`${name}.png`) ? `masks/${name}.png` : null;
  return file ? [{ file, reference }] : [];
});

describe.skipIf(references.length === 0)(`tissue of real slides (skipped if ${masks} has no references)`, () => {
  it.each(references)('$file agrees with the reference (IoU >= 0.85)', async ({ file, reference }) => {
    const expected = readNpy(join(masks, reference));
    const slide = await openSlide(join(dataFolder, file));
    const { width, height } = slide.levels[0]!;
    const agreements: number[] = [];
    // These references count pen marks as tissue; the measured ones, all but one, have none.
    for (const keepPen of isMeasured(file as MeasuredFile) ? [false] : [false, true]) {
      const tissue = await readTissue(slide, undefined, { keepPen });
      let both = 0;
      let either = 0;
      for (let y = 0; y < expected.height; y++) {
        for (let x = 0; x < expected.width; x++) {
          const column = Math.floor((((x + 0.5) / expected.width) * width) / tissue.level0PerPixel);
          const row = Math.floor((((y + 0.5) / expected.height) * height) / tissue.level0PerPixel);
          const ours = tissue.data[row * tissue.width + column]!;
          both += ours & expected.data[y * expected.width + x]!;
          either += ours | expected.data[y * expected.width + x]!;
        }
      }
      agreements.push(both / either);
    }
    await slide.close();
    expect(Math.max(...agreements)).toBeGreaterThanOrEqual(0.85);
  });
});

describe('tissueOf', () => {
  /** 400 x 300 px of 8 um with a disc of 80 px. */
  async function overviewOf(background: [number, number, number], disc: [number, number, number]) {
    const [width, height] = [400, 300];
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
      const colour = Math.hypot(x - 200, y - 150) < 80 ? disc : background;
      return colour[i % 3]! + ((i * 2654435761) % 3) - 1;
    });
    const raw = { width, height, channels: 3 } as const;
    return { width, height, level0PerPixel: 16, data: new Uint8Array(await sharp(data, { raw }).raw().toBuffer()) };
  }
  const discUm2 = Math.PI * 80 ** 2 * 64;

  it.each([
    ['H&E', [243, 241, 244], [210, 130, 190]],
    ['pale eosin', [243, 241, 244], [236, 200, 222]],
    ['DAB', [235, 236, 232], [150, 110, 80]],
    ['fluorescence', [3, 3, 4], [10, 20, 120]],
  ] as const)('finds a disc of %s', async (_, background, disc) => {
    const { areaUm2 } = tissueMask(tissueOf(await overviewOf([...background], [...disc]), 0.5), 16, 64);
    // The margin of 25 um makes the radius of 640 um 4 % larger.
    expect(areaUm2! / discUm2).toBeGreaterThan(1);
    expect(areaUm2! / discUm2).toBeLessThan(1.12);
  });

  it('of an empty slide is empty, which is no error', async () => {
    const mask = tissueOf(await overviewOf([243, 241, 244], [243, 241, 244]), 0.5);
    expect(tissueMask(mask, 16, 64).areaUm2).toBe(0);
    expect(mask.data.some((value) => value === 1)).toBe(false);
  });

  it('of an unknown scale has no area in um2', async () => {
    const mask = tissueOf(await overviewOf([243, 241, 244], [210, 130, 190]), 0.5);
    expect(tissueMask(mask, 16, null).areaUm2).toBeNull();
  });
});

describe('otsu', () => {
  it('separates two groups between them', () => {
    const values = Uint8Array.from({ length: 1000 }, (_, i) => (i % 4 ? 20 + (i % 11) : 150 + (i % 31)));
    expect(otsu(values)).toBeGreaterThanOrEqual(30);
    expect(otsu(values)).toBeLessThan(150);
  });
});
