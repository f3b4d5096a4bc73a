import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { benchPipeline } from '../../src/bench/pipeline.ts';
import { expectResults } from './results.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-bench-pipeline-'))));
afterAll(() => rm(folder, { recursive: true }));

describe('lamina bench pipeline', () => {
  it('times the parts, the line, and a run of finished slides', async () => {
    const { slides } = await writeSyntheticCohort(folder, { slides: 2, seed: 1, widthPx: 1536, heightPx: 1024 });
    const { signal } = new AbortController();
    const report = await benchPipeline({ slides: slides.map(({ path }) => path), quick: true, threads: 1, signal });
    expectResults(report.results);
    expect(report.results.map(({ name }) => name.split(',')[0])).toEqual([
      'decode alone',
      'encode alone',
      'aggregate alone',
      'the line',
      'the least for it: its processor time',
      'the line with an encoder off the processor',
      'its processor time',
      'resume over 50 finished slides',
    ]);
  });
});
