import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outlines, readGeoJson, toGeoJson } from '../../src/tiling/geojson.ts';
import type { Mask } from '../../src/tiling/morphology.ts';
import { temporaryFolder } from './pictures.ts';

const folder = await temporaryFolder();

const masks = fc
  .integer({ min: 1, max: 12 })
  .chain((width) =>
    fc
      .integer({ min: 1, max: 12 })
      .chain((height) =>
        fc
          .array(fc.constantFrom(0, 1), { minLength: width * height, maxLength: width * height })
          .map((bits) => ({ width, height, data: Uint8Array.from(bits) })),
      ),
  );

/** Even-odd rule at the middle of a pixel. */
function isInside(rings: number[][][], x: number, y: number): boolean {
  let inside = false;
  for (const ring of rings) {
    for (let i = 1; i < ring.length; i++) {
      const [ax, ay] = ring[i - 1] as [number, number];
      const [bx, by] = ring[i] as [number, number];
      if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
    }
  }
  return inside;
}

function countPieces({ width, height, data }: Mask): number {
  const label = Array.from(data, (value, i) => (value ? i : -1));
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = 0; i < label.length; i++) {
      const neighbours = [
        i % width ? i - 1 : -1,
        i >= width ? i - width : -1,
        (i + 1) % width ? i + 1 : -1,
        i + width < width * height ? i + width : -1,
      ];
      for (const n of neighbours) {
        if (n >= 0 && label[i]! >= 0 && label[n]! > label[i]!) {
          label[n] = label[i]!;
          changed = true;
        }
      }
    }
  }
  return new Set(label.filter((value) => value >= 0)).size;
}

describe('outlines', () => {
  it('drawn again give the mask: one polygon per piece, each pixel in exactly the one it belongs to', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const pieces = outlines(mask);
        expect(pieces).toHaveLength(countPieces(mask));
        for (let i = 0; i < mask.data.length; i++) {
          const [x, y] = [(i % mask.width) + 0.5, Math.floor(i / mask.width) + 0.5];
          expect(pieces.filter((rings) => isInside(rings, x, y))).toHaveLength(mask.data[i]!);
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});

describe('toGeoJson', () => {
  const width = 200;
  const height = 150;
  const inRing = (x: number, y: number) => Math.hypot(x - 100, y - 75) < 60 && Math.hypot(x - 100, y - 75) > 25;
  const data = Uint8Array.from({ length: width * height }, (_, i) =>
    inRing(i % width, Math.floor(i / width)) ? 1 : 0,
  );
  const mask = { width, height, data, level0PerPixel: 16, areaUm2: null };

  it('writes closed rings of level-0 pixels with their holes, in few points, that cover the same area', () => {
    const { features } = toGeoJson(mask, { width: 3200, height: 2400 });
    expect(features).toHaveLength(1);
    const rings = features[0]!.geometry.coordinates;
    expect(rings).toHaveLength(2);
    for (const ring of rings) {
      expect(ring.at(-1)).toEqual(ring[0]);
      expect(ring.length).toBeLessThan(60);
      expect(ring.flat().every(Number.isInteger)).toBe(true);
    }
    let differing = 0;
    for (let i = 0; i < data.length; i++) {
      const inside = isInside(rings, ((i % width) + 0.5) * 16, (Math.floor(i / width) + 0.5) * 16);
      if (inside !== (data[i] === 1)) differing++;
    }
    expect(differing / data.reduce((sum, value) => sum + value, 0)).toBeLessThan(0.03);
    expect(features[0]!.properties).toMatchObject({ objectType: 'annotation', classification: { name: 'Tissue' } });
  });

  it('stays on the slide, and an empty mask has no polygons', () => {
    const full = { ...mask, data: new Uint8Array(width * height).fill(1) };
    const [feature] = toGeoJson(full, { width: 3190, height: 2395 }).features;
    expect(new Set(feature!.geometry.coordinates.flat(2))).toEqual(new Set([0, 3190, 2395]));
    expect(
      toGeoJson({ ...mask, data: new Uint8Array(width * height) }, { width: 3200, height: 2400 }).features,
    ).toEqual([]);
  });
});

describe('readGeoJson', () => {
  const slide = {
    source: 'a.svs',
    levels: [{ width: 3190, height: 2395, downsample: 1, tileWidth: 256, tileHeight: 256 }],
    scale: { mpp: 0.5, source: 'file' as const },
  };

  it('gives back the mask that was written, to the pixel that outlines are simplified by', async () => {
    const width = 200;
    const height = 150;
    const data = Uint8Array.from({ length: width * height }, (_, i) => {
      const distance = Math.hypot((i % width) - 100, Math.floor(i / width) - 75);
      return distance < 60 && distance > 25 ? 1 : 0;
    });
    const path = join(folder, 'tissue.geojson');
    await writeFile(
      path,
      JSON.stringify(toGeoJson({ width, height, data, level0PerPixel: 16, areaUm2: null }, slide.levels[0]!)),
    );
    const mask = await readGeoJson(path, slide);
    expect(mask).toMatchObject({ width, height, level0PerPixel: 16 });
    const area = data.reduce((sum, value) => sum + value, 0);
    const differing = data.filter((value, i) => value !== mask.data[i]).length;
    expect(differing / area).toBeLessThan(0.03);
    expect(mask.areaUm2! / (area * 64)).toBeCloseTo(1, 1);
  });

  it('reads whatever QuPath exports: a list, one feature, several polygons, other shapes beside', async () => {
    const square = (x: number) => [
      [
        [x, 0],
        [x + 160, 0],
        [x + 160, 160],
        [x, 160],
        [x, 0],
      ],
    ];
    const count = async (value: unknown) => {
      const path = join(folder, 'areas.geojson');
      await writeFile(path, JSON.stringify(value));
      return (await readGeoJson(path, slide)).data.reduce((sum, bit) => sum + bit, 0);
    };
    const feature = (geometry: unknown) => ({ type: 'Feature', properties: {}, geometry });
    expect(await count(feature({ type: 'Polygon', coordinates: square(0) }))).toBe(100);
    expect(await count([feature({ type: 'MultiPolygon', coordinates: [square(0), square(320)] })])).toBe(200);
    expect(
      await count({
        type: 'FeatureCollection',
        features: [
          feature({ type: 'Point', coordinates: [1, 2] }),
          feature({ type: 'Polygon', coordinates: square(-80) }),
        ],
      }),
    ).toBe(50);
  });

  const setPixels = async (coordinates: unknown, more: Partial<Record<string, unknown>> = {}) => {
    const path = join(folder, 'hostile.geojson');
    await writeFile(path, JSON.stringify({ type: 'Polygon', coordinates, ...more }));
    return (await readGeoJson(path, slide)).data.reduce((sum, bit) => sum + bit, 0);
  };

  it('fills outlines that are not closed, cross themselves, overlap, or leave the slide by far', async () => {
    const open = [
      [0, 0],
      [160, 0],
      [160, 160],
      [0, 160],
    ];
    expect(await setPixels([open])).toBe(100);
    // Two triangles that meet in a point.
    const bowTie = [
      [0, 0],
      [320, 320],
      [320, 0],
      [0, 320],
      [0, 0],
    ];
    const half = await setPixels([bowTie]);
    expect(half).toBeGreaterThan(0.45 * 400);
    expect(half).toBeLessThan(0.55 * 400);
    expect(await setPixels([open.map(([x, y]) => [x! - 80, y! - 80])])).toBe(25);
    const vast = [
      [-1e300, -1e300],
      [1e300, -1e300],
      [1e300, 1e300],
      [-1e300, 1e300],
    ];
    expect(await setPixels([vast])).toBe(200 * 150);
    // Areas that overlap are one, not a gap.
    expect(await setPixels([[open], [open]], { type: 'MultiPolygon' })).toBe(100);
  });

  it('refuses a file of 300 MB before it is read', async () => {
    const path = join(folder, 'huge.geojson');
    await writeFile(path, '{}');
    await truncate(path, 300e6);
    await expect(readGeoJson(path, slide)).rejects.toMatchObject({
      code: 'bad-geojson',
      problem: expect.stringMatching(/300 MB/),
    });
  });

  it('takes a byte order mark, and an empty collection for no tissue', async () => {
    const path = join(folder, 'marked.geojson');
    await writeFile(path, '\ufeff{"type":"FeatureCollection","features":[]}');
    expect((await readGeoJson(path, slide)).data.includes(1)).toBe(false);
  });

  it('fills a million corners, and refuses what would never end', async () => {
    const corners = 1_000_000;
    const circle = Array.from({ length: corners }, (_, i) => {
      const angle = (2 * Math.PI * i) / corners;
      return [1600 + 800 * Math.cos(angle), 1200 + 800 * Math.sin(angle)];
    });
    const area = Math.PI * 50 ** 2;
    expect((await setPixels([circle])) / area).toBeCloseTo(1, 2);
    const comb = Array.from({ length: corners }, (_, i) => [i / 400, i % 2 === 0 ? 0 : 2395]);
    await expect(setPixels([comb])).rejects.toMatchObject({
      code: 'bad-geojson',
      problem: expect.stringMatching(/too intricate/),
    });
  }, 30_000);

  it.each([
    ['no JSON', '{', 'bad-geojson'],
    ['no GeoJSON', '{"type":"Cat"}', 'bad-geojson'],
    ['damaged coordinates', '{"type":"Polygon","coordinates":[[[0,0],[1,null],[2,2]]]}', 'bad-geojson'],
    ['nothing at all', '', 'bad-geojson'],
    ['a picture', '\x89PNG\r\n\x1a\n', 'bad-geojson'],
    ['a number', '7', 'bad-geojson'],
    ['nothing but null', 'null', 'bad-geojson'],
    ['text for numbers', '{"type":"Polygon","coordinates":[[["0","0"],["9","0"],["9","9"]]]}', 'bad-geojson'],
    ['too few corners', '{"type":"Polygon","coordinates":[[[0,0],[900,900]]]}', 'bad-geojson'],
    ['only points', '{"type":"Point","coordinates":[3,4]}', 'bad-geojson'],
    ['no coordinates', '{"type":"MultiPolygon"}', 'bad-geojson'],
    ['a collection without features', '{"type":"FeatureCollection"}', 'bad-geojson'],
    [
      'a thousand collections deep',
      `${'{"type":"GeometryCollection","geometries":['.repeat(1000)}${']}'.repeat(1000)}`,
      'bad-geojson',
    ],
    ['a million lists deep', `${'['.repeat(1e6)}${']'.repeat(1e6)}`, 'bad-geojson'],
    ['nothing on the slide', '{"type":"Polygon","coordinates":[[[9000,0],[9900,0],[9900,900]]]}', 'bad-geojson'],
  ])('%s is refused with the name of the file', async (name, text, code) => {
    const path = join(folder, `${name}.geojson`);
    await writeFile(path, text);
    await expect(readGeoJson(path, slide)).rejects.toMatchObject({ code, problem: expect.stringContaining(path) });
  });
});
