import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type SyntheticCohort,
  type SyntheticCohortOptions,
  writeSyntheticCohort,
} from '../../../datasets/synthetic/cohort.ts';

let folder: string;
let cohort: SyntheticCohort;
const heard: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-cohort-'));
  const size = { widthPx: 900, heightPx: 700 };
  cohort = await writeSyntheticCohort(folder, { slides: 6, seed: 3, ...size, onSlide: ({ id }) => heard.push(id) });
});
afterAll(() => rm(folder, { recursive: true }));

describe('a synthetic cohort', () => {
  it('has tumour in half of its slides, in both splits and at both sites', () => {
    const of = (key: 'split' | 'site', label: string) =>
      new Set(cohort.slides.filter((slide) => slide.label === label).map((slide) => slide[key]));
    expect(cohort.slides.filter(({ label }) => label === 'tumour')).toHaveLength(3);
    for (const label of ['tumour', 'normal']) {
      expect(of('split', label)).toEqual(new Set(['train', 'test']));
      expect(of('site', label)).toEqual(new Set(['A', 'B']));
    }
    for (const { label, truth } of cohort.slides) expect(truth.nests.length > 0).toBe(label === 'tumour');
  });

  it('lists its slides in a manifest, one patient each', async () => {
    const [header, ...lines] = (await readFile(cohort.manifest, 'utf8')).trimEnd().split('\n');
    expect(header).toBe('slide,patient,label,mpp,split,site');
    const rows = lines.map((line) => line.split(','));
    expect(rows.map((row) => row[2])).toEqual(cohort.slides.map(({ label }) => label));
    expect(new Set(rows.map((row) => row[1])).size).toBe(6);
    for (const [slide] of rows) expect((await stat(join(dirname(cohort.manifest), slide!))).size).toBeGreaterThan(1000);
  });

  it('has the same slides of one split again, of another laboratory or with something wrong', async () => {
    const size = { widthPx: 900, heightPx: 700 };
    const again = async (changes: Partial<SyntheticCohortOptions>) =>
      (await writeSyntheticCohort(join(folder, 'again'), { slides: 6, seed: 3, ...size, split: 'test', ...changes }))
        .slides;
    const tests = cohort.slides.filter(({ split }) => split === 'test');
    const elsewhere = await again({ site: 'C' });
    expect(elsewhere.map(({ id, label, site }) => [id, label, site])).toEqual(
      tests.map(({ id, label }) => [id, label, 'C']),
    );
    expect(elsewhere.map(({ truth }) => truth.nests)).toEqual(tests.map(({ truth }) => truth.nests));
    expect((await again({ artefacts: ['empty'] })).map(({ label }) => label)).toEqual(tests.map(() => 'normal'));
  });

  it('reports every slide as it is written', () => {
    expect(heard).toEqual(cohort.slides.map(({ id }) => id));
  });
});
