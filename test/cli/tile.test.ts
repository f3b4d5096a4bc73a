/** `lamina tile` as a person uses it: its options, its files, and what it says of slides that are not as they should be. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Table, tableFromIPC } from 'apache-arrow';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { parseTable } from '../../src/csv.ts';
import { readBag } from '../../src/features/store.ts';
import type { RunResult } from '../../src/mil/result.ts';
import { createRandom } from '../../src/random.ts';
import { orderOfCells } from '../../src/row-order.ts';
import type { SlideRecord } from '../../src/run/slide-record.ts';
import { findSlide, isMeasured } from '../real-data.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina, tree } from './spawn.ts';

let folder = '';
const at = (...parts: string[]) => join(folder, ...parts);

/** At 0.5 um/px and 20x: left half detail, right half the same blurred, and a blue pen mark in the left. */
const field = { width: 2048, height: 1024 };
const mark = { left: 256, top: 512, width: 512, height: 256 };

async function writeField(path: string): Promise<void> {
  const random = createRandom(5);
  const data = Buffer.alloc(field.width * field.height * 3);
  for (let i = 0; i < data.length; i += 3) {
    const stain = random() < 0.3 ? 0.5 : 1;
    data[i] = 225 * stain;
    data[i + 1] = 140 * stain;
    data[i + 2] = 200 * stain;
  }
  const raw = { ...field, channels: 3 as const };
  const blurred = await sharp(data, { raw }).blur(6).raw().toBuffer();
  const half = field.width / 2;
  const right = await sharp(blurred, { raw })
    .extract({ left: half, top: 0, width: half, height: field.height })
    .png()
    .toBuffer();
  const pen = { create: { width: mark.width, height: mark.height, channels: 3 as const, background: '#1838b8' } };
  await sharp(data, { raw })
    .composite([
      { input: right, left: half, top: 0 },
      { input: await sharp(pen).png().toBuffer(), left: mark.left, top: mark.top },
    ])
    .tiff({ tile: true, tileWidth: 256, tileHeight: 256, compression: 'jpeg', quality: 90, xres: 2000, yres: 2000 })
    .toFile(path);
}

const areas = (...rings: number[][][]) =>
  JSON.stringify({
    type: 'FeatureCollection',
    features: rings.map((ring) => ({
      type: 'Feature',
      properties: {},
      geometry: { type: 'Polygon', coordinates: [ring] },
    })),
  });
const box = (left: number, top: number, right: number, bottom: number) => [
  [left, top],
  [right, top],
  [right, bottom],
  [left, bottom],
  [left, top],
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-tile-'));
  await writeSyntheticSlide(at('a.tif'), { seed: 1, widthPx: 2048, heightPx: 1536, tumour: true });
  await writeField(at('field.tif'));
  await writeFile(at('all.geojson'), areas(box(0, 0, field.width, field.height)));
  const glass = { width: 2048, height: 1024, channels: 3 as const, background: '#f3f2f5' };
  await sharp({ create: glass })
    .tiff({ tile: true, tileWidth: 256, tileHeight: 256, compression: 'jpeg', xres: 2000, yres: 2000 })
    .toFile(at('glass.tif'));
  const torn = await readFile(at('a.tif'));
  torn.fill(0, 40_000, 60_000);
  await writeFile(at('torn.tif'), torn);
});
afterAll(() => rm(folder, { recursive: true }));

let runs = 0;

/** Tiles slides into a new folder. */
async function tile(slides: readonly string[], ...more: string[]) {
  const out = at(`run-${runs++}`);
  const ended = await lamina('tile', ...slides.map((name) => at(name)), '--out', out, ...more);
  const record = async (id: string) =>
    JSON.parse(await readFile(join(out, 'slides', id, 'slide.json'), 'utf8')) as SlideRecord;
  const coords = async (id: string) => tableFromIPC(await readFile(join(out, 'slides', id, 'coords.arrow')));
  const failures = async () => parseTable(out, await readFile(join(out, 'failures.csv'), 'utf8')).rows;
  return { ...ended, out, record, coords, failures };
}

const column = (table: Table, name: string) => [...(table.getChild(name)!.toArray() as Int32Array | Float32Array)];
const corners = (table: Table) => column(table, 'x').map((x, i) => [x, column(table, 'y')[i]!] as const);

describe('lamina tile', () => {
  it('writes the tissue, the table of patches and a preview', async () => {
    const { code, out, record, coords } = await tile(['a.tif']);
    expect(code).toBe(0);
    expect((await tree(join(out, 'slides/a'))).sort()).toEqual(
      ['coords.arrow', 'preview.png', 'slide.json', 'thumbnail.jpg', 'tissue.geojson'].sort(),
    );
    const table = await coords('a');
    expect(table.schema.fields.map(({ name, type }) => `${name} ${type}`)).toEqual([
      ...['x', 'y', 'row', 'column'].map((name) => `${name} Int32`),
      ...['tissue', 'focus', 'pen', 'saturation', 'missing'].map((name) => `${name} Float32`),
    ]);
    const slide = await record('a');
    expect(table.numRows).toBe(slide.nPatches);
    expect(table.numRows).toBeGreaterThan(5);
    expect(slide).toMatchObject({ mppSource: 'file', holes: [], unreadableTiles: 0 });
    expect(JSON.parse(table.schema.metadata.get('lamina.patches')!)).toMatchObject({
      slideId: 'a',
      slideHash: slide.hash,
      mpp: 0.5,
      mppSource: 'file',
      patchPx: 256,
      patchMpp: 0.5,
      patchLevel0Px: 256,
      strideLevel0Px: 256,
      order: 'row-major',
    });
    table.toArray().forEach((row) => {
      expect([row.x, row.y]).toEqual([row.column * 256, row.row * 256]);
      expect(row.tissue).toBeGreaterThanOrEqual(0.25);
      expect(row.tissue).toBeLessThanOrEqual(1);
      expect(row.focus).toBeGreaterThan(0);
      expect(row.missing).toBe(0);
    });
    // As wide as the thumbnail, and higher by its legend.
    const [preview, thumbnail] = await Promise.all(
      ['preview.png', 'thumbnail.jpg'].map((name) => sharp(join(out, 'slides/a', name)).metadata()),
    );
    expect(preview!.width).toBe(thumbnail!.width);
    expect(preview!.height).toBeGreaterThan(thumbnail!.height!);
  });

  it('cuts patches of the size, scale, stride and order asked for', async () => {
    const { record, coords } = await tile(
      ['a.tif'],
      ...['--patch-size', '128', '--target-mpp', '1', '--overlap', '32', '--order', 'window-2', '--min-tissue', '0.5'],
    );
    expect((await record('a')).patch).toEqual({ px: 128, level0Px: 256, mpp: 1 });
    const table = await coords('a');
    expect(table.toArray().every(({ x, y }) => x % 192 === 0 && y % 192 === 0)).toBe(true);
    expect(Math.min(...column(table, 'tissue'))).toBeGreaterThanOrEqual(0.5);
    const cells = Int32Array.from(table.toArray().flatMap(({ row, column }) => [row, column]));
    expect([...orderOfCells('window-2', cells)]).toEqual([...cells.keys()].slice(0, table.numRows));
  });

  it('takes so many at random, and moves them, by the seed', async () => {
    const take = async (...more: string[]) => {
      const { record, coords } = await tile(['a.tif'], '--max-patches', '4', ...more);
      return { left: (await record('a')).leftOut, corners: corners(await coords('a')) };
    };
    const [first, again, other, moved] = [
      await take('--seed', '1'),
      await take('--seed', '1'),
      await take('--seed', '2'),
      await take('--seed', '1', '--jitter', '60'),
    ];
    expect(first.corners).toHaveLength(4);
    expect(first.left['not-chosen']).toBeGreaterThan(0);
    expect(again).toEqual(first);
    expect(other.corners).not.toEqual(first.corners);
    expect(moved.corners.some(([x, y]) => x % 256 !== 0 || y % 256 !== 0)).toBe(true);
  });

  it('leaves out what is blurred or inked beyond the limits, and says how much', async () => {
    const whole = await tile(['field.tif'], '--mask', at('all.geojson'));
    expect((await whole.record('field')).nPatches).toBe(32);
    const table = await whole.coords('field');
    const [focus, pen] = [column(table, 'focus'), column(table, 'pen')];
    const isRight = corners(table).map(([x]) => x >= field.width / 2);
    const isInked = corners(table).map(([x, y]) => x >= 256 && x < 768 && y === 512);
    const sharpest = Math.max(...focus.filter((_, i) => isRight[i]));
    const dullest = Math.min(...focus.filter((_, i) => !isRight[i] && !isInked[i]));
    expect(dullest).toBeGreaterThan(10 * sharpest);
    expect(pen.map((share) => share > 0.9)).toEqual(isInked);

    const limits = ['--min-focus', `${dullest / 2}`, '--max-pen', '0.2'];
    const sifted = await tile(['field.tif'], '--mask', at('all.geojson'), ...limits);
    expect(await sifted.record('field')).toMatchObject({ nPatches: 14, leftOut: { pen: 2, blurred: 16 } });
    expect(corners(await sifted.coords('field')).every(([x]) => x < field.width / 2)).toBe(true);

    const none = await tile(['field.tif'], '--mask', at('all.geojson'), '--min-focus', '1e9');
    expect({ code: none.code, stdout: none.stdout }).toMatchObject({ code: 0, stdout: /no-tissue/ });
    expect((await none.record('field')).warnings.join()).toMatch(/no patch is left to look at \(.*32 blurred/);
  });

  it('extract keeps to the same limits', async () => {
    const limits = ['--mask', at('all.geojson'), '--max-pen', '0.2'];
    const { code } = await lamina('extract', at('field.tif'), '--out', at('bags'), ...limits);
    expect(code).toBe(0);
    const record = JSON.parse(await readFile(at('bags/slides/field/slide.json'), 'utf8')) as SlideRecord;
    expect(record).toMatchObject({ nPatches: 30, leftOut: { pen: 2 } });
    const run = JSON.parse(await readFile(at('bags/run.json'), 'utf8')) as RunResult;
    expect(run.encoder).toEqual({ id: expect.stringMatching(/^stain-texture@\w+$/), device: expect.any(String) });
  });

  it('a run lists patches as its model was trained, extract as it is told', async () => {
    await saveRandomModel(at('snake'), { order: 'snake' });
    const orders = {
      run: ['run', '--model', at('snake'), '--device', 'wasm'],
      extract: ['extract', '--order', 'hilbert'],
    };
    for (const [name, [command, ...more]] of Object.entries(orders)) {
      const out = at(`order-${name}`);
      const { code, stderr } = await lamina(
        command!,
        at('field.tif'),
        '--out',
        out,
        '--mask',
        at('all.geojson'),
        ...more,
      );
      expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('32 patches') });
      const { meta, coords } = await readBag(join(out, 'slides/field/bag.arrow'));
      const order = name === 'run' ? 'snake' : 'hilbert';
      expect(meta.order).toBe(order);
      const cells = Int32Array.from(coords!, (_, i) => coords![i ^ 1]! / 256);
      expect([...orderOfCells(order, cells)]).toEqual([...cells.keys()].slice(0, 32));
    }
  });

  it('takes areas drawn by hand for the tissue, and only the region of interest', async () => {
    await writeFile(at('left.geojson'), areas(box(0, 0, 1024, 1024)));
    await writeFile(at('top.geojson'), areas(box(0, 0, 2048, 512)));
    const { record, coords } = await tile(['field.tif'], '--mask', at('left.geojson'), '--roi', at('top.geojson'));
    expect((await record('field')).nPatches).toBe(8);
    expect(corners(await coords('field')).every(([x, y]) => x < 1024 && y < 512)).toBe(true);
    expect((await record('field')).tissueAreaUm2).toBeCloseTo(1024 * 512 * 0.25, -4);
  });

  it('takes its own tissue back, also where it found none', async () => {
    const first = await tile(['a.tif', 'glass.tif']);
    const masks = at('masks');
    await mkdir(masks);
    for (const id of ['a', 'glass']) {
      await writeFile(join(masks, `${id}.geojson`), await readFile(join(first.out, 'slides', id, 'tissue.geojson')));
    }
    const second = await tile(['a.tif', 'glass.tif'], '--mask', masks);
    expect(second.code).toBe(0);
    expect((await second.record('glass')).nPatches).toBe(0);
    const [before, after] = [(await first.record('a')).nPatches, (await second.record('a')).nPatches];
    expect(Math.abs(before - after)).toBeLessThanOrEqual(2);
  });

  it('does a slide again when its mask was edited, and only then', async () => {
    const mask = at('edited.geojson');
    const again = async () => {
      const ended = await lamina('tile', at('field.tif'), '--out', at('edited'), '--mask', mask, '--json');
      return JSON.parse(ended.stdout).slides[0] as { skipped: boolean; nPatches: number };
    };
    await writeFile(mask, areas(box(0, 0, 1024, 1024)));
    expect(await again()).toMatchObject({ skipped: false, nPatches: 16 });
    expect(await again()).toMatchObject({ skipped: true, nPatches: 16 });
    await writeFile(mask, areas(box(0, 0, 512, 1024)));
    expect(await again()).toMatchObject({ skipped: false, nPatches: 8 });
  });

  it("one file of areas is not for two slides, and a missing one is its own slide's failure", async () => {
    const both = await tile(['a.tif', 'field.tif'], '--mask', at('all.geojson'));
    expect(both.code).toBe(1);
    expect(both.stderr).toMatch(/^lamina: .*all\.geojson has the areas of one slide, and there are 2\..*\.\n$/);
    expect(existsSync(both.out)).toBe(false);
    await mkdir(at('some'));
    await writeFile(at('some/field.geojson'), areas(box(0, 0, 1024, 1024)));
    const some = await tile(['a.tif', 'field.tif'], '--mask', at('some'));
    expect(some.code).toBe(3);
    expect(await some.failures()).toMatchObject([{ slide: 'a', stage: 'tissue', code: 'missing-file' }]);
    expect((await some.record('field')).nPatches).toBe(16);
  });

  it('estimates without writing', async () => {
    const { code, stdout, out } = await tile(['a.tif', 'glass.tif', 'gone.tif'], '--dry-run', '--json');
    expect(code).toBe(3);
    expect(existsSync(out)).toBe(false);
    const { slides, patches, minutes, bytes } = JSON.parse(stdout);
    const { record, out: real } = await tile(['a.tif']);
    expect(slides[0]).toMatchObject({ id: 'a', patches: (await record('a')).nPatches, failure: null });
    expect(slides[1]).toMatchObject({ id: 'glass', patches: 0 });
    expect(slides[2]).toMatchObject({ id: 'gone', patches: null, failure: { code: 'missing-file' } });
    expect({ patches, bytes }).toEqual({ patches: slides[0].patches, bytes: slides[0].bytes + slides[1].bytes });
    expect(minutes).toBeGreaterThan(0);
    expect(minutes).toBeLessThan(5);
    const names = (await tree(join(real, 'slides/a'))).map((name) => readFile(join(real, 'slides/a', name)));
    const written = (await Promise.all(names)).reduce((sum, file) => sum + file.length, 0);
    expect(slides[0].bytes / written).toBeGreaterThan(0.9);
    expect(slides[0].bytes / written).toBeLessThan(1.1);
  });

  it('estimates only what is not finished', async () => {
    const { out } = await tile(['a.tif']);
    const before = await tree(out);
    const dry = ['tile', at('a.tif'), at('glass.tif'), '--out', out, '--dry-run'];
    const { slides, finished, patches } = JSON.parse((await lamina(...dry, '--json')).stdout);
    expect(slides).toMatchObject([
      { id: 'a', finished: true, patches: 0, minutes: 0, bytes: 0 },
      { id: 'glass', finished: false, patches: 0 },
    ]);
    expect({ finished, patches }).toEqual({ finished: 1, patches: 0 });
    expect((await lamina(...dry)).stdout).toMatch(/^1 of 2 slides are finished already\.$/m);
    expect(JSON.parse((await lamina(...dry, '--stride', '300', '--json')).stdout).finished).toBe(0);
    expect(await tree(out)).toEqual(before);
  });

  it.each([
    [['--stride', '100', '--overlap', '10'], 2, /cannot be used with/],
    [['--order', 'zigzag'], 2, /row-major, column-major, snake, hilbert or window-W/],
    [['--min-tissue', '1.5'], 2, /from 0 to 1/],
    [['--seed', '-1'], 2, /whole number/],
    [['--overlap', '256'], 1, /0 is no stride of a grid/],
    [['--jitter', '200'], 1, /200 is no jitter of a grid. Give 0 to 128 px/],
  ])('refuses %j before any slide', async (more, expected, sentence) => {
    const { code, stdout, stderr, out } = await tile(['a.tif'], ...more);
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(existsSync(out)).toBe(false);
  });
});

describe('no tissue', () => {
  it('is a status of its own, not an error', async () => {
    const { code, stdout, record, coords, failures } = await tile(['glass.tif', 'a.tif']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^glass +no-tissue +0 /m);
    expect(await failures()).toEqual([]);
    expect(await record('glass')).toMatchObject({ nPatches: 0, tissueAreaUm2: 0, leftOut: {} });
    expect((await record('glass')).warnings).toEqual(['No tissue was found, so there is no prediction.']);
    expect((await coords('glass')).numRows).toBe(0);
  });
});

describe('the scale', () => {
  const manifest = async (name: string, mpp: string) => {
    await writeFile(at(`${name}.csv`), `slide,mpp\na.tif,${mpp}\n`);
    return `${name}.csv`;
  };

  it("is the manifest's before the file's, the flag's before both, each recorded", async () => {
    const listed = await tile([await manifest('good', '0.55')], '--target-mpp', '1');
    expect(await listed.record('a')).toMatchObject({
      mpp: 0.55,
      mppSource: 'manifest',
      patch: { level0Px: 256 / 0.55 },
    });
    const flagged = await tile(['good.csv'], '--target-mpp', '1', '--mpp', '0.45');
    expect(await flagged.record('a')).toMatchObject({ mpp: 0.45, mppSource: 'flag', warnings: [] });
  });

  it.each(['0.04', '20.5', '1e9'])('of %s um/px is refused from the manifest and from --mpp', async (mpp) => {
    for (const args of [[await manifest('implausible', mpp)], ['a.tif', '--mpp', mpp]]) {
      const { code, failures } = await tile([args[0]!], ...args.slice(1));
      expect(code).toBe(1);
      expect(await failures()).toMatchObject([{ slide: 'a', stage: 'open', code: 'implausible-mpp' }]);
    }
  });

  it('that contradicts the objective is refused from the manifest; --mpp means it, and is warned', async () => {
    // The slide says 20x: about 0.5 um/px.
    const listed = await tile([await manifest('slipped', '0.25')]);
    expect(listed.code).toBe(1);
    expect((await listed.failures())[0]).toMatchObject({
      code: 'implausible-mpp',
      message: /manifest says of .*a\.tif that a pixel is 0\.25 um wide, but .* objective of 20x/,
    });
    const flagged = await tile(['slipped.csv'], '--mpp', '0.25');
    expect(await flagged.record('a')).toMatchObject({
      mpp: 0.25,
      mppSource: 'flag',
      warnings: [expect.stringMatching(/^--mpp says 0\.25 um\/px, but the file names an objective of 20x\.$/)],
    });
  });

  it('is not guessed, and the pixels may be taken as they are', async () => {
    await sharp(at('field.tif')).tiff({ tile: true, xres: 1, yres: 1 }).toFile(at('unscaled.tif'));
    const refused = await tile(['unscaled.tif']);
    expect(await refused.failures()).toMatchObject([{ code: 'no-mpp', hint: /--mpp.*--target-mpp native/ }]);
    const native = await tile(['unscaled.tif'], '--target-mpp', 'native', '--mask', at('all.geojson'));
    expect(await native.record('unscaled')).toMatchObject({
      mpp: null,
      mppSource: 'none',
      nPatches: 32,
      patch: { px: 256, level0Px: 256, mpp: null },
    });
  });
});

describe('a tile that cannot be read', () => {
  it('is a hole: placed in slide.json, hatched, its patches left out or kept by --max-bad-fraction', async () => {
    const [whole, torn, kept, half] = [
      await tile(['a.tif']),
      await tile(['torn.tif']),
      await tile(['torn.tif'], '--max-bad-fraction', '1'),
      await tile(['torn.tif'], '--stride', '100', '--max-bad-fraction', '0.5'),
    ];
    const { holes, unreadableTiles, nPatches, leftOut } = await torn.record('torn');
    expect(torn.code).toBe(0);
    expect(holes.length).toBeGreaterThan(0);
    expect(holes.length).toBeLessThanOrEqual(unreadableTiles);
    for (const { x, y, width, height } of holes) {
      expect(x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= 2048 && y + height <= 1536).toBe(true);
    }
    const overlaps = ([x, y]: readonly [number, number]) =>
      holes.some((hole) => x < hole.x + hole.width && x + 256 > hole.x && y < hole.y + hole.height && y + 256 > hole.y);
    expect(leftOut.unreadable).toBeGreaterThan(0);
    expect(corners(await torn.coords('torn')).some(overlaps)).toBe(false);

    const all = await kept.record('torn');
    expect(all.nPatches).toBe(nPatches + leftOut.unreadable!);
    expect(all.leftOut.unreadable).toBeUndefined();
    const missing = column(await kept.coords('torn'), 'missing');
    expect(missing.map((share) => share > 0)).toEqual(corners(await kept.coords('torn')).map(overlaps));
    const some = column(await half.coords('torn'), 'missing');
    expect(Math.max(...some)).toBeGreaterThan(0);
    expect(Math.max(...some)).toBeLessThanOrEqual(0.5);

    const reds = async ({ out }: { out: string }, id: string) => {
      const { data } = await sharp(join(out, 'slides', id, 'preview.png'))
        .raw()
        .toBuffer({ resolveWithObject: true });
      let count = 0;
      for (let i = 0; i < data.length; i += 3) if (data[i] === 200 && data[i + 1] === 0 && data[i + 2] === 0) count++;
      return count;
    };
    expect(await reds(whole, 'a')).toBe(0);
    expect(await reds(torn, 'torn')).toBeGreaterThan(500);
  });
});

describe('what cannot be done', () => {
  it('a slide of which nothing can be read fails, and is not taken for one without tissue', async () => {
    await writeFile(
      at('bare.dzi'),
      '<Image Format="jpg" Overlap="0" TileSize="256"><Size Width="3000" Height="2000"/></Image>',
    );
    const whole = await readFile(at('glass.tif'));
    // Tiles lie between the header and the directory: the directory alone is left.
    const directory = whole.readUInt32LE(4);
    whole.fill(0, 8, directory > whole.length / 2 ? directory : 8);
    if (directory < whole.length / 2) whole.fill(0, Math.floor(whole.length / 2));
    await writeFile(at('wiped.tif'), whole);
    const { code, failures } = await tile(['bare.dzi', 'wiped.tif'], '--mpp', '0.5');
    expect(code).toBe(1);
    expect((await failures()).map(({ code }) => code)).toEqual(['unreadable-slide', 'unreadable-slide']);
  });

  it('a grid that would never end is refused', async () => {
    const { code, failures } = await tile(['a.tif'], '--stride', '0.05');
    expect(code).toBe(1);
    const message = expect.stringMatching(/would have \d+ x \d+ places/);
    expect(await failures()).toMatchObject([{ code: 'bad-grid', message }]);
  });
});

const FLUORESCENCE = findSlide('test3-DAPI-2-387.ndpi', '.ndpi');
const without = FLUORESCENCE ? '' : ' (skipped: there is no NDPI among the slides)';

describe.skipIf(without)(`a slide of Hamamatsu, dark as one of fluorescence is${without}`, () => {
  it('goes all the way to a prediction', async () => {
    await saveRandomModel(at('model'));
    const args = ['--model', at('model'), '--out', at('dark'), '--device', 'wasm', '--max-pen', '0.1', '--json'];
    const { code, stdout } = await lamina('run', FLUORESCENCE!, ...args, '--max-patches', '500');
    expect(code).toBe(0);
    const [slide] = JSON.parse(stdout).slides;
    expect(slide.status).toMatch(/^(done|no-tissue)$/);
    const record = JSON.parse(await readFile(at(`dark/slides/${slide.id}/slide.json`), 'utf8')) as SlideRecord;
    expect(record).toMatchObject({ format: 'hamamatsu-ndpi', mppSource: 'file' });
    if (!isMeasured('slides/test3-DAPI-2-387.ndpi')) return;
    expect(slide).toMatchObject({ status: 'done', warnings: [] });
    expect(slide.nPatches).toBeGreaterThan(20);
    expect(slide.probability).toBeGreaterThan(0);
    expect(record.leftOut.pen).toBeUndefined();
  });
});
