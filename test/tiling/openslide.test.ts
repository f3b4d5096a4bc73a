/** Slides through libopenslide, against our own reading of the same file. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openByteSource } from '../../src/tiling/byte-source.ts';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { isOpenSlideInstalled, openWithOpenSlide } from '../../src/tiling/openslide.ts';
import { dataFolder, meanDifference, temporaryFolder } from './pictures.ts';

const svs = join(dataFolder, 'slides/CMU-1-Small-Region.svs');
const folder = await temporaryFolder();

describe.skipIf(!isOpenSlideInstalled() || !existsSync(svs))(
  `libopenslide (skipped if it or ${svs} is missing)`,
  () => {
    it('gives the same slide: levels, scale, pixels over the edge, label', async () => {
      const [theirs, ours] = await Promise.all([
        openByteSource(svs).then((source) => openWithOpenSlide(source, {}, '')),
        openSlide(svs),
      ]);
      expect(theirs).toMatchObject({ format: 'openslide', vendor: 'aperio', scale: ours.scale, objectivePower: 20 });
      expect(theirs.levels.map(({ width, height }) => [width, height])).toEqual(
        ours.levels.map(({ width, height }) => [width, height]),
      );
      for (const [x, y] of [
        [1500, 1300],
        [2100, 2850],
      ] as const) {
        const regions = await Promise.all([theirs, ours].map((slide) => slide.readRegion(x, y, 0, 300, 300)));
        expect(meanDifference(regions[0]!.data, regions[1]!.data)).toBeLessThan(0.5);
      }
      const labels = await Promise.all([theirs, ours].map((slide) => slide.readAssociated('label')));
      expect(labels[0]).toEqual(labels[1]);
      await Promise.all([theirs.close(), ours.close()]);
    });
  },
);

describe('a slide of another scanner that nobody can read', () => {
  it('is refused with what to install, or with what the library says', async () => {
    const path = join(folder, 'a.mrxs');
    await writeFile(path, Buffer.from('ffd8ffe0', 'hex'));
    const error = await openSlide(path).catch((caught) => caught);
    expect(error.code).toBe(isOpenSlideInstalled() ? 'damaged-slide' : 'needs-openslide');
    expect(error.message).toContain(path);
    if (error.code === 'needs-openslide') expect(error.hint).toMatch(/^Install it: apt install/);
  });
});
