import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Artefact } from '../../../datasets/synthetic/artefacts.ts';
import { writeSyntheticSlide } from '../../../datasets/synthetic/slide.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-artefacts-'))));
afterAll(() => rm(folder, { recursive: true }));

async function pixels(artefacts: readonly Artefact[], tumour = false) {
  const path = join(folder, `${artefacts.join('-') || 'plain'}.tif`);
  const truth = await writeSyntheticSlide(path, { seed: 4, widthPx: 1800, heightPx: 1400, tumour, artefacts });
  const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, truth };
}

const green = ({ data }: { data: Buffer }) => {
  let count = 0;
  for (let i = 0; i < data.length; i += 3) count += Number(data[i + 1]! > data[i]! + 40);
  return count;
};
/** Mean step from a pixel to its right neighbour, in the steepest tenth of the columns and in the flattest. */
const sharpness = ({ data, width }: { data: Buffer; width: number }) => {
  const columns = new Float64Array(width - 1);
  for (let i = 0; i + 3 < data.length; i += 3) {
    const x = (i / 3) % width;
    if (x < width - 1) columns[x]! += Math.abs(data[i]! - data[i + 3]!);
  }
  return columns;
};

describe('artefacts of synthetic slides', () => {
  it('are not there unless asked for; pen is green ink across the slide', async () => {
    expect(green(await pixels([]))).toBeLessThan(100);
    expect(green(await pixels(['pen']))).toBeGreaterThan(1800 * 100);
  });

  it('put a zone out of focus and leave the rest as it is', async () => {
    const [before, after] = [sharpness(await pixels([])), sharpness(await pixels(['blur']))];
    const softer = [...before.keys()].filter((x) => after[x]! < 0.5 * before[x]!).length;
    expect(softer / before.length).toBeGreaterThan(0.2);
    expect(softer / before.length).toBeLessThan(0.4);
  });

  it('leave glass alone on an empty slide, whose truth says so', async () => {
    const { data, truth } = await pixels(['empty'], true);
    expect(truth).toMatchObject({ tumour: false, tumourShare: 0, tissue: [], nests: [] });
    expect(data.every((value) => value > 200)).toBe(true);
  });
});
