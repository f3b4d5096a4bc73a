/** Deep Zoom and IIIF: what other viewers are given is the slide. */
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSlide } from '../../src/tiling/open-slide.ts';
import type { Slide } from '../../src/tiling/slide.ts';
import { slideUrl } from '../../src/viewer/api.ts';
import { createViewerApp, type ViewerApp } from '../../src/viewer/server.ts';
import { type SampleRun, writeSampleRun } from './sample-run.ts';

let run: SampleRun;
let app: ViewerApp;
let slide: Slide;

beforeAll(async () => {
  run = await writeSampleRun();
  app = await createViewerApp(run.folder);
  slide = await openSlide(run.slidePath);
});
afterAll(async () => {
  await slide.close();
  await app.close();
  await run.remove();
});

function get(resource: string, headers: Record<string, string> = {}): Promise<Response> {
  return app.fetch(new Request(`http://127.0.0.1:7777/${slideUrl('known', resource)}`, { headers }));
}

async function picture(resource: string) {
  const response = await get(resource);
  expect([resource, response.status]).toEqual([resource, 200]);
  const { data, info } = await sharp(Buffer.from(await response.arrayBuffer()))
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

/** RGB of a rectangle of the slide, shrunk by averaging. */
async function truth(x: number, y: number, width: number, height: number, toWidth = width, toHeight = height) {
  const region = await slide.readRegion(x, y, 0, width, height);
  const { data } = await sharp(region.data, { raw: { width, height, channels: 4 } })
    .flatten({ background: '#f4f4f4' })
    .resize(toWidth, toHeight, { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return data;
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}

describe('Deep Zoom', () => {
  it('describes the slide, and has every level down to one pixel, each of half the size rounded up', async () => {
    const xml = await (await get('deep-zoom.dzi')).text();
    const number = (name: string) => Number(new RegExp(`${name}="(\\d+)"`).exec(xml)?.[1]);
    const [width, height, tile] = [number('Width'), number('Height'), number('TileSize')];
    expect([width, height, tile, number('Overlap')]).toEqual([run.slide.width, run.slide.height, 256, 0]);
    const top = Math.ceil(Math.log2(Math.max(width, height)));
    for (let level = 0; level <= top; level++) {
      const [w, h] = [width, height].map((size) => Math.ceil(size / 2 ** (top - level))) as [number, number];
      const last = [Math.ceil(w / tile) - 1, Math.ceil(h / tile) - 1] as const;
      const corner = await picture(`deep-zoom_files/${level}/${last[0]}_${last[1]}.jpeg`);
      expect([level, corner.width, corner.height]).toEqual([level, w - last[0] * tile, h - last[1] * tile]);
      expect((await get(`deep-zoom_files/${level}/${last[0] + 1}_0.jpeg`)).status).toBe(404);
    }
    expect((await get(`deep-zoom_files/${top + 1}/0_0.jpeg`)).status).toBe(404);
  });

  it('passes whole stored tiles through, and cuts the last ones', async () => {
    const top = Math.ceil(Math.log2(Math.max(run.slide.width, run.slide.height)));
    const served = Buffer.from(await (await get(`deep-zoom_files/${top}/3_4.jpeg`)).arrayBuffer());
    expect(served.equals(Buffer.from((await slide.readStoredTile(0, 3, 4))!.bytes))).toBe(true);
    const edge = await picture(`deep-zoom_files/${top}/11_8.jpeg`);
    expect(meanDifference(edge.data, await truth(11 * 256, 8 * 256, edge.width, edge.height))).toBeLessThan(3);
  });
});

describe('IIIF', () => {
  it('says what it can', async () => {
    const response = await get('iiif/info.json', { accept: 'application/ld+json' });
    expect(response.headers.get('content-type')).toContain('application/ld+json');
    const info = (await response.json()) as Record<string, unknown>;
    expect(info).toMatchObject({
      id: `http://127.0.0.1:7777/${slideUrl('known', 'iiif')}`,
      type: 'ImageService3',
      profile: 'level2',
      width: run.slide.width,
      height: run.slide.height,
      tiles: [{ width: 256, scaleFactors: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096] }],
    });
    expect((await get('iiif')).headers.get('location')).toMatch(/\/iiif\/info\.json$/);
  });

  it.each([
    ['full/max/0/default.jpg', [0, 0, 3001, 2303], [3001, 2303]],
    ['full/600,/0/default.jpg', [0, 0, 3001, 2303], [600, 460]],
    ['full/pct:25/0/color.png', [0, 0, 3001, 2303], [750, 576]],
    ['square/,400/0/default.jpg', [349, 0, 2303, 2303], [400, 400]],
    ['700,500,400,300/max/0/default.png', [700, 500, 400, 300], [400, 300]],
    ['700,500,400,300/!100,100/0/default.jpg', [700, 500, 400, 300], [100, 75]],
    ['pct:50,50,25,25/200,100/0/default.jpg', [1501, 1152, 750, 576], [200, 100]],
    ['2900,2200,400,400/max/0/default.jpg', [2900, 2200, 101, 103], [101, 103]],
    ['512,512,512,512/256,256/0/default.jpg', [512, 512, 512, 512], [256, 256]],
    ['100,100,50,40/^200,/0/default.jpg', [100, 100, 50, 40], [200, 160]],
  ] as const)('%s', async (address, [x, y, width, height], [toWidth, toHeight]) => {
    const seen = await picture(`iiif/${address}`);
    expect([seen.width, seen.height]).toEqual([toWidth, toHeight]);
    expect(meanDifference(seen.data, await truth(x, y, width, height, toWidth, toHeight))).toBeLessThan(8);
  });

  it('mirrors, then turns clockwise', async () => {
    const plain = await picture('iiif/700,500,40,30/max/0/default.png');
    const turned = await picture('iiif/700,500,40,30/max/!90/default.png');
    expect([turned.width, turned.height]).toEqual([30, 40]);
    for (const [x, y] of [
      [0, 0],
      [11, 5],
      [39, 29],
    ] as const) {
      const [mirroredX, mirroredY] = [39 - x, y];
      const [turnedX, turnedY] = [29 - mirroredY, mirroredX];
      expect([...turned.data.subarray((turnedY * 30 + turnedX) * 3, (turnedY * 30 + turnedX) * 3 + 3)]).toEqual([
        ...plain.data.subarray((y * 40 + x) * 3, (y * 40 + x) * 3 + 3),
      ]);
    }
  });

  it.each([
    'full/max/45/default.jpg',
    'full/max/0/default.tif',
    'full/max/0/best.jpg',
    '5000,0,10,10/max/0/default.jpg',
    '0,0,0,10/max/0/default.jpg',
    'full/9000,/0/default.jpg',
    '0,0,10,10/20,20/0/default.jpg',
    'full/^100000,100000/0/default.jpg',
    'all/max/0/default.jpg',
  ])('%s is refused with a sentence', async (address) => {
    const response = await get(`iiif/${address}`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'bad-request', message: expect.stringMatching(/\.$/) });
  });
});
