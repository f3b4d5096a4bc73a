import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readPredictions, readTruth } from '../src/mil/predictions.ts';
import { findSlides } from '../src/run/slide-inputs.ts';
import { slideName } from '../src/slide-name.ts';
import { parseCohort } from '../src/train/cohort.ts';

it.each([
  ['slides/s0.svs', 's0'],
  ['C:\\slides\\s0.SVS', 's0'],
  ['s0.ome.tiff', 's0'],
  ['s0.ome.arrow', 's0'],
  ['My slide (2).ndpi', 'My_slide_2_'],
  ['one.study.7', 'one.study.7'],
  ['TCGA-05-4244-01Z-00-DX1.0c2a.svs', 'TCGA-05-4244-01Z-00-DX1.0c2a'],
])('%s is called %s, also when it is called so already', (path, name) => {
  expect(slideName(path)).toBe(name);
  expect(slideName(name)).toBe(name);
});

it('a slide has one name in a run, in a table to train on, in predictions and in labels', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-names-'));
  for (const file of ['s0.ome.tiff', 'My slide.svs']) {
    const path = join(folder, file);
    await writeFile(path, '');
    const table = `slide,label\n${path},a\n`;
    const [input] = await findSlides([path]);
    expect(parseCohort('c.csv', table).rows[0]!.id).toBe(input!.id);
    const predictions = `slide,probability_a,probability_b\n${input!.id},1,0\n`;
    expect(readPredictions('p.csv', predictions, { truth: readTruth('c.csv', table) }).cases).toMatchObject([
      { slide: input!.id, label: 0 },
    ]);
  }
  await rm(folder, { recursive: true });
});
