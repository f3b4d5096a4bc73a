import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBagTable } from '../../src/bench/bag-table.ts';
import { benchMil, spreadOf, studentPoint } from '../../src/bench/mil.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-bags-'))));
afterAll(() => rm(folder, { recursive: true }));

/** Bags of three instances; the label is in the first feature. */
const table = (bags: number) =>
  Array.from({ length: bags }, (_, bag) =>
    [0, 1, 2].map((i) => `${bag % 2},${bag},${10 * (bag % 2)},${(7 * bag + 3 * i) % 5}`).join('\n'),
  ).join('\n');

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

describe('a table of bags', () => {
  it('is read as label, bag, features', async () => {
    const { bags, labels, classes, name } = await readBagTable(await file('small.csv', table(4)));
    expect({ name, classes, labels }).toEqual({ name: 'small', classes: ['0', '1'], labels: [0, 1, 0, 1] });
    expect(bags[1]).toMatchObject({ count: 3, dimension: 2 });
    expect([...bags[1]!.features]).toEqual([10, 2, 10, 0, 10, 3]);
  });

  it.each([
    ['1,1,2,3\n1,1,2', /line 2 has 1 features/],
    ['1,1,2,x', /line 1/],
    ['1,1,2\n0,1,2', /line 2 gives bag 1 a second label/],
  ])('is refused with the line named', async (text, message) => {
    await expect(readBagTable(await file('bad.csv', text))).rejects.toThrow(message);
  });
});

describe('the bench of aggregators', () => {
  it('runs the models asked for on the table asked for', async () => {
    const report = await benchMil({
      device: 'wasm',
      threads: 2,
      csv: [await file('easy.csv', table(40))],
      data: '/none',
      models: ['lbmamba', 'abmil'],
      tasks: [],
      seeds: 2,
      peer: '/none',
      quick: true,
      say: () => {},
      signal: new AbortController().signal,
    });
    expect(report.results.map(({ task, model }) => [task, model])).toEqual([
      ['easy', 'lbmamba'],
      ['easy', 'abmil'],
    ]);
    for (const { auc, parameters, seconds, wall } of report.results) {
      expect(auc.mean).toBeGreaterThan(0.9);
      expect(parameters).toBeGreaterThan(1000);
      expect(seconds).toBeGreaterThan(0);
      // Two threads can halve the clock's time at most; starting them is on top.
      expect(wall).toBeGreaterThan(seconds / 2);
    }
  }, 60_000);

  it('gives intervals of Student, and none for one seed', () => {
    const { mean, low, high } = spreadOf([0.8, 0.9]);
    expect(mean).toBeCloseTo(0.85);
    // t = 12.706 of one degree of freedom, deviation 0.0707 over the root of 2: half a width of 0.635, cut at 0 and 1.
    expect(low).toBeCloseTo(0.2147, 3);
    expect(high).toBe(1);
    // From tables of Student's t.
    for (const [degrees, point] of [
      [9, 2.262],
      [10, 2.2281],
      [14, 2.1448],
      [29, 2.0452],
      [1000, 1.9623],
    ] as const) {
      expect(Math.abs(studentPoint(degrees) - point)).toBeLessThan(2e-4);
    }
    expect(spreadOf([0.8])).toEqual({ mean: 0.8, low: null, high: null });
    expect(spreadOf([null, null]).mean).toBeNull();
  });
});
