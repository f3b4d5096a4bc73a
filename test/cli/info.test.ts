import { exec } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lamina } from './spawn.ts';

const SLIDE = join(process.env.LAMINA_DATA ?? '../shared/data', 'slides/CMU-1-Small-Region.svs');
const missing = existsSync(SLIDE) ? '' : ` (skipped: ${SLIDE} is missing)`;

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-info-'))));
afterAll(() => rm(folder, { recursive: true }));

describe.skipIf(missing)(`lamina info on a real slide${missing}`, () => {
  it('shows size, scale with its source, levels and hash', async () => {
    const { code, stdout, stderr } = await lamina('info', SLIDE);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('2220 x 2967 px');
    expect(stdout).toContain('0.499 um/px, from the file');
    expect(stdout).toContain('sha256:ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7');
    expect(stdout).toMatch(/^ +0 +2220 +2967 +1 +240 x 240$/m);
  });

  it('prints the same as JSON, with a scale that was given instead', async () => {
    const { stdout } = await lamina('info', SLIDE, '--json', '--mpp', '0.25');
    expect(JSON.parse(stdout)).toMatchObject({
      format: 'aperio-svs',
      mpp: 0.25,
      mppSource: 'flag',
      objectivePower: 20,
    });
  });

  it('refuses a slide that was cut off', async () => {
    const path = join(folder, 'cut.svs');
    await copyFile(SLIDE, path);
    await truncate(path, 300_000);
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
