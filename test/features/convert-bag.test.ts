import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import h5wasm, { type Dataset, File, type Group } from 'h5wasm/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BagMeta, cellsOfBag } from '../../src/features/bag.ts';
import { convertBag, openAnyBag } from '../../src/features/convert-bag.ts';
import type { BagFacts } from '../../src/features/foreign-bag.ts';
import { addScores, createBagWriter, readBag, type StoredBag } from '../../src/features/store.ts';
import type { Hdf5Layout } from '../../src/features/tool-layouts.ts';
import { readTorch, toTorch } from '../../src/features/torch-file.ts';
import { createRandom, normal } from '../../src/random.ts';
import { storedZip } from '../mil/pickles.ts';
import { bigEndianBag, legacyTorch, lzfBag } from './foreign-files.ts';

const DATA = process.env.LAMINA_DATA ?? '../shared/data';
const REAL = join(DATA, 'features');

let folder = '';
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-convert-'));
  await h5wasm.ready;
});
afterAll(() => rm(folder, { recursive: true }));

const random = createRandom(5);
const COUNT = 1500;
const WIDTH = 24;
const features = Float32Array.from({ length: COUNT * WIDTH }, () => normal(random));
const coords = Int32Array.from({ length: COUNT * 2 }, () => Math.floor(random() * 150_000));

type Attributes = Record<string, string | number>;
interface Made {
  readonly root?: Attributes;
  readonly tables: Readonly<
    Record<
      string,
      {
        data: Float32Array | BigInt64Array | Int32Array | Float64Array | Int16Array | Uint16Array | Uint32Array;
        columns: number;
        shape?: number[];
        attributes?: Attributes;
      }
    >
  >;
}

/** A file as h5py writes it: contiguous data sets, attributes of one number or text. */
function makeHdf5(name: string, { root = {}, tables }: Made): string {
  const file = new File(at(name), 'w');
  const set = (on: File | Dataset, attributes: Attributes) => {
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === 'string') on.create_attribute(key, value);
      else on.create_attribute(key, new BigInt64Array([BigInt(value)]), []);
    }
  };
  set(file, root);
  for (const [path, { data, columns, shape = [data.length / columns, columns], attributes = {} }] of Object.entries(
    tables,
  )) {
    const parts = path.split('/');
    const parent: Group =
      parts.length > 1 ? ((file.get(parts[0]!) as Group | null) ?? file.create_group(parts[0]!)) : file;
    set(parent.create_dataset({ name: parts.at(-1)!, data, shape }), attributes);
  }
  file.close();
  return at(name);
}

const long = (places: Int32Array) => BigInt64Array.from(places, BigInt);

/** The layouts of the tools, each as its own writer makes it. */
const tools: Record<Hdf5Layout, Made> = {
  clam: {
    tables: {
      features: { data: features, columns: WIDTH },
      coords: {
        data: long(coords),
        columns: 2,
        attributes: { patch_size: 256, patch_level: 1, downsample: 2, name: 'slide-7', save_path: 'x' },
      },
    },
  },
  trident: {
    tables: {
      features: { data: features, columns: WIDTH, attributes: { name: 'slide-7', encoder: 'uni_v1' } },
      coords: {
        data: long(coords),
        columns: 2,
        attributes: {
          patch_size: 256,
          patch_size_level0: 512,
          level0_magnification: 40,
          target_magnification: 20,
          overlap: 0,
          name: 'slide-7',
        },
      },
    },
  },
  stamp: {
    root: {
      extractor: 'mahmood-uni',
      unit: 'um',
      tile_size_um: 256,
      tile_size_px: 224,
      stamp_version: '2.3.0',
      feat_type: 'tile',
    },
    tables: {
      feats: { data: features, columns: WIDTH },
      coords: { data: Float32Array.from(coords, (pixel) => pixel * 0.25), columns: 2 },
    },
  },
  atlaspatch: {
    root: { patch_size: 256, patch_size_level0: 512 },
    tables: {
      'features/resnet50': { data: features, columns: WIDTH },
      coords: {
        data: Int32Array.from({ length: COUNT * 5 }, (_, i) =>
          i % 5 < 2 ? coords[2 * Math.floor(i / 5) + (i % 5)]! : i % 5 < 4 ? 256 : 1,
        ),
        columns: 5,
      },
    },
  },
};

async function toArrow(from: string, facts: BagFacts = {}, name = `${Math.random()}.arrow`): Promise<StoredBag> {
  await convertBag(from, at(name), { facts, layout: 'clam', dtype: null });
  return await readBag(at(name));
}

describe('a bag of another tool', () => {
  const says: Record<Hdf5Layout, { facts: BagFacts; meta: Partial<BagMeta> }> = {
    clam: { facts: {}, meta: { slideId: 'slide-7', patchPx: 256, patchLevel0Px: 512, encoder: 'unknown', mpp: null } },
    trident: { facts: {}, meta: { slideId: 'slide-7', patchPx: 256, patchLevel0Px: 512, encoder: 'uni_v1' } },
    stamp: {
      facts: { mpp: 0.25 },
      meta: {
        encoder: 'mahmood-uni',
        patchPx: 224,
        patchMpp: 256 / 224,
        patchLevel0Px: 1024,
        mpp: 0.25,
        mppSource: 'flag',
      },
    },
    atlaspatch: {
      facts: { mpp: 0.25 },
      meta: { encoder: 'resnet50', patchPx: 256, patchLevel0Px: 512, patchMpp: 0.5 },
    },
  };

  it.each(Object.keys(tools) as Hdf5Layout[])('%s is read with its places in pixels of level 0', async (tool) => {
    const bag = await toArrow(makeHdf5(`${tool}.h5`, tools[tool]), says[tool].facts);
    expect(bag.meta).toMatchObject(says[tool].meta);
    expect(bag.meta).toMatchObject({ slideHash: null, order: 'unknown' });
    expect(bag.dtype).toBe('f32');
    expect(bag.features).toEqual(features);
    expect(bag.coords).toEqual(coords);
  });

  it('goes to Arrow and back to CLAM without a bit changed', async () => {
    await toArrow(makeHdf5('first.h5', tools.clam), {}, 'between.arrow');
    await convertBag(at('between.arrow'), at('second.h5'), { facts: {}, layout: 'clam', dtype: null });
    const [first, second] = ['first.h5', 'second.h5'].map((name) => {
      const file = new File(at(name), 'r');
      const [values, places] = ['features', 'coords'].map((table) => file.get(table) as Dataset);
      const all = { features: values!.value, type: values!.dtype, coords: places!.value, coordsType: places!.dtype };
      file.close();
      return all;
    });
    expect(second).toEqual(first);
  });

  it.each(['clam', 'trident', 'stamp', 'atlaspatch'] as const)(
    'is written as %s and comes back whole',
    async (layout) => {
      const meta = (await toArrow(makeHdf5('t.h5', tools.trident), { mpp: 0.25 }, 'ours.arrow')).meta;
      await convertBag(at('ours.arrow'), at(`ours-${layout}.h5`), { facts: {}, layout, dtype: null });
      const back = await toArrow(at(`ours-${layout}.h5`));
      expect(back.meta).toEqual(meta);
      expect(back.features).toEqual(features);
      expect(back.coords).toEqual(coords);
    },
  );

  it('keeps the halves that STAMP writes', async () => {
    await toArrow(makeHdf5('wide.h5', tools.clam), {}, 'wide.arrow');
    await convertBag(at('wide.arrow'), at('half.arrow'), { facts: {}, layout: 'clam', dtype: 'f16' });
    const half = await readBag(at('half.arrow'));
    expect(half.dtype).toBe('f16');
    await convertBag(at('half.arrow'), at('again.arrow'), { facts: {}, layout: 'clam', dtype: null });
    expect(await readFile(at('again.arrow'))).toEqual(await readFile(at('half.arrow')));
  });

  it('as PyTorch has a tensor and no places', async () => {
    await writeFile(at('clam.pt'), toTorch({ shape: [COUNT, WIDTH], data: features }));
    const bag = await toArrow(at('clam.pt'), { encoder: 'resnet50@x' });
    expect(bag.features).toEqual(features);
    expect(bag.coords).toBe(null);
    expect(bag.meta).toMatchObject({ slideId: 'clam', encoder: 'resnet50@x', patchLevel0Px: null });
    await convertBag(at('clam.pt'), at('clam-2.pt'), { facts: {}, layout: 'clam', dtype: null });
    expect(readTorch(await readFile(at('clam-2.pt')), 'clam-2.pt')).toEqual({ shape: [COUNT, WIDTH], data: features });
  });

  it('as PyTorch has a dictionary of features and places', async () => {
    const dictionary = new Map([
      ['features', { shape: [COUNT, WIDTH], data: features }],
      ['coords', { shape: [COUNT, 2], data: Float32Array.from(coords) }],
    ]);
    await writeFile(at('dictionary.pt'), toTorch(dictionary));
    expect((await toArrow(at('dictionary.pt'))).coords).toEqual(coords);
  });

  /** Places of TRIDENT: the overlap begins with the second patch. */
  const overlapping = (side: number, stride: number, across: number) =>
    Int32Array.from({ length: 2 * across * across }, (_, i) => {
      const step = i % 2 === 0 ? Math.floor(i / 2 / across) : Math.floor(i / 2) % across;
      return step === 0 ? 0 : side + (step - 1) * stride;
    });

  it.each([
    ['trident', 512, 256, 64, 384],
    ['trident', 487, 256, 32, 426],
    ['atlaspatch', 512, 256, 64, 384],
  ] as const)('%s with an overlap has each patch in a cell of its own', async (tool, side, px, overlap, stride) => {
    const places = overlapping(side, stride, 12);
    const said = { patch_size: px, patch_size_level0: side, overlap };
    const table = { data: features.subarray(0, (places.length / 2) * WIDTH), columns: WIDTH };
    const five = Int32Array.from({ length: (places.length / 2) * 5 }, (_, i) =>
      i % 5 < 2 ? places[2 * Math.floor(i / 5) + (i % 5)]! : 0,
    );
    const made: Made =
      tool === 'trident'
        ? { tables: { features: table, coords: { data: long(places), columns: 2, attributes: said } } }
        : { root: said, tables: { 'features/uni': table, coords: { data: five, columns: 5 } } };
    const bag = await toArrow(makeHdf5('overlap.h5', made));
    expect(bag.meta).toMatchObject({ patchLevel0Px: side, strideLevel0Px: stride });
    const cells = cellsOfBag(bag)!;
    expect(new Set(Array.from({ length: bag.count }, (_, i) => `${cells[2 * i]},${cells[2 * i + 1]}`)).size).toBe(144);
  });

  it('of STAMP 2.0, which says micrometres alone, has a side on the slide', async () => {
    const { feats, coords: places } = tools.stamp.tables;
    const root = { extractor: 'ctranspath-1a2b', unit: 'um', tile_size: 256 };
    const path = makeHdf5('stamp-2.0.h5', { root, tables: { feats: feats!, coords: places! } });
    const bag = await toArrow(path, { mpp: 0.25 });
    expect(bag.meta).toMatchObject({ patchPx: null, patchMpp: null, patchLevel0Px: 1024 });
    expect(bag.coords).toEqual(coords);
    expect((await toArrow(path, { mpp: 0.25, patchPx: 224 })).meta.patchMpp).toBe(256 / 224);
  });

  it('of the first STAMP, whose places have no unit, waits for what 224 are', async () => {
    const grid = Int32Array.from(
      { length: 2 * 100 },
      (_, i) => 224 * (i % 2 === 0 ? Math.floor(i / 20) : ((i / 2) % 10) | 0),
    );
    const feats = { data: features.subarray(0, 100 * WIDTH), columns: WIDTH };
    const tables = { feats, coords: { data: grid, columns: 2 } };
    const path = makeHdf5('stamp-1.h5', { tables, root: { extractor: 'ctranspath' } });
    await expect(toArrow(path)).rejects.toMatchObject({
      code: 'unknown-unit',
      message: expect.stringMatching(/stamp-1\.h5: .*no unit.*224 apart.*STAMP before 2\.0.*--patch-level0.*1024/),
    });
    await expect(toArrow(path, { mpp: 0.25 })).rejects.toMatchObject({ code: 'unknown-unit' });
    const bag = await toArrow(path, { mpp: 0.25, patchLevel0Px: 1024 });
    expect(bag.meta).toMatchObject({
      encoder: 'ctranspath',
      ...{ patchPx: 224, patchMpp: 256 / 224, patchLevel0Px: 1024 },
    });
    expect(bag.coords).toEqual(grid.map((place) => (place / 224) * 1024));
    expect((await toArrow(path, { patchLevel0Px: 224 })).coords).toEqual(grid);
    // Who says what a patch is in pixels has places in pixels.
    const attributes = { patch_size: 224, patch_level: 0, downsample: 1 };
    const said = makeHdf5('said.h5', { tables: { feats, coords: { data: grid, columns: 2, attributes } } });
    expect((await toArrow(said)).coords).toEqual(grid);
    // And what does not name its extractor is not STAMP's.
    expect((await toArrow(makeHdf5('plain.h5', { tables }))).coords).toEqual(grid);
  });

  it.each([
    ['u16', Uint16Array],
    ['u32', Uint32Array],
    ['i16', Int16Array],
  ] as const)('may have its places in %s', async (_, make) => {
    const small = coords.map((place) => place % 32_000);
    const table = { data: make.from(small), columns: 2 };
    const path = makeHdf5('places.h5', { tables: { features: { data: features, columns: WIDTH }, coords: table } });
    expect((await toArrow(path)).coords).toEqual(small);
  });

  it.each([
    ['1 x N x D', [1, COUNT, WIDTH]],
    ['N x 1 x D', [COUNT, 1, WIDTH]],
  ])('may have a shape of %s', async (_, shape) => {
    const path = makeHdf5('deep.h5', { tables: { features: { data: features, columns: WIDTH, shape } } });
    expect((await toArrow(path)).features).toEqual(features);
    await writeFile(at('deep.pt'), toTorch({ shape, data: features }));
    expect((await toArrow(at('deep.pt'))).features).toEqual(features);
  });

  it('may be big-endian', async () => {
    await writeFile(at('big.h5'), bigEndianBag);
    const bag = await toArrow(at('big.h5'));
    expect(bag.features).toEqual(Float32Array.from({ length: 12 }, (_, i) => i / 8));
    expect(bag.coords).toEqual(Int32Array.of(0, 256, 512, 70_000, -3, 1, 5, 6));
  });

  it('of several encoders waits for a choice', async () => {
    const { root, tables } = tools.atlaspatch;
    makeHdf5('two.h5', { root: root!, tables: { ...tables, 'features/uni': tables['features/resnet50']! } });
    await expect(toArrow(at('two.h5'))).rejects.toThrow(/two\.h5: it has the features resnet50, uni\. .*--features/);
    expect((await toArrow(at('two.h5'), { features: 'uni' })).meta.encoder).toBe('uni');
    await expect(toArrow(at('two.h5'), { features: 'ctp' })).rejects.toThrow(/not ctp/);
  });

  it('in micrometres needs the scale', async () => {
    await expect(toArrow(makeHdf5('um.h5', tools.stamp))).rejects.toThrow(
      /um\.h5: its places are in micrometres.*--mpp/,
    );
  });
});

describe('a bag of ours', () => {
  const meta: BagMeta = {
    slideId: 'slide-7',
    slideHash: 'sha256:0',
    mpp: 0.25,
    mppSource: 'file',
    patchMpp: 0.475,
    patchPx: 256,
    patchLevel0Px: 486.4,
    strideLevel0Px: 364.8,
    encoder: 'uni@1a2b',
    order: 'row-major',
    version: '0.1.0',
  };

  async function ours(name: string, changed: Partial<BagMeta> = {}, placed = true): Promise<string> {
    const options = { dimension: WIDTH, dtype: 'f32', coords: placed } as const;
    const writer = await createBagWriter(at(name), { ...meta, ...changed }, options);
    await writer.append(features, placed ? coords : null);
    await writer.finish();
    return at(name);
  }

  /** Attributes of the file and of its places. */
  async function saidBy(from: string, layout: Hdf5Layout, facts: BagFacts = {}) {
    await convertBag(from, at('said.h5'), { facts, layout, dtype: null });
    const file = new File(at('said.h5'), 'r');
    const plain = (of: File | Dataset) =>
      Object.fromEntries(
        Object.entries(of.attrs)
          .filter(([name]) => name !== 'lamina_bag')
          .map(([name, { value }]) => [name, typeof value === 'bigint' ? Number(value) : value]),
      );
    const said = { root: plain(file), coords: plain(file.get('coords') as Dataset) };
    file.close();
    return said;
  }

  it('says what each tool asks of a file, in whole numbers where it counts with whole numbers', async () => {
    const path = await ours('grid.arrow');
    // 364.8 of 486.4 px on the slide: 192 of 256 as the encoder saw them.
    const grid = { patch_size: 256, patch_size_level0: 486, overlap: 64 };
    const scale = { level0_magnification: 40, target_magnification: 20 };
    expect(await saidBy(path, 'clam')).toEqual({
      root: {},
      coords: { patch_size: 486, patch_level: 0, downsample: 1, name: 'slide-7' },
    });
    expect(await saidBy(path, 'trident')).toEqual({ root: {}, coords: { ...grid, ...scale, name: 'slide-7' } });
    expect(await saidBy(path, 'atlaspatch')).toEqual({
      root: { ...grid, ...scale, num_patches: COUNT },
      coords: {},
    });
    const { root } = await saidBy(path, 'stamp');
    expect(root).toMatchObject({ extractor: 'uni@1a2b', unit: 'um', tile_size_px: 256, feat_type: 'tile' });
    expect(root.tile_size_um).toBeCloseTo(486.4 * 0.25, 9);
  });

  it('says of an overlap only what it knows', async () => {
    const without = await ours('side-by-side.arrow', { strideLevel0Px: undefined });
    expect((await saidBy(without, 'trident')).coords.overlap).toBe(0);
    const unknown = await ours('no-px.arrow', { patchPx: null });
    expect((await saidBy(unknown, 'trident')).coords).not.toHaveProperty('overlap');
  });

  it('says its side in micrometres to STAMP by the side on the slide', async () => {
    const path = await ours('no-px.arrow', { patchPx: null, patchMpp: null, patchLevel0Px: 512 });
    expect((await saidBy(path, 'stamp')).root.tile_size_um).toBe(128);
  });

  it.each<[string, Hdf5Layout, Partial<BagMeta>, boolean, string, RegExp]>([
    ['a scale', 'atlaspatch', { mpp: null }, true, 'no-mpp', /the magnification.*slide-7.*--mpp/],
    ['a scale', 'stamp', { mpp: null }, true, 'no-mpp', /micrometres.*slide-7.*--mpp/],
    ['a size', 'atlaspatch', { patchPx: null }, true, 'no-patch-size', /slide-7.*--patch-size/],
    ['a size', 'stamp', { patchLevel0Px: null, patchMpp: null }, true, 'no-patch-size', /slide-7.*--patch-level0/],
    ['places', 'trident', {}, false, 'no-coords', /TRIDENT wants the places.*--layout clam/],
    ['places', 'stamp', {}, false, 'no-coords', /STAMP wants the places.*--layout clam/],
    ['places', 'atlaspatch', {}, false, 'no-coords', /AtlasPatch wants the places.*--layout clam/],
  ])('without %s is not written as %s would refuse it', async (_, layout, changed, placed, code, sentence) => {
    const path = await ours('lacking.arrow', changed, placed);
    const written = convertBag(path, at('refused.h5'), { facts: {}, layout, dtype: null });
    await expect(written).rejects.toMatchObject({ code, message: expect.stringMatching(sentence) });
    await expect(written).rejects.toThrow('refused.h5: ');
    expect(existsSync(at('refused.h5'))).toBe(false);
  });

  it('may be told what it lacks', async () => {
    const path = await ours('lacking.arrow', { mpp: null, patchMpp: null, patchLevel0Px: 512, patchPx: 256 });
    const { root } = await saidBy(path, 'atlaspatch', { mpp: 0.25 });
    expect(root).toMatchObject({ level0_magnification: 40, target_magnification: 20 });
  });

  it.each(['clam', 'trident', 'stamp', 'atlaspatch'] as const)(
    'comes back from %s with all it said',
    async (layout) => {
      await convertBag(await ours('whole.arrow'), at(`back-${layout}.h5`), { facts: {}, layout, dtype: null });
      const back = await toArrow(at(`back-${layout}.h5`));
      expect(back.meta).toEqual(meta);
      expect(back.coords).toEqual(coords);
    },
  );

  it('keeps its scores from Arrow to Arrow', async () => {
    const path = await ours('scored.arrow');
    const scores = {
      attention: Float32Array.from({ length: COUNT }, () => random()),
      attention_raw: Float32Array.from({ length: COUNT }, () => normal(random)),
    };
    await addScores(path, scores);
    const bag = await toArrow(path);
    expect(bag.scores).toEqual(scores);
    expect(bag.features).toEqual(features);
  });
});

describe.skipIf(!existsSync(REAL))(
  `real feature files${existsSync(REAL) ? '' : ` (skipped: ${REAL} is missing)`}`,
  () => {
    it('are read, and go to Arrow and back without a bit changed', async () => {
      const names = (await readdir(REAL, { recursive: true })).filter((name) => name.endsWith('.h5'));
      expect(names.length).toBeGreaterThan(0);
      for (const name of names) {
        const path = join(REAL, name);
        const file = new File(path, 'r');
        const table = (file.get('feats') ?? file.get('features')) as Dataset;
        const [values, places] = [table.value as Float32Array, (file.get('coords') as Dataset).value as BigInt64Array];
        const [rows, columns] = table.shape!;
        const sides = (await readdir(join(path, '..'))).filter((tile) => tile.startsWith('Tile_'));
        file.close();

        const bag = await toArrow(path, { patchLevel0Px: 512 }, 'real.arrow');
        expect([bag.count, bag.dimension]).toEqual([rows, columns]);
        await convertBag(at('real.arrow'), at('real.h5'), { facts: {}, layout: 'clam', dtype: null });
        const again = new File(at('real.h5'), 'r');
        expect((again.get('features') as Dataset).value).toEqual(values);
        expect((again.get('coords') as Dataset).value).toEqual(places);
        again.close();
        // The tiles beside the file are named by the places of theirs.
        const all = new Set(
          Array.from({ length: bag.count }, (_, i) => `${bag.coords![2 * i]},${bag.coords![2 * i + 1]}`),
        );
        for (const tile of sides) expect(all.has(/\((.*)\)/.exec(tile)![1]!)).toBe(true);
      }
    });
  },
);

describe('a bad bag is refused by name', () => {
  const table = (data: Float32Array | BigInt64Array | Int32Array | Float64Array, columns: number) => ({
    data,
    columns,
  });
  const good = { features: table(features, WIDTH) };

  it.each<[string, Made, RegExp]>([
    ['integers for features', { tables: { features: table(long(coords), 2) } }, /\/features holds integers/],
    ['nothing known', { tables: { x: table(features, WIDTH) } }, /no features or feats, only x/],
    [
      'one column of places',
      {
        tables: {
          ...good,
          coords: table(
            Int32Array.from({ length: COUNT }, () => 1),
            1,
          ),
        },
      },
      /1 column, not x and y/,
    ],
    [
      'fewer places than patches',
      { tables: { ...good, coords: table(coords.slice(2), 2) } },
      /1499 places for 1500 patches/,
    ],
    [
      'broken pixels',
      {
        tables: {
          ...good,
          coords: table(
            Float32Array.from(coords, (c) => c + 0.5),
            2,
          ),
        },
      },
      /no whole pixel.*micrometres/,
    ],
    [
      'places beyond any slide',
      { tables: { ...good, coords: table(long(coords).fill(2n ** 40n), 2) } },
      /lies at 1099511627776/,
    ],
    [
      'an unknown unit',
      {
        root: { unit: 'inch', stamp_version: '1' },
        tables: { feats: table(features, WIDTH), coords: table(coords, 2) },
      },
      /the unit inch/,
    ],
  ])('%s', async (name, made, sentence) => {
    const path = makeHdf5(`bad ${name}.h5`, made);
    await expect(toArrow(path)).rejects.toMatchObject({ message: expect.stringMatching(sentence) });
    await expect(toArrow(path)).rejects.toThrow(`bad ${name}.h5: `);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%s among the features, and which', async (value) => {
    const spoiled = features.slice();
    spoiled[1200 * WIDTH + 3] = value;
    const path = makeHdf5('nan.h5', { tables: { features: table(spoiled, WIDTH) } });
    await expect(toArrow(path, {}, 'never.arrow')).rejects.toThrow(
      /nan\.h5: .*feature 3 of patch 1200 is (NaN|Infinity)/,
    );
    expect((await readdir(folder)).filter((name) => name.startsWith('never'))).toEqual([]);
  });

  it('a link to another file is not followed', async () => {
    const secret = makeHdf5('secret.h5', { tables: good });
    const file = new File(at('link.h5'), 'w');
    file.create_external_link(secret, 'features', 'features');
    file.close();
    await expect(toArrow(at('link.h5'))).rejects.toThrow(/link\.h5: .*no data set of this file/);
  });

  it('cut at any length: a sentence, or the part that is whole', async () => {
    const path = makeHdf5('whole.h5', tools.clam);
    const { size } = await stat(path);
    for (let i = 0; i < 12; i++) {
      await copyFile(path, at('cut.h5'));
      await truncate(at('cut.h5'), Math.floor((size * i) / 12));
      await expect(toArrow(at('cut.h5'))).rejects.toThrow(/cut\.h5: not a readable bag, .*\./);
    }
  });

  it('damaged in any byte: a sentence or a bag, never a fault', async () => {
    const bytes = await readFile(makeHdf5('sound.h5', tools.trident));
    const chance = createRandom(11);
    for (let i = 0; i < 25; i++) {
      const damaged = Buffer.from(bytes);
      // The first 4 kB hold the structure.
      for (let n = 0; n < 4; n++) damaged[Math.floor(chance() * 4096)] = Math.floor(chance() * 256);
      await writeFile(at('damaged.h5'), damaged);
      await toArrow(at('damaged.h5'), {}, 'damaged.arrow').catch((error) => {
        expect(error).toMatchObject({ name: 'UserError', message: expect.stringContaining('damaged.h5') });
      });
    }
  });

  it.each([
    ['nothing', Buffer.alloc(0), /the file is empty/],
    ['a picture', Buffer.from('\x89PNG\r\n\x1a\n'), /neither Arrow, HDF5 nor a PyTorch file/],
    ['an HDF5 head alone', Buffer.from('\x89HDF\r\n\x1a\n', 'latin1'), /not a readable bag/],
  ])('%s', async (_, bytes, sentence) => {
    await writeFile(at('what.h5'), bytes);
    await expect(toArrow(at('what.h5'))).rejects.toThrow(sentence);
  });

  it('a filter that is not known here, with what to do', async () => {
    await writeFile(at('lzf.h5'), lzfBag);
    await expect(toArrow(at('lzf.h5'))).rejects.toThrow(/lzf\.h5: .*packed with lzf.*h5repack -f GZIP=4/);
  });

  it('a file of PyTorch before 1.6, by its age', async () => {
    await writeFile(at('legacy.pt'), legacyTorch);
    await expect(toArrow(at('legacy.pt'))).rejects.toThrow(
      /legacy\.pt: it was saved by PyTorch before 1\.6.*save it again/,
    );
  });

  it('a pickle that wants to run something', async () => {
    const pickle = Buffer.from('\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.', 'latin1');
    await writeFile(at('bomb.pt'), storedZip({ 'x/data.pkl': pickle }));
    await expect(toArrow(at('bomb.pt'))).rejects.toThrow(/bomb\.pt: it wants to run "posix system"/);
  });

  it('a pickle of one tensor repeated without end', async () => {
    const tensor = toTorch({ shape: [2, 2], data: new Float32Array(4) });
    const text = Buffer.from(tensor).toString('latin1');
    // The count 2 of the rows, eight bytes long: 2 ** 40 rows of four numbers.
    const huge = text.replace('(\x8a\x08\x02\0\0\0\0\0\0\0', '(\x8a\x08\0\0\0\0\0\x01\0\0');
    expect(huge).not.toBe(text);
    await writeFile(at('huge.pt'), Buffer.from(huge, 'latin1'));
    await expect(toArrow(at('huge.pt'))).rejects.toThrow(/huge\.pt: .*larger than its data/);
  });

  it('a bag without features', async () => {
    const { meta } = await toArrow(makeHdf5('some.h5', tools.clam));
    const writer = await createBagWriter(at('places.arrow'), meta, { dimension: 0, dtype: 'f32' });
    await writer.append(new Float32Array(0), coords);
    await writer.finish();
    const places = await openAnyBag(at('places.arrow'), {});
    expect([places.count, places.dimension, places.placed]).toEqual([COUNT, 0, true]);
    const to = { facts: {}, layout: 'clam', dtype: null } as const;
    await expect(convertBag(at('places.arrow'), at('x.h5'), to)).rejects.toThrow(/features were not kept/);
  });
});
