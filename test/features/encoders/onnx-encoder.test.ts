import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Encoder, PatchBatch } from '../../../src/features/encoder.ts';
import { openOnnxEncoder } from '../../../src/features/encoders/onnx-encoder.ts';
import { defaultRecipe, type Recipe } from '../../../src/features/encoders/recipe.ts';
import {
  allLast,
  channelMeans,
  channelMeansLast,
  embedding,
  featureMap,
  featureMapLast,
  flatInput,
  networkFolder,
  overflowing,
  quantisedMap,
  REGISTERS,
  SIDE,
  SQUARE,
  TOKENS,
  tokens,
  WIDTH,
} from './tiny-networks.ts';

const { folder, write } = await networkFolder();
const recipe: Recipe = {
  ...defaultRecipe,
  size: SIDE,
  resize: SIDE,
  patchPx: SIDE,
  mean: [0.7, 0.5, 0.6],
  std: [0.2, 0.25, 0.3],
};

const opened: Encoder[] = [];
afterEach(() => Promise.all(opened.splice(0).map((encoder) => encoder.close())));

async function open(path: string, changed: Partial<Recipe> = {}, dimension: number | null = null): Promise<Encoder> {
  const given = { name: 'tiny', path, recipe: { ...recipe, ...changed }, dimension, threads: 1 };
  const encoder = await openOnnxEncoder(given);
  opened.push(encoder);
  return encoder;
}

function batchOf(count: number, size = SIDE): PatchBatch {
  const pixels = Uint8Array.from({ length: count * size * size * 3 }, (_, i) => (i * 7919 + (i >> 8) * 31) % 256);
  return { pixels, count, size };
}

const normalised = (byte: number, channel: number) => (byte / 255 - recipe.mean[channel]!) / recipe.std[channel]!;

function meansOf({ pixels, count, size }: PatchBatch): number[] {
  const means = new Array<number>(3 * count).fill(0);
  for (const [i, byte] of pixels.entries()) {
    means[Math.floor(i / (3 * size * size)) * 3 + (i % 3)]! += normalised(byte, i % 3) / (size * size);
  }
  return means;
}

/** The embedding of each square of the picture: TOKENS rows of WIDTH. */
function squaresOf({ pixels }: PatchBatch, picture: number, weights: ArrayLike<number> = embedding): number[][] {
  const across = SIDE / SQUARE;
  return Array.from({ length: TOKENS }, (_, square) =>
    Array.from({ length: WIDTH }, (_, k) => {
      let sum = 0;
      for (let channel = 0; channel < 3; channel++) {
        for (let y = 0; y < SQUARE; y++) {
          for (let x = 0; x < SQUARE; x++) {
            const row = Math.floor(square / across) * SQUARE + y;
            const column = (square % across) * SQUARE + x;
            const byte = pixels[((picture * SIDE + row) * SIDE + column) * 3 + channel]!;
            sum += weights[((k * 3 + channel) * SQUARE + y) * SQUARE + x]! * normalised(byte, channel);
          }
        }
      }
      return sum;
    }),
  );
}

const meanOfRows = (rows: number[][]) =>
  rows[0]!.map((_, k) => rows.reduce((sum, row) => sum + row[k]!, 0) / rows.length);

function expectClose(found: ArrayLike<number>, wanted: readonly number[], tolerance: number): void {
  expect(found.length).toBe(wanted.length);
  for (const [i, value] of wanted.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(tolerance);
}

describe('an ONNX encoder', () => {
  it('normalises, whatever the layout and the type of its input', async () => {
    const cases = [
      [channelMeans(), 1e-5],
      [channelMeansLast(), 1e-5],
      [channelMeans('float16'), 5e-3],
    ] as const;
    for (const [i, [graph, tolerance]] of cases.entries()) {
      const encoder = await open(await write(`layout-${i}.onnx`, graph));
      expect(encoder.dimension).toBe(3);
      for (const count of [1, 5, 2]) {
        expectClose(await encoder.encode(batchOf(count)), meansOf(batchOf(count)), tolerance);
      }
      expect(await encoder.encode(batchOf(0))).toHaveLength(0);
    }
  });

  it('gives raw bytes to a network that takes bytes', async () => {
    const encoder = await open(await write('bytes.onnx', channelMeansLast('uint8')));
    const batch = batchOf(2);
    const raw = meansOf(batch).map((mean, i) => 255 * (mean * recipe.std[i % 3]! + recipe.mean[i % 3]!));
    expectClose(await encoder.encode(batch), raw, 1e-2);
  });

  it('fills up the batches of a network that takes no other', async () => {
    const encoder = await open(await write('four.onnx', channelMeans('float32', 4)));
    for (const count of [4, 1, 6]) {
      expectClose(await encoder.encode(batchOf(count)), meansOf(batchOf(count)), 1e-5);
    }
  });

  it('runs a batch in parts that would not fit into memory', async () => {
    const side = 1024;
    const graph = {
      ...channelMeans(),
      inputs: [{ name: 'pixels', type: 'float32', shape: ['n', 3, 'h', 'w'] }],
    } as const;
    const encoder = await open(await write('wide.onnx', graph), { size: side, resize: side, patchPx: side });
    // A grey of its own for each patch, 0.13 and more from the next; the mean over a million pixels is one of single precision.
    const greys = Array.from({ length: 25 }, (_, i) => 10 * i);
    const pixels = new Uint8Array(greys.length * 3 * side * side);
    for (const [i, grey] of greys.entries()) pixels.fill(grey, i * 3 * side * side, (i + 1) * 3 * side * side);
    const found = await encoder.encode({ pixels, count: greys.length, size: side });
    expectClose(
      found,
      greys.flatMap((grey) => [0, 1, 2].map((channel) => normalised(grey, channel))),
      0.02,
    );
  });

  it('makes of tokens what the rule says, without the registers', async () => {
    const path = await write('tokens.onnx', tokens);
    const batch = batchOf(3);
    const squares = [0, 1, 2].map((picture) => squaresOf(batch, picture));
    const classTokens = squares.map((rows) => rows[0]!.map((value) => 2 * value));
    const means = squares.map(meanOfRows);
    const skip = 1 + REGISTERS;
    const wanted = {
      cls: classTokens.flat(),
      mean: means.flat(),
      'cls+mean': classTokens.flatMap((token, i) => [...token, ...means[i]!]),
    };
    const ids = new Set<string>();
    for (const pool of ['cls', 'mean', 'cls+mean'] as const) {
      const encoder = await open(path, { tokens: { pool, skip } });
      expectClose(await encoder.encode(batch), wanted[pool], 1e-4);
      ids.add(encoder.id);
    }
    const withRegisters = await open(path, { tokens: { pool: 'mean', skip: 1 } });
    expect((await withRegisters.encode(batch))[0]).toBeGreaterThan(50);
    ids.add(withRegisters.id);
    // The same weights made into other features are another encoder.
    expect(ids.size).toBe(4);
    await expect(open(path, { tokens: { pool: 'mean', skip: 99 } })).rejects.toMatchObject({ code: 'encoder-output' });
  });

  it('takes the output that is asked for, and the mean over a map of features', async () => {
    const batch = batchOf(2);
    const squares = [squaresOf(batch, 0), squaresOf(batch, 1)];
    const map = await open(await write('map.onnx', featureMap));
    expectClose(await map.encode(batch), squares.flatMap(meanOfRows), 1e-4);
    const last = await open(await write('all-last.onnx', allLast));
    expectClose(await last.encode(batch), squares.flatMap(meanOfRows), 1e-4);
    const said = await open(await write('map-last.onnx', featureMapLast), { map: 'nhwc' });
    expectClose(await said.encode(batch), squares.flatMap(meanOfRows), 1e-4);
    expect((await open(join(folder, 'map-last.onnx'))).id).not.toBe(said.id);
    const pooled = await open(join(folder, 'tokens.onnx'), { output: 'pooler_output' });
    const most = squares.flatMap((rows) => rows[0]!.map((_, k) => Math.max(...rows.map((row) => row[k]!))));
    expectClose(await pooled.encode(batch), most, 1e-4);
    await expect(open(join(folder, 'tokens.onnx'), { output: 'logits' })).rejects.toMatchObject({
      code: 'encoder-output',
      message: expect.stringContaining('pooler_output'),
    });
  });

  it('runs weights in 8 bits', async () => {
    const { graph, scale } = quantisedMap();
    const encoder = await open(await write('int8.onnx', graph));
    const weights = embedding.map((value) => Math.round(value / scale) * scale);
    const batch = batchOf(2);
    expectClose(
      await encoder.encode(batch),
      [0, 1].flatMap((i) => meanOfRows(squaresOf(batch, i, weights))),
      1e-4,
    );
  });

  it('takes weights from files beside it, and has another id for other weights', async () => {
    const inside = await open(await write('inside.onnx', featureMap));
    const path = await write('outside.onnx', featureMap, 'outside.onnx.data');
    const outside = await open(path);
    const batch = batchOf(2);
    expect(await outside.encode(batch)).toEqual(await inside.encode(batch));
    const data = await readFile(`${path}.data`);
    data.writeFloatLE(1, 0);
    await writeFile(`${path}.data`, data);
    expect((await open(path)).id).not.toBe(outside.id);
    expect((await open(join(folder, 'inside.onnx'))).id).toBe(inside.id);
  });

  it('resizes patches of another size', async () => {
    const encoder = await open(await write('resized.onnx', channelMeans()));
    const batch = batchOf(3, 2 * SIDE);
    // The mean of a picture hardly changes when it is resized.
    expectClose(await encoder.encode(batch), meansOf(batch), 0.03);
  });

  it.each([
    [8, 4],
    [1, 0],
    [3, 2],
    [5, 2],
    [7, 4],
  ])('cuts out the middle where the recipe says so: of %d px too many, %d before it', async (more, before) => {
    const size = SIDE + more;
    const encoder = await open(await write('cut.onnx', channelMeans()), { resize: size });
    const pixels = new Uint8Array(3 * size * size).fill(255);
    for (let y = before; y < before + SIDE; y++) {
      pixels.fill(100, (y * size + before) * 3, (y * size + before + SIDE) * 3);
    }
    const wanted = [0, 1, 2].map((channel) => normalised(100, channel));
    expectClose(await encoder.encode({ pixels, count: 1, size }), wanted, 1e-5);
  });

  it('stops waiting when told to, and goes on with the next', async () => {
    const encoder = await open(await write('abort.onnx', channelMeans()));
    const control = new AbortController();
    const aborted = encoder.encode(batchOf(50), control.signal);
    control.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    expectClose(await encoder.encode(batchOf(1)), meansOf(batchOf(1)), 1e-5);
  });
});

describe('a file that is no encoder is refused with a sentence that says why', () => {
  const refused = async (path: string, code: string, says: RegExp, dimension: number | null = null) => {
    const error = await open(path, {}, dimension).catch((error) => error);
    expect(error).toMatchObject({ name: 'UserError', code });
    expect(error.problem).toMatch(says);
    expect(error.problem).toContain(path);
  };

  it('when it is missing, empty, something else, or another format', async () => {
    const put = async (name: string, content: string | Buffer) => {
      await writeFile(join(folder, name), content);
      return join(folder, name);
    };
    await refused(join(folder, 'nowhere.onnx'), 'no-weights', /ENOENT/);
    await refused(await put('empty.onnx', ''), 'not-onnx', /empty/);
    await refused(await put('text.onnx', 'hello world'), 'not-onnx', /not an ONNX/);
    await refused(await put('zeros.onnx', Buffer.alloc(5000)), 'not-onnx', /not an ONNX/);
    await refused(await put('page.onnx', '<!doctype html><title>Log in</title>'), 'not-onnx', /web page/);
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n';
    await refused(await put('pointer.onnx', pointer), 'not-onnx', /Git LFS/);
    await refused(await put('weights.pt', Buffer.from('PK\u0003\u0004rest')), 'not-onnx', /PyTorch/);
    const safetensors = Buffer.from('\u0010\0\0\0\0\0\0\0{"__metadata__":{}}');
    await refused(await put('weights.safetensors', safetensors), 'not-onnx', /safetensors/);
  });

  it('when it is cut off, at any length', async () => {
    const whole = await readFile(await write('whole.onnx', featureMap));
    for (const share of [0.05, 0.3, 0.9, 0.999]) {
      const path = join(folder, `cut-${share}.onnx`);
      await writeFile(path, whole);
      await truncate(path, Math.floor(share * whole.length));
      await refused(path, 'truncated-onnx', /ends too early/);
    }
  });

  it('when its external data is missing, short, or somewhere else', async () => {
    const path = await write('torn.onnx', featureMap, 'torn.data');
    await truncate(join(folder, 'torn.data'), 100);
    await refused(path, 'onnx-load', /onnxruntime/);
    const missing = await write('lost.onnx', featureMap, 'lost.data');
    await writeFile(join(folder, 'moved.onnx'), await readFile(missing));
    const { rm } = await import('node:fs/promises');
    await rm(join(folder, 'lost.data'));
    await refused(missing, 'external-data-missing', /lost\.data/);
    const outside = await write('climbing.onnx', featureMap, '../climbing.data').catch(() => '');
    await refused(outside, 'external-data-missing', /climbing\.data/);
    await rm(join(folder, '..', 'climbing.data'), { force: true });
  });

  it('when its input is no batch of pictures, or of another size', async () => {
    await refused(await write('flat.onnx', flatInput), 'not-an-image-model', /2 dimensions instead of 4/);
    await refused(
      await write('grey.onnx', {
        ...channelMeans(),
        inputs: [{ name: 'pixels', type: 'float32', shape: ['n', 1, 8, 8] }],
      }),
      'not-an-image-model',
      /three colours/,
    );
    const path = await write('large.onnx', {
      ...channelMeans(),
      inputs: [{ name: 'pixels', type: 'float32', shape: ['n', 3, 64, 64] }],
    });
    await refused(path, 'encoder-size', /64 x 64 px, and 32/);
  });

  it('when its features are too few, or not finite', async () => {
    await refused(
      await write('width.onnx', channelMeans()),
      'encoder-width',
      /3 features a patch, tiny has 1024/,
      1024,
    );
    await refused(await write('infinite.onnx', overflowing), 'not-finite', /not finite/);
  });
});
