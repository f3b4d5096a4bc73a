import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createGrid, type GridOptions } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { normalisedPatches, type PatchHole, type PatchStreamOptions, patches } from '../../src/tiling/patches.ts';
import { resampleArea } from '../../src/tiling/resample.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { createPicture, meanDifference, temporaryFolder, withoutAlpha, writeTiff } from './pictures.ts';

const folder = await temporaryFolder();
const picture = createPicture(900, 700, 5);
const path = join(folder, 'slide.tif');
await writeTiff(picture, path, { tile: true, tileWidth: 112, tileHeight: 96, pyramid: true, compression: 'deflate' });

/** All patches of a grid, one after the other. */
async function readAll(slide: Slide, gridOptions: GridOptions, options: PatchStreamOptions = {}) {
  const grid = createGrid(slide, null, { minTissue: 0, ...gridOptions });
  const pixels: Uint8Array[] = [];
  const holes: PatchHole[] = [];
  for await (const batch of patches(slide, grid, options)) {
    expect(batch.first).toBe(pixels.length);
    expect(batch.size).toBe(grid.patchPx);
    const bytes = batch.size ** 2 * 3;
    expect(batch.pixels.length).toBe(batch.count * bytes);
    expect(batch.pixels.buffer, 'passes between threads without a copy').toBeInstanceOf(SharedArrayBuffer);
    for (let i = 0; i < batch.count; i++) pixels.push(batch.pixels.subarray(i * bytes, (i + 1) * bytes));
    holes.push(...batch.holes);
  }
  expect(pixels).toHaveLength(grid.count);
  return { grid, pixels, holes };
}

describe('patches', () => {
  it('at the scale of the slide are its pixels, white over the edge', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const { grid, pixels, holes } = await readAll(slide, { patchPx: 100, mpp: 0.5 }, { batchSize: 7 });
    for (const [patch, found] of pixels.entries()) {
      const { data } = await slide.readRegion(grid.coords[patch * 2]!, grid.coords[patch * 2 + 1]!, 0, 100, 100);
      for (let i = 3; i < data.length; i += 4) if (data[i] === 0) data.fill(255, i - 3, i);
      expect(meanDifference(found, withoutAlpha(data))).toBe(0);
    }
    expect(holes).toEqual([]);
    await slide.close();
  });

  it.each([
    [0.499, 0.5],
    [0.5, 0.52],
    [0.25, 0.4],
    [0.5, 0.3],
  ])('of a slide at %f um/px cut at %f um/px are the means of exactly their area', async (slideMpp, mpp) => {
    const slide = await openSlide(path, { mpp: slideMpp });
    const { grid, pixels } = await readAll(slide, { patchPx: 64, mpp });
    expect(grid.level0Side).toBeCloseTo((64 * mpp) / slideMpp, 9);
    let compared = 0;
    for (const [patch, found] of pixels.entries()) {
      const [x, y] = [grid.coords[patch * 2]!, grid.coords[patch * 2 + 1]!];
      if (x + grid.level0Side > 900 || y + grid.level0Side > 700) continue;
      const expected = new Uint8Array(64 * 64 * 3);
      const rectangle = { x, y, width: grid.level0Side, height: grid.level0Side };
      resampleArea(picture.data, 900, 700, rectangle, expected, 64, 64);
      expect(meanDifference(found, expected)).toBeLessThan(0.01);
      compared++;
    }
    expect(compared).toBeGreaterThan(20);
    await slide.close();
  });

  it('coarser than level 0 come from a lower level and show the same', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const read = new Set<number>();
    const watched: Slide = {
      ...slide,
      readTileRgb: (level, ...rest) => {
        read.add(level);
        return slide.readTileRgb(level, ...rest);
      },
    };
    const { pixels } = await readAll(watched, { patchPx: 64, mpp: 1.1 });
    expect([...read]).toEqual([1]);
    const expected = new Uint8Array(64 * 64 * 3);
    resampleArea(picture.data, 900, 700, { x: 0, y: 0, width: 140.8, height: 140.8 }, expected, 64, 64);
    expect(meanDifference(pixels[0]!, expected)).toBeLessThan(2);
    await slide.close();
  });

  it.each([2, 4, 5.3, 8, 17])('at %f times the scale of a slide without lower levels are its means', async (factor) => {
    const flat = join(folder, 'flat.tif');
    const large = createPicture(1500, 1100, 6);
    await writeTiff(large, flat, { tile: true, tileWidth: 128, tileHeight: 128, compression: 'jpeg', quality: 90 });
    const slide = await openSlide(flat, { mpp: 0.5 });
    const whole = withoutAlpha((await slide.readRegion(0, 0, 0, 1500, 1100)).data);
    const reductions = new Set<number>();
    const watched: Slide = {
      ...slide,
      readTileRgb: (level, column, row, options) => {
        reductions.add(options?.reduce ?? 1);
        return slide.readTileRgb(level, column, row, options);
      },
    };
    const { grid, pixels } = await readAll(watched, { patchPx: 32, mpp: 0.5 * factor });
    // At least twice as fine as the patch.
    expect([...reductions]).toEqual([factor < 4 ? 1 : factor < 8 ? 2 : factor < 16 ? 4 : 8]);
    let compared = 0;
    for (const [patch, found] of pixels.entries()) {
      const [x, y] = [grid.coords[patch * 2]!, grid.coords[patch * 2 + 1]!];
      if (x + grid.level0Side > 1500 || y + grid.level0Side > 1100) continue;
      const expected = new Uint8Array(32 * 32 * 3);
      const rectangle = { x, y, width: grid.level0Side, height: grid.level0Side };
      resampleArea(whole, 1500, 1100, rectangle, expected, 32, 32);
      expect(meanDifference(found, expected)).toBeLessThan(1.1);
      compared++;
    }
    expect(compared).toBeGreaterThan(1);
    await slide.close();
  });

  it('as floats are the same, less mean, over deviation, plane after plane', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const { grid, pixels } = await readAll(slide, { patchPx: 60, mpp: 0.52 });
    const normalise = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] } as const;
    let seen = 0;
    for await (const batch of normalisedPatches(slide, grid, normalise, { batchSize: 10 })) {
      expect(batch.pixels).toHaveLength(batch.count * 3 * 60 * 60);
      expect(batch.first).toBe(seen);
      for (let i = 0; i < batch.count; i++, seen++) {
        const off = pixels[seen]!.map((value, at) => {
          const [channel, pixel] = [at % 3, Math.floor(at / 3)];
          const float = batch.pixels[(i * 3 + channel) * 3600 + pixel]!;
          const back = (float * normalise.std[channel]! + normalise.mean[channel]!) * 255;
          return Math.abs(back - value) > 0.51 ? 1 : 0;
        });
        expect(off.includes(1)).toBe(false);
      }
      batch.release();
    }
    expect(seen).toBe(grid.count);
    await slide.close();
  });

  it('are whole although the memory of earlier batches is used again', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const { grid, pixels } = await readAll(slide, { patchPx: 50, mpp: 0.5 });
    for await (const batch of patches(slide, grid, { batchSize: 9 })) {
      for (let i = 0; i < batch.count; i++) {
        const found = batch.pixels.subarray(i * 7500, (i + 1) * 7500);
        expect(Buffer.compare(found, pixels[batch.first + i]!)).toBe(0);
      }
      batch.release();
    }
    await slide.close();
  });

  it('decode each tile once, and not much of the slide before it is wanted', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const reads = new Map<string, number>();
    const watched: Slide = {
      ...slide,
      readTileRgb: (level, column, row, ...rest) => {
        const key = `${level}/${column}/${row}`;
        reads.set(key, (reads.get(key) ?? 0) + 1);
        return slide.readTileRgb(level, column, row, ...rest);
      },
    };
    const grid = createGrid(watched, null, { patchPx: 64, mpp: 0.52, minTissue: 0 });
    const stream = patches(watched, grid, { batchSize: 8 });
    await stream.next();
    await new Promise((resolve) => setTimeout(resolve, 200));
    // Four batches of 8 patches at most have been begun: two rows of patches and a little, under three rows of tiles.
    expect([...reads.keys()].every((key) => Number(key.split('/')[2]) <= 3)).toBe(true);
    for await (const _ of stream) {
      // All of them.
    }
    expect(reads.size).toBe(9 * 8);
    expect([...reads.values()].every((count) => count === 1)).toBe(true);
    await slide.close();
  });

  it('over a damaged tile come with the hole reported, white, and the others whole', async () => {
    const bytes = await readFile(path);
    const clean = await openSlide(path, { mpp: 0.5 });
    // Tile 2, 2 of level 0, found in the file by its bytes through the reader's own place for it being damaged.
    const whole = await readAll(clean, { patchPx: 112, mpp: 0.5 });
    await clean.close();
    const zlib = [...bytes.keys()].filter((i) => bytes[i] === 0x78 && bytes[i + 1] === 0x9c);
    const broken = join(folder, 'broken.tif');
    const damaged = Uint8Array.from(bytes);
    damaged.fill(0xff, zlib[20]!, zlib[20]! + 30);
    await writeFile(broken, damaged);
    const slide = await openSlide(broken, { mpp: 0.5 });
    const { pixels, holes } = await readAll(slide, { patchPx: 112, mpp: 0.5 });
    expect(slide.unreadable).toHaveLength(1);
    expect(holes.length).toBeGreaterThan(0);
    // The shares of the patches over it add up to the tile.
    const { column, row } = slide.unreadable[0]!;
    const area = Math.min(112, 900 - column * 112) * Math.min(96, 700 - row * 96);
    expect(holes.reduce((sum, { missing }) => sum + missing * 112 * 112, 0)).toBeCloseTo(area, 3);
    const touched = new Set(holes.map(({ patch }) => patch));
    for (const [patch, found] of pixels.entries()) {
      const same = meanDifference(found, whole.pixels[patch]!) === 0;
      expect(same).toBe(!touched.has(patch));
    }
    await slide.close();
  });

  it('stop when told, and when the caller leaves', async () => {
    const slide = await openSlide(path, { mpp: 0.5 });
    const grid = createGrid(slide, null, { patchPx: 32, mpp: 0.5, minTissue: 0 });
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of patches(slide, grid, { batchSize: 4, signal: stop.signal })) stop.abort();
    })();
    await expect(reading).rejects.toThrow('aborted');
    let seen = 0;
    for await (const _ of patches(slide, grid, { batchSize: 4 })) if (++seen === 2) break;
    expect(seen).toBe(2);
    expect(slide.unreadable).toEqual([]);
    await slide.close();
  });
});
