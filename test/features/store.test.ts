import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BagMeta } from '../../src/features/bag.ts';
import {
  addScores,
  createBagWriter,
  type FeatureType,
  readBag,
  readBagHead,
  readBagRows,
} from '../../src/features/store.ts';
import { createRandom, normal } from '../../src/random.ts';

const meta: BagMeta = {
  slideId: 'slide-1',
  slideHash: 'sha256:00',
  mpp: 0.25,
  mppSource: 'file',
  patchMpp: 0.5,
  patchPx: 256,
  patchLevel0Px: 512,
  encoder: 'stain-texture@1',
  order: 'row-major',
  version: '0.1.0',
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-store-'));
});
afterAll(() => rm(folder, { recursive: true }));

interface Rows {
  features: Float32Array;
  coords: Int32Array;
}

function rows(seed: number, count: number, dimension: number): Rows {
  const random = createRandom(seed);
  return {
    features: Float32Array.from({ length: count * dimension }, () => normal(random)),
    coords: Int32Array.from({ length: count * 2 }, () => Math.floor(random() * 200_000)),
  };
}

/** Writes the rows in pieces that end at `cuts`. */
async function write(
  path: string,
  { features, coords }: Rows,
  dimension: number,
  dtype: FeatureType,
  cuts: number[] = [],
) {
  const writer = await createBagWriter(path, meta, { dimension, dtype });
  const ends = [...cuts.sort((a, b) => a - b), coords.length / 2];
  for (let i = 0, start = 0; i < ends.length; start = ends[i++]!) {
    const end = ends[i]!;
    await writer.append(features.subarray(start * dimension, end * dimension), coords.subarray(start * 2, end * 2));
  }
  await writer.finish();
}

describe('a bag file', () => {
  it('can be read while it is written: on disk or held, what was appended comes back as the file will give it', async () => {
    const path = join(folder, 'under-way.arrow');
    for (const dtype of ['f16', 'f32'] as const) {
      const given = rows(3, 2600, 3);
      const writer = await createBagWriter(path, meta, { dimension: 3, dtype });
      const seen: Float32Array[] = [];
      for (const [start, end] of [
        [0, 700],
        [700, 1100],
        [1100, 2600],
      ] as const) {
        await writer.append(given.features.subarray(start * 3, end * 3), given.coords.subarray(start * 2, end * 2));
        seen.push(await writer.read(0, end), await writer.read(end - 90, 60));
      }
      await writer.finish();
      const { features } = await readBag(path);
      const expected = [700, 1100, 2600].flatMap((end) => [
        features.subarray(0, end * 3),
        features.subarray((end - 90) * 3, (end - 30) * 3),
      ]);
      expect(seen).toEqual(expected);
    }
  });

  it('gives back the f32 rows it was given, in whatever pieces they came', async () => {
    const path = join(folder, 'f32.arrow');
    const bags = fc.record({
      seed: fc.nat(),
      count: fc.integer({ min: 0, max: 2500 }),
      dimension: fc.integer({ min: 1, max: 9 }),
    });
    await fc.assert(
      fc.asyncProperty(
        bags,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
        async (bag, cuts) => {
          const given = rows(bag.seed, bag.count, bag.dimension);
          await write(
            path,
            given,
            bag.dimension,
            'f32',
            cuts.map((cut) => Math.floor(cut * bag.count)),
          );
          const found = await readBag(path);
          expect(found.count).toBe(bag.count);
          expect(found.dimension).toBe(bag.dimension);
          expect(found.dtype).toBe('f32');
          expect(found.meta).toEqual(meta);
          expect(found.features).toEqual(given.features);
          expect(found.coords).toEqual(given.coords);
          expect(found.scores).toEqual({});
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps f16 rows within half a unit in the last place', async () => {
    const path = join(folder, 'f16.arrow');
    const given = rows(3, 1500, 7);
    given.features.forEach((value, i) => {
      given.features[i] = value * 10 ** ((i % 12) - 8);
    });
    await write(path, given, 7, 'f16');
    const { features, dtype } = await readBag(path);
    expect(dtype).toBe('f16');
    const error = given.features.map((value, i) => {
      const halfUlp = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), -14) - 11);
      return Math.abs(features[i]! - value) / halfUlp;
    });
    expect(Math.max(...error)).toBeLessThanOrEqual(1);
    expect(Math.max(...error)).toBeGreaterThan(0.5);
  });

  it('reads in pieces what it reads at once', async () => {
    const path = join(folder, 'pieces.arrow');
    await write(path, rows(4, 3000, 5), 5, 'f16');
    await addScores(path, { attention: rows(5, 3000, 1).features });
    const whole = await readBag(path);
    let count = 0;
    for await (const piece of readBagRows(path)) {
      const end = count + piece.count;
      expect(piece.first).toBe(count);
      expect(piece.features).toEqual(whole.features.slice(count * 5, end * 5));
      expect(piece.coords).toEqual(whole.coords!.slice(count * 2, end * 2));
      expect(piece.scores.attention).toEqual(whole.scores.attention!.slice(count, end));
      count = end;
    }
    expect(count).toBe(3000);
  });

  it('has bytes that depend on the rows alone', async () => {
    const given = rows(6, 2100, 3);
    await write(join(folder, 'a.arrow'), given, 3, 'f16');
    await write(join(folder, 'b.arrow'), given, 3, 'f16', [1, 64, 128, 1030, 2000]);
    expect(await readFile(join(folder, 'a.arrow'))).toEqual(await readFile(join(folder, 'b.arrow')));
  });

  it('may be empty', async () => {
    const path = join(folder, 'empty.arrow');
    await write(path, rows(1, 0, 4), 4, 'f16');
    await addScores(path, { attention: new Float32Array(0) });
    const bag = await readBag(path);
    expect([bag.count, bag.dimension, bag.features.length, bag.coords!.length]).toEqual([0, 4, 0, 0]);
    expect(bag.scores.attention).toEqual(new Float32Array(0));
  });

  it('may have no coordinates', async () => {
    const path = join(folder, 'no-coords.arrow');
    const writer = await createBagWriter(path, meta, { dimension: 2, dtype: 'f32', coords: false });
    await writer.append(Float32Array.of(1, 2, 3, 4), null);
    await writer.finish();
    const bag = await readBag(path);
    expect(bag.coords).toBeNull();
    expect(bag.features).toEqual(Float32Array.of(1, 2, 3, 4));
  });

  it('opens as a plain Arrow table', async () => {
    const path = join(folder, 'table.arrow');
    await write(path, { features: Float32Array.of(1, 2, 3, 4), coords: Int32Array.of(5, 6, 7, 8) }, 2, 'f32');
    const table = tableFromIPC(await readFile(path));
    expect(table.toArray().map((row) => [...row.features, row.x, row.y])).toEqual([
      [1, 2, 5, 6],
      [3, 4, 7, 8],
    ]);
  });

  it('leaves nothing behind when given up', async () => {
    const writer = await createBagWriter(join(folder, 'given-up.arrow'), meta, { dimension: 2, dtype: 'f32' });
    await writer.append(Float32Array.of(1, 2), Int32Array.of(0, 0));
    await writer.abort();
    expect((await readdir(folder)).filter((name) => name.startsWith('given-up'))).toEqual([]);
  });
});

describe('scores', () => {
  it('are added, kept and replaced by name; the rest stays', async () => {
    const path = join(folder, 'scores.arrow');
    const given = rows(8, 1300, 3);
    await write(path, given, 3, 'f32');
    const [a, b, c] = [1, 2, 3].map((seed) => rows(seed, 1300, 1).features) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    await addScores(path, { attention: a, attention_raw: b });
    await addScores(path, { attention: c });
    const bag = await readBag(path);
    expect(bag.scores).toEqual({ attention: c, attention_raw: b });
    expect(bag.features).toEqual(given.features);
    expect(bag.coords).toEqual(given.coords);
    expect(bag.meta).toEqual(meta);
  });

  it('of another bag are refused and the file stays', async () => {
    const path = join(folder, 'scores-of-another.arrow');
    await write(path, rows(8, 10, 3), 3, 'f32');
    await expect(addScores(path, { attention: new Float32Array(11) })).rejects.toMatchObject({
      code: 'score-mismatch',
    });
    expect((await readBag(path)).count).toBe(10);
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });
});

describe('a file that is no bag', () => {
  it.each([
    ['missing', 'no-bag', async () => {}],
    ['empty', 'bad-bag', (path: string) => writeFile(path, '')],
    ['foreign', 'bad-bag', (path: string) => writeFile(path, 'slide,label\n1,2\n'.repeat(20))],
  ])('%s: is refused with a sentence', async (name, code, make) => {
    const path = join(folder, `${name}.arrow`);
    await make(path);
    for (const read of [readBag, readBagHead, async (p: string) => await readBagRows(p).next()]) {
      await expect(read(path)).rejects.toMatchObject({ name: 'UserError', code });
    }
  });

  it('is refused wherever it was cut short', async () => {
    const path = join(folder, 'cut.arrow');
    await write(path, rows(9, 1100, 4), 4, 'f16');
    const { length } = await readFile(path);
    for (const keep of [0.999, 0.9, 0.5, 0.01]) {
      await truncate(path, Math.floor(length * keep));
      await expect(readBag(path)).rejects.toMatchObject({ code: 'bad-bag' });
    }
  });

  it('is refused when its footer is damaged', async () => {
    const path = join(folder, 'damaged.arrow');
    await write(path, rows(9, 100, 4), 4, 'f16');
    const bytes = await readFile(path);
    bytes.fill(0xaa, bytes.length - 300, bytes.length - 10);
    await writeFile(path, bytes);
    await expect(readBag(path)).rejects.toMatchObject({ code: 'bad-bag' });
  });
});

describe('a writer', () => {
  it('refuses a folder that is not there', async () => {
    const path = join(folder, 'nowhere', 'bag.arrow');
    await expect(createBagWriter(path, meta, { dimension: 1, dtype: 'f32' })).rejects.toMatchObject({
      code: 'cannot-write',
    });
  });

  it.each([
    ['f32', Number.NaN],
    ['f16', Number.POSITIVE_INFINITY],
    ['f16', 70_000],
  ] as const)('refuses in %s the feature %d', async (dtype, value) => {
    const writer = await createBagWriter(join(folder, 'bad.arrow'), meta, { dimension: 1, dtype });
    await expect(writer.append(Float32Array.of(0, value), new Int32Array(4))).rejects.toMatchObject({
      code: 'bad-features',
    });
    await writer.abort();
  });
});
