import { exec } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aperioFacts, readTiffPages, tagValue } from '../file-tags.ts';
import { findSlide, isMeasured } from '../real-data.ts';
import { lamina } from './spawn.ts';

const SLIDE = findSlide('CMU-1-Small-Region.svs', '.svs')!;
const missing = SLIDE ? '' : ' (skipped: there is no SVS among the slides)';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-info-'))));
afterAll(() => rm(folder, { recursive: true }));

describe.skipIf(missing)(`lamina info on a real slide${missing}`, () => {
  it('shows size, scale with its source, levels and hash', async () => {
    const [page] = readTiffPages(SLIDE);
    const [width, height, tileWidth, tileHeight] = [256, 257, 322, 323].map((tag) => tagValue(page!, tag));
    const { mpp, objectivePower } = aperioFacts(page!);
    const { code, stdout, stderr } = await lamina('info', SLIDE);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`${width} x ${height} px`);
    if (mpp !== null) expect(stdout).toContain(`${mpp} um/px, from the file`);
    else
      expect(stdout).toContain(objectivePower === null ? 'unknown; give it with --mpp' : 'derived from the objective');
    const hash = createHash('sha256').update(await readFile(SLIDE));
    expect(stdout).toContain(`sha256:${hash.digest('hex')}`);
    expect(stdout).toMatch(new RegExp(`^ +0 +${width} +${height} +1 +${tileWidth} x ${tileHeight}$`, 'm'));
    if (!isMeasured('slides/CMU-1-Small-Region.svs')) return;
    expect(stdout).toContain('2220 x 2967 px');
    expect(stdout).toContain('0.499 um/px, from the file');
    expect(stdout).toMatch(/^ +0 +2220 +2967 +1 +240 x 240$/m);
  });

  it('prints the same as JSON, with a scale that was given instead', async () => {
    const { stdout } = await lamina('info', SLIDE, '--json', '--mpp', '0.25');
    expect(JSON.parse(stdout)).toMatchObject({
      format: 'aperio-svs',
      mpp: 0.25,
      mppSource: 'flag',
      objectivePower: aperioFacts(readTiffPages(SLIDE)[0]!).objectivePower,
    });
  });

  it('refuses a slide that was cut off', async () => {
    const path = join(folder, 'cut.svs');
    await copyFile(SLIDE, path);
    await truncate(path, Math.floor((await readFile(SLIDE)).length / 6));
    const { code, stdout, stderr } = await lamina('info', path);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^lamina: .*cut\.svs.*\.\n$/);
  });
});

describe('lamina info', () => {
  it.each([
    ['is not there', 'gone.svs', null],
    ['is empty', 'empty.svs', ''],
    ['is no slide', 'notes.svs', 'This is a shopping list.'],
    ['is hardly a TIFF', 'stub.tif', 'II*\0'],
  ])('says in one sentence that a file %s', async (_, name, content) => {
    const path = join(folder, name);
    if (content !== null) await writeFile(path, content);
    const { code, stdout, stderr } = await lamina('info', path);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^lamina: .*${name}.*\\.\\n$`));
    expect(stderr).not.toContain('made a mistake');
  });

  it('shows the stack when asked to', async () => {
    const { stderr } = await lamina('info', join(folder, 'gone.svs'), '--verbose');
    expect(stderr).toMatch(/^\s+at /m);
  });
});

describe('lamina info on folders', () => {
  const picture = { create: { width: 300, height: 200, channels: 3 as const, background: '#d8b0c8' } };

  it('shows the slide that a folder is, and says when there are more', async () => {
    await mkdir(join(folder, 'one'));
    await sharp(picture).tile({ size: 64, layout: 'dz' }).toFile(join(folder, 'one/zoom.dz'));
    for (const name of ['one', 'one/zoom_files', 'one/zoom.dzi']) {
      const { code, stdout } = await lamina('info', join(folder, name), '--json');
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ format: 'deep-zoom', levels: [{ width: 300 }, {}, {}] });
    }
    await sharp(picture).tiff({ tile: true }).toFile(join(folder, 'one/other.tif'));
    const { code, stdout, stderr } = await lamina('info', join(folder, 'one'));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^lamina: .*one has 2 slides: other, zoom\. Name one of them\.\n$/);
  });

  it('ends quietly when nobody reads on', async () => {
    await sharp(picture).tiff({ tile: true }).toFile(join(folder, 'a.tif'));
    const program = `${process.execPath} dist/src/cli/lamina.js info ${join(folder, 'a.tif')}`;
    const { stdout, stderr } = await promisify(exec)(`${program} | head -c 1`);
    expect({ stdout: stdout.length, stderr }).toEqual({ stdout: 1, stderr: '' });
  });
});
