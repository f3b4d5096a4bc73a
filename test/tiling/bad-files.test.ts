/** What is no slide, or a damaged one, ends in a sentence for the person: never in a crash, never in waiting. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { createRandom, integer } from '../../src/random.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { createPicture, temporaryFolder, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const whole = join(folder, 'whole.tif');
await writeTiff(createPicture(400, 300), whole, {
  tile: true,
  tileWidth: 64,
  tileHeight: 64,
  pyramid: true,
  compression: 'jpeg',
});
const bytes = await readFile(whole);

async function write(name: string, content: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

describe('openSlide refuses', () => {
  it.each([
    ['a missing file', 'missing-file', async () => join(folder, 'nothing.svs')],
    ['a folder', 'is-a-folder', async () => folder],
    ['an empty file', 'empty-file', () => write('empty.svs', '')],
    ['a text', 'not-a-slide', () => write('text.svs', 'this is no slide')],
    ['two bytes', 'not-a-slide', () => write('short.svs', 'II')],
    [
      'a header without pages',
      'damaged-slide',
      () => write('header.tif', Uint8Array.of(0x49, 0x49, 42, 0, 0, 0, 0, 0)),
    ],
    ['half a file', 'truncated', () => write('half.tif', bytes.subarray(0, bytes.length / 2))],
    ['a damaged picture', 'damaged-slide', () => write('broken.png', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 1, 2, 3))],
  ])('%s', async (_, code, path) => {
    const file = await path();
    const error = await openSlide(file).catch((caught) => caught);
    expect(error).toBeInstanceOf(UserError);
    expect(error.code).toBe(code);
    expect(error.problem).toContain(file);
    expect(error.hint).toMatch(/^[A-Z].*\.$/);
  });
});

describe('a damaged tile', () => {
  it('is a hole in a region, and an error when asked for alone', async () => {
    const damaged = Uint8Array.from(bytes);
    // The first tile's JPEG stream: the first SOI in the file.
    const start = bytes.indexOf(Uint8Array.of(0xff, 0xd8, 0xff));
    const broken = join(folder, 'tile.tif');
    damaged.fill(0, start, start + 40);
    await writeFile(broken, damaged);
    const slide = await openSlide(broken);
    const found: number[] = [];
    for (const [index, level] of slide.levels.entries()) {
      const { data } = await slide.readRegion(0, 0, index, level.width, level.height);
      const holes = data.filter((value, i) => i % 4 === 3 && value === 0).length;
      if (holes > 0) found.push(holes);
    }
    expect(slide.unreadable).toHaveLength(1);
    const { level, column, row } = slide.unreadable[0]!;
    const { width, height } = slide.levels[level]!;
    expect(found).toEqual([Math.min(64, width - column * 64) * Math.min(64, height - row * 64)]);
    await expect(slide.readTile(level, column, row)).rejects.toMatchObject({ code: 'unreadable-tile' });
    await slide.close();
  });
});

describe('damaged at random', () => {
  const random = createRandom(20);
  const cases = Array.from({ length: 200 }, (_, index) => {
    const copy = Uint8Array.from(bytes);
    if (index % 4 === 0) return { index, content: copy.subarray(0, integer(random, copy.length)) };
    // Half of the flips go where the directories are: libvips writes them near the end, the first at the end of level 0.
    for (let flips = 1 + integer(random, 12); flips > 0; flips--) {
      const at = index % 2 ? integer(random, copy.length) : copy.length - 1 - integer(random, 1500);
      copy[at]! ^= 1 << integer(random, 8);
    }
    return { index, content: copy };
  });

  it('200 files: each opens and reads with holes, or is refused with a sentence', { timeout: 120_000 }, async () => {
    let refused = 0;
    let opened = 0;
    for (const { index, content } of cases) {
      const path = await write('damaged.tif', content);
      const started = performance.now();
      try {
        const slide = await openSlide(path);
        try {
          const last = slide.levels.length - 1;
          await slide.readRegion(0, 0, 0, 300, 300);
          await slide.readRegion(0, 0, last, 64, 64);
          opened++;
        } finally {
          await slide.close();
        }
      } catch (error) {
        if (!(error instanceof UserError)) throw new Error(`case ${index}: ${error}`, { cause: error });
        expect(error.problem).toContain(path);
        refused++;
      }
      expect(performance.now() - started, `case ${index}`).toBeLessThan(5000);
    }
    expect(refused + opened).toBe(cases.length);
    // Both must have happened, or the damage is not where it should be.
    expect(Math.min(refused, opened)).toBeGreaterThan(20);
  });
});
