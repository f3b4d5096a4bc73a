import { createHash } from 'node:crypto';
import { mkdir, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hashSlide } from '../../src/tiling/slide-hash.ts';
import { temporaryFolder } from './pictures.ts';

const folder = await temporaryFolder();

it('is the sha256 of the file', async () => {
  const path = join(folder, 'small');
  await writeFile(path, 'abc');
  expect(await hashSlide(path)).toBe(`sha256:${createHash('sha256').update('abc').digest('hex')}`);
});

it('of a huge file is made of its ends, its size and its time', async () => {
  const path = join(folder, 'huge');
  await writeFile(path, 'abc');
  await truncate(path, 1.5e9);
  await utimes(path, 1000, 1000);
  const first = await hashSlide(path);
  expect(first).toMatch(/^head:[0-9a-f]{64}$/);
  expect(await hashSlide(path)).toBe(first);
  await utimes(path, 1000, 1001);
  expect(await hashSlide(path)).not.toBe(first);
});

it('of a file of MIRAX is also that of its pixels, which lie in a folder beside it', async () => {
  const path = join(folder, 'm.mrxs');
  await writeFile(path, 'head');
  const alone = await hashSlide(path);
  await mkdir(join(folder, 'm'));
  await writeFile(join(folder, 'm/Data0000.dat'), 'pixels');
  const whole = await hashSlide(path);
  await writeFile(join(folder, 'm/Data0000.dat'), 'others');
  expect(new Set([alone, whole, await hashSlide(path)]).size).toBe(3);
});

it('names a file that is not there', async () => {
  await expect(hashSlide(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'missing-file' });
});
