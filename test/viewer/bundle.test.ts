/** `lamina export`: the folder. How a browser shows it is in bundle-page.test.ts. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { decodeScores, type SlideEntry, type SlideView, scoresFile, tileUrl } from '../../src/viewer/api.ts';
import { type Bundle, type BundleOptions, writeBundle } from '../../src/viewer/bundle.ts';
import { lamina, tree } from '../cli/spawn.ts';
import { createPicture, meanDifference, writeTiff } from '../tiling/pictures.ts';
import { findLabelledSlide } from './labelled-slide.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

const labelled = await findLabelledSlide();

let folder: string;
let run: SampleRun;
let out: string;
let bundle: Bundle;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-bundle-'));
  run = await writeSampleRun();
  out = join(folder, 'bundle');
  bundle = await write(out);
}, 60_000);
afterAll(async () => {
  await run?.remove();
  await rm(folder, { recursive: true, force: true });
});

function write(to: string, options: Partial<BundleOptions> = {}): Promise<Bundle> {
  const signal = new AbortController().signal;
  return writeBundle(run.folder, to, { slides: [], finestMpp: null, showLabels: false, signal, ...options });
}

async function json<T>(path: string, of = out): Promise<T> {
  return JSON.parse(await readFile(join(of, path), 'utf8')) as T;
}

const view = (id: string, of = out) => json<SlideView>(`api/slides/${id}/slide.json`, of);

/** Puts another slide file in the place of `moved`, for the time of `work`. */
async function asMoved(source: string, width: number, height: number, work: () => Promise<void>): Promise<void> {
  const path = join(run.folder, 'slides/moved/slide.json');
  const before = await readFile(path, 'utf8');
  await writeFile(path, JSON.stringify({ ...run.slide, id: 'moved', source: resolve(source), width, height }));
  await work().finally(() => writeFile(path, before));
}

describe('the folder', () => {
  it('holds what the run knows, and a sentence for what it lacks', async () => {
    const entries = await json<SlideEntry[]>('api/slides.json');
    expect(entries.map(({ id }) => id)).toEqual(['damaged', 'known', 'moved', 'failed']);
    expect(await json('api/run.json')).toMatchObject({ name: 'run', model: { trained: false } });
    expect(await view('known')).toMatchObject({ prediction: 'tumour', pictureProblem: null, hasTissue: true });
    const moved = await view('moved');
    expect(moved).toMatchObject({ picture: null, pictureProblem: expect.stringContaining('gone.svs does not exist') });
    expect(moved.scoreColumns).toContain('attention');
    expect(await view('damaged')).toMatchObject({
      scoreColumns: [],
      scoresProblem: expect.stringContaining('bag.arrow'),
    });
    expect(bundle.slides.map(({ id, tiles }) => [id, tiles > 0])).toEqual([
      ['damaged', true],
      ['known', true],
      ['moved', false],
      ['failed', false],
    ]);
    expect(bundle.slides[2]!.problems).toEqual([expect.stringContaining('gone.svs')]);
  });

  it('counts its bytes', async () => {
    const names = await readdir(out, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    const sizes = await Promise.all(files.map(async (path) => (await readFile(path)).length));
    expect(bundle.bytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
  });

  it('says neither where the slides lie nor whose they are', async () => {
    for (const name of await tree(out)) {
      if (!name.endsWith('.json')) continue;
      const text = await readFile(join(out, name), 'utf8');
      expect(text).not.toContain(tmpdir());
      expect(text).not.toContain('Doe');
    }
    expect(await readFile(join(run.folder, 'summary.csv'), 'utf8')).toContain('Doe');
  });

  it('has the scores of the bag', async () => {
    const bytes = await readFile(join(out, 'api/slides/known', scoresFile('attention')));
    const { coords, values } = decodeScores(new Uint8Array(bytes).buffer);
    expect(values).toEqual(Float32Array.from(run.patches, ({ attention }) => attention));
    expect([...coords]).toEqual(run.patches.flatMap(({ x, y }) => [x, y]));
  });
});

it('keeps the names of score columns apart, whatever letters they have', () => {
  const names = ['a b', 'a~20b', 'a%20b', 'a/b', 'a*b', '../b', 'über'];
  const files = names.map(scoresFile);
  expect(new Set(files).size).toBe(names.length);
  for (const file of files) expect(file).toMatch(/^scores\/[\w.~-]+\.bin$/);
});

describe('the tiles', () => {
  it('that the slide stores as JPEG pass through byte for byte', async () => {
    const { picture } = await view('known');
    const slide = await openSlide(run.slidePath);
    try {
      for (const [column, row] of [
        [0, 0],
        [5, 3],
      ] as const) {
        const stored = await slide.readStoredTile(0, column, row);
        const written = await readFile(join(out, pathOf(tileUrl('known', picture!, 0, column, row))));
        expect(written.equals(stored!.bytes)).toBe(true);
      }
    } finally {
      await slide.close();
    }
  });

  it('of every level lie where they should, and none is missing', async () => {
    const { picture } = await view('known');
    const slide = await openSlide(run.slidePath);
    try {
      for (const [index, level] of picture!.levels.entries()) {
        const { width, height, tileWidth, tileHeight, scaleX } = level;
        const expected = await levelZero(slide, width, height);
        const last = [Math.ceil(width / tileWidth) - 1, Math.ceil(height / tileHeight) - 1] as const;
        for (const [column, row] of [[0, 0], [last[0] >> 1, last[1] >> 1], last] as const) {
          const file = await readFile(join(out, pathOf(tileUrl('known', picture!, index, column, row))));
          const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
          const part = {
            left: column * tileWidth,
            top: row * tileHeight,
            width: Math.min(tileWidth, width - column * tileWidth),
            height: Math.min(tileHeight, height - row * tileHeight),
          };
          expect(info).toMatchObject({ width: part.width, height: part.height });
          const truth = await sharp(expected, { raw: { width, height, channels: 3 } })
            .extract(part)
            .raw()
            .toBuffer();
          expect(meanDifference(data, truth), `level ${scaleX}, ${column}, ${row}`).toBeLessThan(8);
        }
        const names = await readdir(join(out, `api/slides/known/deep-zoom_files/${picture!.deepZoomTop! - index}`));
        expect(names).toHaveLength((last[0] + 1) * (last[1] + 1));
      }
    } finally {
      await slide.close();
    }
  });

  it('make a Deep Zoom that its descriptor describes', async () => {
    const dzi = await readFile(join(out, 'api/slides/known/deep-zoom.dzi'), 'utf8');
    expect(dzi).toContain('Width="3001" Height="2303"');
    const levels = (await readdir(join(out, 'api/slides/known/deep-zoom_files'))).map(Number).sort((a, b) => a - b);
    expect(levels).toEqual(Array.from({ length: Math.ceil(Math.log2(3001)) + 1 }, (_, i) => i));
  });

  it('are no finer than asked for', async () => {
    const shallow = join(folder, 'shallow');
    const { slides } = await write(shallow, { slides: ['known'], finestMpp: 1 });
    expect(slides[0]!.mpp).toBe(1);
    const { picture, facts, warnings } = await view('known', shallow);
    expect(warnings.at(-1)).toContain('down to 1 µm a pixel; the slide itself has 0.5 µm');
    expect(picture).toMatchObject({ width: 3001, height: 2303 });
    expect(picture!.levels[0]).toMatchObject({ scaleX: 2, width: 1501, height: 1152 });
    expect(facts!.mpp).toBe(0.5);
    expect(existsSync(join(shallow, pathOf(tileUrl('known', picture!, 0, 5, 4))))).toBe(true);
    expect(await readFile(join(shallow, 'api/slides/known/deep-zoom.dzi'), 'utf8')).toContain('Width="1501"');
    expect((await json<SlideEntry[]>('api/slides.json', shallow)).map(({ id }) => id)).toEqual(['known']);
  });

  it('that cannot be read are blank, and known as holes', async () => {
    const path = join(folder, 'holes.tif');
    const tiles = { tile: true, tileWidth: 256, tileHeight: 256, compression: 'deflate' } as const;
    await writeTiff(createPicture(1200, 900), path, tiles);
    const bytes = await readFile(path);
    await writeFile(path, bytes.fill(0, 16, 300)); // the first tile stands behind the header
    await asMoved(path, 1200, 900, async () => {
      const to = join(folder, 'holes');
      const { slides } = await write(to, { slides: ['moved'] });
      expect(slides[0]!.problems).toEqual(['One tile cannot be read and will be hatched.']);
      const { facts, picture } = await view('moved', to);
      expect(facts!.holes).toEqual([{ x: 0, y: 0, width: 256, height: 256 }]);
      const blank = await sharp(await readFile(join(to, pathOf(tileUrl('moved', picture!, 0, 0, 0))))).stats();
      expect(blank.channels.map(({ min, max }) => [min, max])).toEqual(Array(3).fill([0xf4, 0xf4]));
    });
  });
});

it('keeps the picture of a slide whose bag breaks off, and says why there are no scores', async () => {
  const bag = join(run.folder, 'slides/moved/bag.arrow');
  const whole = await readFile(bag);
  await writeFile(bag, whole.subarray(0, whole.length - 200));
  await asMoved(run.slidePath, run.slide.width, run.slide.height, async () => {
    const to = join(folder, 'broken-bag');
    const { slides } = await write(to, { slides: ['moved'] });
    expect(slides[0]!.tiles).toBe(160);
    expect(slides[0]!.problems).toEqual([expect.stringMatching(/^No scores: .*bag\.arrow/)]);
    expect(await view('moved', to)).toMatchObject({ scoresProblem: expect.stringContaining('bag.arrow') });
  }).finally(() => writeFile(bag, whole));
});

describe('label and macro images', () => {
  it.skipIf(!labelled)('stay out unless asked for (skipped without a real slide that has a label)', async () => {
    const { path, width, height, associated } = labelled!;
    await asMoved(path, width, height, async () => {
      const [shut, shown] = [join(folder, 'shut'), join(folder, 'shown')];
      await write(shut, { slides: ['moved'] });
      await write(shown, { slides: ['moved'], showLabels: true });
      expect(await readdir(join(shut, 'api/slides/moved/associated'))).toEqual(['thumbnail.jpg']);
      expect((await view('moved', shut)).associated).toEqual(['thumbnail']);
      const names = await readdir(join(shown, 'api/slides/moved/associated'));
      expect(names.sort()).toEqual(associated.map((name) => `${name}.jpg`));
    });
  });
});

describe('writing', () => {
  it('is refused into a folder that holds something, which stays as it was', async () => {
    const full = join(folder, 'full');
    await mkdir(full);
    await writeFile(join(full, 'mine.txt'), 'mine');
    await expect(write(full)).rejects.toMatchObject({ code: 'not-empty', problem: expect.stringContaining(full) });
    expect(await readdir(full)).toEqual(['mine.txt']);
  });

  it('that is interrupted leaves nothing', async () => {
    const stop = new AbortController();
    const to = join(folder, 'interrupted');
    const onProgress = ({ done }: { done: number }) => done === 20 && stop.abort();
    await expect(write(to, { slides: ['known'], signal: stop.signal, onProgress })).rejects.toThrow('abort');
    expect((await readdir(folder)).filter((name) => name.startsWith('interrupted'))).toEqual([]);
  });

  it('says which slide there is not', async () => {
    await expect(write(join(folder, 'none'), { slides: ['nobody'] })).rejects.toMatchObject({ code: 'no-slide' });
  });

  it('works from the command line, and says what was written', async () => {
    const to = join(folder, 'by-hand');
    const { code, stdout, stderr } = await lamina('export', run.folder, '--out', to, '--slide', 'known', '--json');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^1\/1 known: 160\/160 tiles, .* MB in all\n$/)]);
    expect(JSON.parse(stdout)).toMatchObject({
      out: to,
      slides: [{ id: 'known', tiles: 160, mpp: 0.5, problems: [] }],
    });
    const some = await lamina('export', run.folder, '--out', join(folder, 'some'));
    expect([some.code, some.stdout]).toEqual([3, expect.stringContaining('moved: No picture:')]);
    const again = await lamina('export', run.folder, '--out', to);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining(`${to} is not empty.`)]);
  });
});

/** Without the query that a file server does not look at. */
function pathOf(url: string): string {
  return url.replace(/\?.*/, '');
}

/** The whole of level 0 as another program makes it smaller. */
async function levelZero(slide: Slide, width: number, height: number): Promise<Buffer> {
  const { width: full, height: tall } = slide.levels[0]!;
  const { data } = await slide.readRegion(0, 0, 0, full, tall);
  return sharp(data, { raw: { width: full, height: tall, channels: 4 } })
    .removeAlpha()
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .raw()
    .toBuffer();
}
