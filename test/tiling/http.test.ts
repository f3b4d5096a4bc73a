/** Slides over http, from a server of this test that counts what it sends and can be told to fail. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { hashSlide } from '../../src/tiling/slide-hash.ts';
import { createPicture, temporaryFolder, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const path = join(folder, 'slide.tif');
await writeTiff(createPicture(2500, 2000), path, { tile: true, tileWidth: 256, tileHeight: 256, compression: 'none' });
const file = await readFile(path);

let sent = 0;
let failures = 0;
let ranges = true;
/** Answers that are too short, or of another range, before right ones come again. */
let short = 0;
let elsewhere = 0;
let delayMs = 0;
const server = createServer((request, response) => {
  if (request.url === '/secret.tif') return response.writeHead(403).end();
  if (request.url !== '/slide.tif') return response.writeHead(404).end();
  if (failures > 0) {
    failures--;
    // Half of them break off in the middle of an answer.
    if (failures % 2) return response.writeHead(503).end();
    response.writeHead(206, { 'content-range': `bytes 0-99/${file.length}`, 'content-length': 100 }).write('x');
    return setTimeout(() => response.destroy(), 10);
  }
  const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
  if (!range || !ranges) {
    sent += file.length;
    return response.writeHead(200).end(file);
  }
  const begin = Number(range[1]) + (elsewhere-- > 0 ? 1000 : 0);
  const body = file.subarray(begin, Number(range[2]) + 1 - (short-- > 0 ? 10 : 0));
  sent += body.length;
  return setTimeout(() => {
    response.writeHead(206, { 'content-range': `bytes ${begin}-${range[2]}/${file.length}`, etag: '"1"' }).end(body);
  }, delayMs);
});
let url = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/slide.tif`;
});
afterAll(() => server.close());
beforeEach(() => {
  sent = 0;
  failures = 0;
  ranges = true;
  short = 0;
  elsewhere = 0;
  delayMs = 0;
});

describe('a slide over http', () => {
  it('is read in parts: only what is asked for, and not twice', async () => {
    const [remote, local] = await Promise.all([openSlide(url), openSlide(path)]);
    expect(remote).toMatchObject({ source: url, format: 'tiff', levels: local.levels });
    const region = await remote.readRegion(300, 300, 0, 400, 400);
    expect(region).toEqual(await local.readRegion(300, 300, 0, 400, 400));
    expect(sent).toBeLessThan(file.length / 3);
    const before = sent;
    await remote.readRegion(300, 300, 0, 400, 400);
    expect(sent).toBe(before);
    await Promise.all([remote.close(), local.close()]);
  });

  it('survives a server that stumbles', async () => {
    failures = 2;
    const slide = await openSlide(url);
    failures = 3;
    await slide.readRegion(1500, 1700, 0, 100, 100);
    expect(slide.unreadable).toEqual([]);
    expect(failures).toBe(0);
    await slide.close();
  });

  it.each(['too short', 'from another place'])('asks again when what comes is %s', async (what) => {
    const [remote, local] = await Promise.all([openSlide(url), openSlide(path)]);
    if (what === 'too short') short = 2;
    else elsewhere = 2;
    const region = await remote.readRegion(1500, 1700, 0, 100, 100);
    expect(region).toEqual(await local.readRegion(1500, 1700, 0, 100, 100));
    expect(remote.unreadable).toEqual([]);
    await Promise.all([remote.close(), local.close()]);
  });

  it('has holes where answers stay too short, and is whole again afterwards', async () => {
    const slide = await openSlide(url);
    short = 1000;
    await expect(slide.readTile(0, 5, 5)).rejects.toMatchObject({
      code: 'unreadable-tile',
      problem: expect.stringContaining('bytes came'),
    });
    short = 0;
    // The other half of the tile may still be on its last attempt.
    await expect.poll(() => slide.readTile(0, 5, 5).catch(() => null), { timeout: 5000 }).not.toBeNull();
    await slide.close();
  }, 15_000);

  it('waits for a slow server, asking for the parts of a region at the same time', async () => {
    const slide = await openSlide(url);
    delayMs = 300;
    const started = performance.now();
    await slide.readRegion(0, 0, 0, 1024, 1024);
    // Four rows of tiles, at least six blocks.
    expect(performance.now() - started).toBeLessThan(5 * delayMs);
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });

  it('that may not be read says so', async () => {
    await expect(openSlide(url.replace('slide', 'secret'))).rejects.toMatchObject({
      code: 'remote-slide',
      problem: expect.stringContaining('403'),
      hint: expect.stringContaining('permission'),
    });
  });

  it('has a hash', async () => {
    expect(await hashSlide(url)).toMatch(/^head:[0-9a-f]{64}$/);
    expect(await hashSlide(url)).toBe(await hashSlide(url));
  });

  it('is refused if the server serves no ranges, has no such file, or is not there', async () => {
    ranges = false;
    await expect(openSlide(url)).rejects.toMatchObject({
      code: 'remote-slide',
      problem: expect.stringContaining('range requests'),
    });
    await expect(openSlide(`${url}x`)).rejects.toMatchObject({
      code: 'remote-slide',
      problem: expect.stringContaining('no such file'),
    });
    await expect(openSlide('http://127.0.0.1:1/slide.svs')).rejects.toMatchObject({ code: 'remote-slide' });
  });
});
