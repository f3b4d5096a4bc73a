import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRunFolder } from '../../src/viewer/run-folder.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

let run: SampleRun;
beforeAll(async () => {
  run = await writeSampleRun();
});
afterAll(() => run.remove());

describe('a run folder', () => {
  it('lists its slides, also one that never got a folder', async () => {
    const { slides, result, warnings } = await readRunFolder(run.folder);
    expect([...slides.keys()]).toEqual(['damaged', 'known', 'moved', 'failed']);
    expect(warnings).toEqual([]);
    expect(result?.model?.trained).toBe(false);
    expect(slides.get('known')).toMatchObject({ status: 'done', patient: 'Doe, "J"' });
    expect(slides.get('failed')).toMatchObject({
      status: 'failed',
      folder: null,
      warnings: ['Failed at open: failed.svs is empty, or so. Copy it again.'],
    });
  });

  it('costs one slide a sentence when a file of its is damaged, missing or of another slide', async () => {
    const slides = join(run.folder, 'slides');
    const prediction = JSON.parse(await readFile(join(slides, 'known/prediction.json'), 'utf8'));
    for (const id of ['a-torn', 'b-empty', 'c-foreign']) {
      await mkdir(join(slides, id));
      await writeFile(join(slides, id, 'slide.json'), JSON.stringify({ ...run.slide, id }));
    }
    await mkdir(join(slides, 'd-glass'));
    await writeFile(join(slides, 'd-glass/slide.json'), JSON.stringify({ ...run.slide, id: 'd-glass', nPatches: 0 }));
    await writeFile(join(slides, 'a-torn/prediction.json'), '{"model": ');
    await writeFile(
      join(slides, 'c-foreign/prediction.json'),
      JSON.stringify({ ...prediction, slideHash: 'sha256:other' }),
    );
    try {
      const read = (await readRunFolder(run.folder)).slides;
      expect(read.get('a-torn')?.warnings[0]).toMatch(/^prediction\.json is damaged .* Run the slide again\.$/);
      expect(read.get('b-empty')).toMatchObject({ status: 'unfinished', prediction: null });
      expect(read.get('b-empty')?.warnings[0]).toContain('no prediction yet');
      expect(read.get('d-glass')).toMatchObject({ status: 'no-tissue', warnings: run.slide.warnings });
      expect(read.get('c-foreign')).toMatchObject({ status: 'unfinished', prediction: null });
      expect(read.get('c-foreign')?.warnings[0]).toContain('belongs to another slide');
      expect(read.get('known')?.status).toBe('done');
    } finally {
      for (const id of ['a-torn', 'b-empty', 'c-foreign', 'd-glass']) await rm(join(slides, id), { recursive: true });
    }
  });

  it('is refused when it is none', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'lamina-no-run-'));
    try {
      await expect(readRunFolder(empty)).rejects.toMatchObject({ code: 'not-a-run' });
      await expect(readRunFolder(join(empty, 'absent'))).rejects.toMatchObject({ code: 'not-a-run' });
      await mkdir(join(empty, 'slides/one'), { recursive: true });
      const { warnings, slides } = await readRunFolder(empty);
      expect(warnings[0]).toContain('run.json');
      expect([...slides.keys()]).toEqual(['one']);
    } finally {
      await rm(empty, { recursive: true });
    }
  });
});
