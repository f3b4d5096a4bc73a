/**
 * Slides of every format, damaged by a seeded random: each opens and reads with holes, or is refused with a sentence that names it.
 * Never a crash, more than 5 s, or more than 1 GB.
 *
 *     LAMINA_FUZZ_CASES=20000 npx vitest run test/tiling/fuzz.test.ts
 *     LAMINA_FUZZ_CASES=20000 LAMINA_FUZZ_SEED=2 LAMINA_FUZZ_ONLY=10538 npx vitest run test/tiling/fuzz.test.ts
 */
import { statSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { createRandom } from '../../src/random.ts';
import { createGrid } from '../../src/tiling/grid.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { patches } from '../../src/tiling/patches.ts';
import { damage } from '../damage.ts';
import { findSlide } from '../real-data.ts';
import { createPicture, temporaryFolder, writeTiff } from './pictures.ts';
import { dicomFile } from './write-dicom.ts';
import { writeHandTiff } from './write-tiff.ts';

const cases = Number(process.env.LAMINA_FUZZ_CASES ?? 600);
const seed = Number(process.env.LAMINA_FUZZ_SEED ?? 1);
/** One case again, without the others. */
const only = process.env.LAMINA_FUZZ_ONLY === undefined ? undefined : Number(process.env.LAMINA_FUZZ_ONLY);
const folder = await temporaryFolder();
const large = createPicture(260, 200);
const small = createPicture(130, 100, 2);

async function seeds(): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  const keep = async (name: string, write: (path: string) => Promise<unknown>) => {
    const path = join(folder, `seed-${name}`);
    await write(path);
    found[name] = await readFile(path);
  };
  for (const compression of ['jpeg', 'lzw', 'deflate', 'packbits', 'webp'] as const) {
    await keep(`${compression}.tif`, (path) =>
      writeTiff(large, path, { tile: true, tileWidth: 64, tileHeight: 64, pyramid: true, compression }),
    );
  }
  const level = { image: large, tile: 64 };
  const half = { image: small, tile: 64 };
  await keep('sub.ome.tif', (path) =>
    writeHandTiff(path, [
      {
        ...level,
        description:
          '<OME><Image Name="a"><Pixels PhysicalSizeX="0.5" SizeC="3" DimensionOrder="XYCZT"><TiffData IFD="0"/></Pixels></Image></OME>',
        subPages: [half],
      },
    ]),
  );
  await keep('philips.tif', (path) =>
    writeHandTiff(path, [
      {
        ...level,
        software: 'Philips',
        description:
          '<DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_PIXEL_SPACING">"0.00025" "0.00025"</Attribute></DataObject>',
      },
      half,
    ]),
  );
  await keep('leica.scn', (path) =>
    writeHandTiff(path, [
      {
        ...level,
        description:
          '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="9" sizeY="9"><image><pixels><dimension ifd="0"/><dimension ifd="1"/></pixels><view sizeX="130000" sizeY="100000"/></image></collection></scn>',
      },
      half,
    ]),
  );
  await keep('ventana.bif', (path) =>
    writeHandTiff(path, [
      { ...level, description: 'level=0 mag=20', xmp: '<iScan Magnification="20" ScanRes="0.5"/>' },
      { ...half, description: 'level=1' },
    ]),
  );
  found['plain.dcm'] = await dicomFile(small, 64, { undefinedLengths: true });
  found['sparse.dcm'] = await dicomFile(small, 64, { sparse: true });
  found['table.dcm'] = await dicomFile(small, 64, { jpeg: 'ycbcr', table: true });
  found['search.dcm'] = await dicomFile(small, 64, { jpeg: 'ycbcr', fragments: 2 });
  found['zoom.dzi'] = Buffer.from(
    '<?xml version="1.0"?><Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="png" Overlap="1" TileSize="64"><Size Height="200" Width="260"/></Image>',
  );
  const raw = { raw: { width: 130, height: 100, channels: 3 } } as const;
  found['picture.png'] = await sharp(small.data, raw).png().toBuffer();
  found['picture.jpg'] = await sharp(small.data, raw).jpeg().toBuffer();
  for (const name of ['test3-DAPI-2-387.ndpi', 'CMU-1-Small-Region.svs', 'wsi-jpeg2000-lossless.dcm']) {
    const path = findSlide(name, extname(name));
    if (path !== null && statSync(path).size < 20e6) found[basename(path)] = await readFile(path);
  }
  return found;
}

/** @returns whether there was a hole. */
async function openAndRead(path: string): Promise<boolean> {
  const slide = await openSlide(path);
  try {
    await slide.readRegion(0, 0, 0, 200, 200);
    await slide.readRegion(0, 0, slide.levels.length - 1, 64, 64);
    for (const name of slide.associated.slice(0, 2)) {
      await slide.readAssociated(name).catch((error) => {
        if (!(error instanceof UserError)) throw error;
      });
    }
    for (const [patchPx, mpp] of [
      [48, null],
      [16, 4 * (slide.scale.mpp ?? 1)],
    ] as const) {
      const grid = createGrid(slide, null, { patchPx, mpp: slide.scale.mpp === null ? null : mpp, maximum: 4 });
      for await (const { holes } of patches(slide, grid)) expect(holes.length).toBeLessThanOrEqual(4);
    }
    return slide.unreadable.length > 0;
  } finally {
    await slide.close();
  }
}

describe('damaged at random', () => {
  it(`${cases} files of every format`, { timeout: 60_000 + cases * 300 }, async () => {
    const whole = Object.entries(await seeds());
    for (const [name, bytes] of whole) {
      const path = join(folder, name);
      await writeFile(path, bytes);
      await openAndRead(path);
    }
    const random = createRandom(seed);
    const counts = new Map(whole.map(([name]) => [name, { whole: 0, holes: 0, refused: 0 }]));
    let slowest = 0;
    let most = 0;
    for (let i = 0; i < cases; i++) {
      const [name, bytes] = whole[i % whole.length]!;
      const path = join(folder, name);
      const damaged = damage(bytes, random);
      if (only !== undefined && i !== only) continue;
      await writeFile(path, damaged);
      const started = performance.now();
      try {
        const hasHoles = await openAndRead(path);
        counts.get(name)![hasHoles ? 'holes' : 'whole']++;
      } catch (error) {
        if (!(error instanceof UserError))
          throw new Error(`case ${i} of seed ${seed}, ${name}: ${error}`, { cause: error });
        if (!error.problem.includes(path))
          throw new Error(`case ${i} of seed ${seed}: "${error.message}" does not name ${path}`);
        counts.get(name)!.refused++;
      }
      const took = performance.now() - started;
      if (took > 5000) throw new Error(`case ${i} of seed ${seed}, ${name}: ${took} ms`);
      slowest = Math.max(slowest, took);
      most = Math.max(most, process.memoryUsage().rss);
    }
    if (process.env.LAMINA_FUZZ_CASES) {
      const rows = [...counts].map(
        ([name, { whole, holes, refused }]) => `| ${name} | ${whole} | ${holes} | ${refused} |`,
      );
      const rest = JSON.stringify({ cases, seed, slowestMs: Math.round(slowest), mostMB: Math.round(most / 1e6) });
      process.stderr.write(
        `| damaged | read whole | read with holes | refused |\n|---|---|---|---|\n${rows.join('\n')}\n${rest}\n`,
      );
    }
    expect(most).toBeLessThan(1e9);
    // Both must have happened, or the damage is not where it should be.
    const refused = [...counts.values()].reduce((sum, one) => sum + one.refused, 0);
    if (only === undefined) expect(Math.min(cases - refused, refused)).toBeGreaterThan(cases / 10);
  });
});

describe('made to do harm', () => {
  it('a deflated tile that would unpack to 300 MB is a hole', async () => {
    const path = join(folder, 'bomb.tif');
    await writeTiff(small, path, {
      tile: true,
      tileWidth: 64,
      tileHeight: 64,
      compression: 'deflate',
      predictor: 'none',
    });
    const bytes = await readFile(path);
    const bomb = deflateSync(Buffer.alloc(300_000_000), { level: 9 });
    // The first tile begins after the header; its length is no secret to the directory, so the bomb's beginning is enough.
    const tile = bytes.indexOf(Buffer.from([0x78]));
    bomb.copy(bytes, tile, 0, 8000);
    await writeFile(path, bytes);
    const slide = await openSlide(path);
    await slide.readRegion(0, 0, 0, 130, 100);
    expect(slide.unreadable.length).toBeGreaterThan(0);
    await slide.close();
  });

  it('a Deep Zoom tile of 256 million white pixels is a hole', async () => {
    const path = join(folder, 'bomb.dzi');
    await writeFile(path, '<Image Format="png" Overlap="0" TileSize="64"><Size Width="64" Height="64"/></Image>');
    await mkdir(join(folder, 'bomb_files/6'), { recursive: true });
    await sharp({ create: { width: 16_000, height: 16_000, channels: 3, background: '#fff' } })
      .png({ compressionLevel: 9 })
      .toFile(join(folder, 'bomb_files/6/0_0.png'));
    const slide = await openSlide(path);
    await expect(slide.readTile(0, 0, 0)).rejects.toMatchObject({ code: 'unreadable-tile' });
    await slide.close();
  });

  it('a list of 100,000 pages is refused', async () => {
    const path = join(folder, 'pages.tif');
    const page = Buffer.alloc(18);
    page.writeUInt16LE(1, 0);
    page.writeUInt16LE(256, 2);
    page.writeUInt16LE(4, 4);
    page.writeUInt32LE(1, 6);
    page.writeUInt32LE(10, 10);
    const pages = Array.from({ length: 100_000 }, (_, i) => {
      const copy = Buffer.from(page);
      copy.writeUInt32LE(8 + (i + 1) * 18, 14);
      return copy;
    });
    await writeFile(path, Buffer.concat([Buffer.from([0x49, 0x49, 42, 0, 8, 0, 0, 0]), ...pages]));
    const started = performance.now();
    await expect(openSlide(path)).rejects.toMatchObject({ code: 'damaged-slide' });
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
