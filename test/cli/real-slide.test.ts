/** The whole line on a real Aperio slide, against a tissue mask that another program drew (histolab's). */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBag, type StoredBag } from '../../src/features/store.ts';
import { aperioFacts, readTiffPages, tagValue } from '../file-tags.ts';
import { dataFolder, isMeasured, slideNames } from '../real-data.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina } from './spawn.ts';

const masks = join(dataFolder, 'masks');
const maskNames = existsSync(masks) ? readdirSync(masks) : [];

/** `tissue-mask-<name>.npy` of the slide whose name begins so. */
function maskOf(slideName: string): string | undefined {
  return maskNames.find((mask) => {
    const name = /^tissue-mask-(.+)\.npy$/.exec(mask)?.[1];
    return name !== undefined && slideName.toLowerCase().startsWith(name);
  });
}

const NAME = slideNames.find((name) => name.endsWith('.svs') && maskOf(name));
const SLIDE = NAME && join(dataFolder, 'slides', NAME);
const why = NAME ? '' : ` (skipped: no SVS among the slides that ${masks} has a tissue mask of)`;
const measured = isMeasured('slides/CMU-1-Small-Region.svs');

/** A two-dimensional array of bool in NumPy's format. */
function readMask(path: string): { width: number; height: number; data: Uint8Array } {
  const bytes = readFileSync(path);
  const start = 10 + bytes.readUInt16LE(8);
  const [, height, width] = /'shape': \((\d+), (\d+)\)/.exec(bytes.toString('latin1', 10, start))!.map(Number);
  return { width: width!, height: height!, data: bytes.subarray(start) };
}

describe.skipIf(why)(`lamina run on a real slide${why}`, () => {
  let folder = '';
  let bag: StoredBag;
  const page = why ? null : readTiffPages(SLIDE!)[0]!;
  const slide = page && { width: tagValue(page, 256), height: tagValue(page, 257) };
  const stated = page && aperioFacts(page).mpp;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-real-'));
    await saveRandomModel(join(folder, 'model'));
    const args = ['--model', join(folder, 'model'), '--out', join(folder, 'run')];
    const { code, stderr } = await lamina('run', SLIDE!, ...args, ...(stated ? [] : ['--mpp', '0.5']));
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/^\s+at /m) });
    bag = await readBag(join(folder, 'run/slides', parse(NAME!).name, 'bag.arrow'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('cuts patches of 256 px at 0.5 um/px by the scale of the file', () => {
    const mpp = measured ? 0.499 : (stated ?? 0.5);
    expect(bag.meta).toMatchObject({ mpp, mppSource: stated ? 'file' : 'flag', patchPx: 256, patchMpp: 0.5 });
    expect(bag.meta.patchLevel0Px).toBeCloseTo((256 * 0.5) / mpp, 6);
  });

  it('has no patch on the background and hardly misses tissue', () => {
    const mask = readMask(join(masks, maskOf(NAME!)!));
    const covered = new Uint8Array(mask.data.length);
    let onTissue = 0;
    for (let patch = 0; patch < bag.count; patch++) {
      const [left, top] = [bag.coords![2 * patch]!, bag.coords![2 * patch + 1]!];
      let [pixels, tissue] = [0, 0];
      for (let i = 0; i < mask.data.length; i++) {
        const x = (((i % mask.width) + 0.5) * slide!.width) / mask.width;
        const y = ((Math.floor(i / mask.width) + 0.5) * slide!.height) / mask.height;
        const side = bag.meta.patchLevel0Px!;
        if (x < left || x >= left + side || y < top || y >= top + side) continue;
        pixels++;
        tissue += mask.data[i]!;
        covered[i] = 1;
      }
      if (tissue / pixels > 0.1) onTissue++;
    }
    expect(bag.count).toBeGreaterThan(0);
    expect(onTissue / bag.count).toBeGreaterThanOrEqual(measured ? 1 : 0.9);
    const total = mask.data.reduce((sum, value) => sum + value, 0);
    expect(mask.data.reduce((sum, value, i) => sum + value * covered[i]!, 0) / total).toBeGreaterThan(0.9);
  });

  it('scores every patch', () => {
    expect(bag.scores.attention!.reduce((sum, value) => sum + value)).toBeCloseTo(1, 4);
    expect(bag.scores.attention_raw).toHaveLength(bag.count);
  });
});
