/** The whole line on a real Aperio slide, against a tissue mask that another program drew (histolab's). */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBag, type StoredBag } from '../../src/features/store.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina } from './spawn.ts';

const DATA = process.env.LAMINA_DATA ?? '../shared/data';
const SLIDE = join(DATA, 'slides/CMU-1-Small-Region.svs');
const MASK = join(DATA, 'masks/tissue-mask-cmu-1-small-region.npy');
const missing = [SLIDE, MASK].filter((path) => !existsSync(path));
const why = missing.length > 0 ? ` (skipped: ${missing.join(', ')} missing)` : '';

const slide = { width: 2220, height: 2967 };

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

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-real-'));
    await saveRandomModel(join(folder, 'model'));
    const { code, stderr } = await lamina('run', SLIDE, '--model', join(folder, 'model'), '--out', join(folder, 'run'));
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/^\s+at /m) });
    bag = await readBag(join(folder, 'run/slides/CMU-1-Small-Region/bag.arrow'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('cuts patches of 256 px at 0.5 um/px by the scale of the file', () => {
    expect(bag.meta).toMatchObject({ mpp: 0.499, mppSource: 'file', patchPx: 256, patchMpp: 0.5 });
    expect(bag.meta.patchLevel0Px).toBeCloseTo((256 * 0.5) / 0.499, 6);
  });

  it('has no patch on the background and hardly misses tissue', () => {
    const mask = readMask(MASK);
    const covered = new Uint8Array(mask.data.length);
    for (let patch = 0; patch < bag.count; patch++) {
      const [left, top] = [bag.coords![2 * patch]!, bag.coords![2 * patch + 1]!];
      let [pixels, tissue] = [0, 0];
      for (let i = 0; i < mask.data.length; i++) {
        const x = (((i % mask.width) + 0.5) * slide.width) / mask.width;
        const y = ((Math.floor(i / mask.width) + 0.5) * slide.height) / mask.height;
        const side = bag.meta.patchLevel0Px!;
        if (x < left || x >= left + side || y < top || y >= top + side) continue;
        pixels++;
        tissue += mask.data[i]!;
        covered[i] = 1;
      }
      expect(tissue / pixels).toBeGreaterThan(0.1);
    }
    const total = mask.data.reduce((sum, value) => sum + value, 0);
    expect(mask.data.reduce((sum, value, i) => sum + value * covered[i]!, 0) / total).toBeGreaterThan(0.9);
  });

  it('scores every patch', () => {
    expect(bag.scores.attention!.reduce((sum, value) => sum + value)).toBeCloseTo(1, 4);
    expect(bag.scores.attention_raw).toHaveLength(bag.count);
  });
});
