/** Models that scan the patches in orders of the slide's grid, layer by layer. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { crossEntropy } from '../../src/kernels/loss.ts';
import { mambaBranch } from '../../src/kernels/mamba-branch.ts';
import { Adam } from '../../src/kernels/optimizer.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { checkConfig, createModel, createRandomModel, modelKinds } from '../../src/mil/create-model.ts';
import { initialWeights } from '../../src/mil/initialise.ts';
import { branchMerges } from '../../src/mil/local-mamba-block.ts';
import { layerOrders, type MambaMil, runLayer } from '../../src/mil/mambamil.ts';
import type { MambaMilConfig, ModelCard } from '../../src/mil/model-card.ts';
import { discreteConfig, orderWeights, searchConfig } from '../../src/mil/order-search.ts';
import { predictBag } from '../../src/mil/predict.ts';
import { createRandom, shuffle } from '../../src/random.ts';
import { inverseOrder, orderOfCells, type ScanOrder, searchOrders } from '../../src/row-order.ts';
import { expectGradients } from './gradients.ts';
import { cardOf, mambaConfig, randomNumbers, relativeError } from './small-models.ts';

const INPUT = 12;
const ROWS = 45;

let device: Device;
beforeAll(async () => {
  device = await openWasm({ threads: 1 });
});
afterAll(() => device.close());

/** Cells of a 6 x 9 grid with holes, in a random order. */
function someCells(seed: number): Int32Array {
  const all = Array.from({ length: 54 }, (_, i) => [Math.floor(i / 9) - 2, i % 9]);
  return Int32Array.from(shuffle(createRandom(seed), all).slice(0, ROWS).flat());
}

const cells = someCells(1);
const features = randomNumbers(5, ROWS * INPUT);

function permuted(data: Float32Array, order: Int32Array): Float32Array {
  return Float32Array.from(
    { length: data.length },
    (_, i) => data[order[Math.floor(i / INPUT)]! * INPUT + (i % INPUT)]!,
  );
}

async function run(
  config: MambaMilConfig,
  rows: Float32Array,
  places: Int32Array | null,
  seed = 2,
  offsets = [0, rows.length / INPUT],
) {
  const { model, parameters } = createRandomModel(device, config, { seed });
  const tape = new Tape(device);
  const input = tape.constant(rows, [rows.length / INPUT, INPUT]);
  const { logits, scores } = model.forward(tape, { features: input, offsets, cells: places });
  const found = { logits: await device.read(logits), scores: await device.read(scores!) };
  tape.close();
  parameters.close();
  return found;
}

describe('one order for all layers', () => {
  it.each(['row-major', 'column-major', 'snake', 'hilbert', 'window-4', 'window-2-reversed'] as const)(
    '%s gives what the rows in that order give',
    async (order: ScanOrder) => {
      const sorted = orderOfCells(order, cells);
      const own = await run(mambaConfig({ orders: [[order], [order]] }), features, cells);
      const plain = await run(mambaConfig(), permuted(features, sorted), null);
      expect(relativeError(own.logits, plain.logits)).toBeLessThan(1e-5);
      // Scores come back in the order of the rows.
      const back = inverseOrder(sorted);
      const scores = Float32Array.from(back, (place) => plain.scores[place]!);
      expect(relativeError(own.scores, scores)).toBeLessThan(1e-4);
    },
  );

  it('does not depend on the order that the bag comes in; the rows as they are do', async () => {
    const order = Int32Array.from(shuffle(createRandom(9), [...Array(ROWS).keys()]));
    const moved = Int32Array.from({ length: 2 * ROWS }, (_, i) => cells[2 * order[i >> 1]! + (i & 1)]!);
    const error = async (config: MambaMilConfig) =>
      relativeError(
        (await run(config, permuted(features, order), moved)).logits,
        (await run(config, features, cells)).logits,
      );
    expect(await error(mambaConfig({ orders: [['hilbert'], ['window-4', 'snake']] }))).toBeLessThan(1e-4);
    expect(await error(mambaConfig())).toBeGreaterThan(1e-3);
  });
});

describe('several orders in a layer', () => {
  const orders: ScanOrder[][] = [['row-major', 'column-major-reversed', 'window-2'], ['hilbert']];

  it.each(branchMerges)('%s: packed bags are computed each as if alone', async (merge) => {
    const config = mambaConfig({ orders, merge });
    const packed = await run(config, features, cells, 3, [0, 20, ROWS]);
    const first = await run(config, features.slice(0, 20 * INPUT), cells.slice(0, 40), 3);
    const second = await run(config, features.slice(20 * INPUT), cells.slice(40), 3);
    expect(relativeError(packed.logits, [...first.logits, ...second.logits])).toBeLessThan(1e-5);
    expect(relativeError(packed.scores, [...first.scores, ...second.scores])).toBeLessThan(1e-4);
  });

  /** The layer by plain loops over what its branches give alone. */
  it.each(['scattn', 'search'] as const)('%s joins the branches as written', async (merge) => {
    const config = mambaConfig({ layers: 1, orders: [orders[0]!], merge, K: 4 });
    const shapes = modelKinds.lbmamba.shapes(config);
    const weights = new Map(initialWeights(shapes, { seed: 4 }));
    for (const name of [
      'alpha',
      'attn.norm.weight',
      'attn.norm.bias',
      'attn.global_reduce.bias',
      'attn.channel_select.bias',
    ]) {
      const own = weights.get(`layers.0.1.${name}`);
      if (own) weights.set(`layers.0.1.${name}`, { ...own, data: randomNumbers(6, own.data.length) });
    }
    const { model, parameters } = createModel(device, config, weights, 'test');
    const tape = new Tape(device);
    const mil = model as MambaMil;
    const layer = mil.layers[0]!;
    const [d, E] = [16, 32];
    const h = randomNumbers(8, ROWS * d);
    const of = (name: string) => weights.get(`layers.0.${name}`)!.data;

    const x = new Float32Array(ROWS * d);
    for (let t = 0; t < ROWS; t++) x.set(normed(h.subarray(t * d, (t + 1) * d), of('0.weight'), of('0.bias')), t * d);
    const xz = new Float32Array(2 * E * ROWS);
    for (let e = 0; e < 2 * E; e++)
      for (let t = 0; t < ROWS; t++)
        for (let i = 0; i < d; i++) xz[e * ROWS + t]! += of('1.in_proj.weight')[e * d + i]! * x[t * d + i]!;
    const branches: Float32Array[] = [];
    for (const [s, order] of orders[0]!.entries()) {
      const sorted = orderOfCells(order, cells);
      const read = Float32Array.from(xz, (_, i) => xz[Math.floor(i / ROWS) * ROWS + sorted[i % ROWS]!]!);
      const branch = layer.local!.branches[s]!;
      const y = await device.read(
        mambaBranch(tape, tape.constant(read, [2 * E, ROWS]), branch, new Sequence(tape, [0, ROWS]), { K: 4 }),
      );
      const rows = new Float32Array(ROWS * E);
      sorted.forEach((row, t) => {
        for (let e = 0; e < E; e++) rows[row * E + e] = y[e * ROWS + t]!;
      });
      branches.push(rows);
    }
    const sum = new Float32Array(ROWS * E);
    if (merge === 'search') {
      const alpha = [...of('1.alpha')].map(Math.exp);
      const total = alpha.reduce((a, b) => a + b, 0);
      for (const [s, rows] of branches.entries()) {
        for (let t = 0; t < ROWS; t++) {
          normed(rows.subarray(t * E, (t + 1) * E)).forEach((v, e) => {
            sum[t * E + e]! += (alpha[s]! / total) * v;
          });
        }
      }
    } else {
      for (const rows of branches) {
        const mean = new Float32Array(E);
        for (let t = 0; t < ROWS; t++) {
          normed(rows.subarray(t * E, (t + 1) * E), of('1.attn.norm.weight'), of('1.attn.norm.bias')).forEach(
            (v, e) => {
              mean[e]! += v / ROWS;
            },
          );
        }
        const reduced = affine(mean, of('1.attn.global_reduce.weight'), of('1.attn.global_reduce.bias')).map(gelu);
        const gate = affine(reduced, of('1.attn.channel_select.weight'), of('1.attn.channel_select.bias')).map(
          (v) => 1 / (1 + Math.exp(-v)),
        );
        rows.forEach((v, i) => {
          sum[i]! += v * gate[i % E]!;
        });
      }
    }
    const expected = h.slice();
    for (let t = 0; t < ROWS; t++)
      for (let i = 0; i < d; i++)
        for (let e = 0; e < E; e++) expected[t * d + i]! += of('1.out_proj.weight')[i * E + e]! * sum[t * E + e]!;

    // The same layer, seen through scores: the model's own steps after it.
    const sequence = new Sequence(tape, [0, ROWS]);
    const input = tape.constant(h, [ROWS, d]);
    const found = layerOrders(mil.layers, { features: input, offsets: [0, ROWS], cells });
    const after = runLayer(tape, input, layer, sequence, found[0]!, { type: 'lbmamba', K: 4, rate: 1 });
    expect(relativeError(await device.read(after), expected)).toBeLessThan(2e-5);
    tape.close();
    parameters.close();
  });

  it.each(branchMerges)('%s sends gradients to all of its weights', async (merge) => {
    const config = mambaConfig({ layers: 1, orders: [orders[0]!], merge });
    const shapes = modelKinds.lbmamba.shapes(config);
    const weights = initialWeights(shapes, { seed: 3 });
    const names = [...shapes.keys()].filter((name) =>
      /alpha|attn\.|A_log_1|conv1d_2\.weight|dt_proj_0\.bias|in_proj/.test(name),
    );
    const inputs = Object.fromEntries([
      ['features', { data: features, shape: [ROWS, INPUT] }],
      ...names.map((name) => [name, weights.get(name)!]),
    ]);
    const { parameters } = createModel(device, config, weights, 'test');
    await expectGradients(
      device,
      inputs,
      (tape, given) => {
        const tensors = new Map(parameters.tensors);
        for (const name of names) tensors.set(name, given[name]!);
        const own = { get: (name: string) => tensors.get(name)!, attach: () => {}, tensors };
        const model = modelKinds.lbmamba.create(config, own as unknown as typeof parameters);
        return model.forward(tape, { features: given.features!, offsets: [0, 20, ROWS], cells }).logits;
      },
      21,
    );
    parameters.close();
  });
});

describe('the search of orders', () => {
  it('starts even, is trained along, and keeps the heaviest', async () => {
    const config = searchConfig(mambaConfig({ layers: 1, width: 16, state: 4, classes: ['a', 'b'] }));
    const { model, parameters } = createRandomModel(device, config, { seed: 1 });
    const before = await orderWeights(config, parameters);
    expect(before[0]!.every((weight) => Math.abs(weight - 1 / 8) < 0.01)).toBe(true);
    const adam = new Adam(parameters, { lr: 0.02 });

    for (let step = 0; step < 12; step++) {
      const tape = new Tape(device, { training: true, seed: step });
      parameters.clearGradients();
      const { logits } = model.forward(tape, {
        features: tape.constant(features, [ROWS, INPUT]),
        offsets: [0, ROWS],
        cells,
      });
      crossEntropy(tape, logits, [step % 2]);
      tape.backward();
      tape.close();
      adam.step();
    }
    const after = await orderWeights(config, parameters);
    expect(after[0]!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(Math.max(...after[0]!.map((weight, i) => Math.abs(weight - before[0]![i]!)))).toBeGreaterThan(1e-3);
    const discrete = discreteConfig(config, after, 3);
    const heaviest = [...searchOrders.keys()].sort((i, j) => after[0]![j]! - after[0]![i]!).slice(0, 3);
    expect(new Set(discrete.orders![0])).toEqual(new Set(heaviest.map((i) => searchOrders[i])));
    checkConfig(discrete);
    createRandomModel(device, discrete, { seed: 2 }).parameters.close();
    adam.close();
    parameters.close();
  });

  it('keeps one order as an ordinary layer, with the names of one', () => {
    const discrete = discreteConfig(
      searchConfig(mambaConfig({ layers: 1 })),
      [[0, 0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1]],
      1,
    );
    expect(discrete.orders).toEqual([['column-major']]);
    expect([...modelKinds.lbmamba.shapes(discrete).keys()]).toEqual([
      ...modelKinds.lbmamba.shapes(mambaConfig({ layers: 1 })).keys(),
    ]);
  });
});

describe('what does not fit', () => {
  it('is refused: other layers, unknown orders, too few, bags without places', async () => {
    const refuses = (changes: Partial<MambaMilConfig>, message: RegExp) =>
      expect(() => checkConfig(mambaConfig(changes))).toThrow(message);
    refuses({ type: 'srmamba', orders: [['hilbert'], ['hilbert']] }, /srmamba have orders of their own/);
    refuses({ orders: [['hilbert']] }, /names 1 layers, the model has 2/);
    refuses({ orders: [['zigzag' as ScanOrder], ['hilbert']] }, /no order "zigzag"/);
    const config = mambaConfig({ orders: [['hilbert'], ['snake']] });
    const created = createRandomModel(device, config, { seed: 1 });
    const open = { ...created, card: cardOf(config) as ModelCard, hash: 'sha256:0' };
    const meta = { slideId: 's', encoder: 'made-up@1', patchMpp: 0.5, patchLevel0Px: 256, order: 'unknown' };
    const bag = { meta, count: ROWS, dimension: INPUT, features, coords: null } as unknown as Parameters<
      typeof predictBag
    >[1];
    await expect(async () => predictBag(open, bag)).rejects.toThrow(/does not say where they lie/);
    const plain = { ...open, card: cardOf(mambaConfig()) };
    const other = { ...bag, meta: { ...meta, order: 'hilbert' } } as unknown as typeof bag;
    await expect(async () => predictBag(plain, other)).rejects.toThrow(
      /in the order hilbert.*trained on row-major.*--order/,
    );
    const coords = Int32Array.from(cells, (_, i) => cells[i ^ 1]! * 256);
    const { logits } = await predictBag(open, { ...bag, coords } as typeof bag);
    expect(relativeError(logits, (await run(config, features, cells, 1)).logits)).toBeLessThan(1e-6);
    created.parameters.close();
  });
});

function normed(row: Float32Array, weight?: Float32Array, bias?: Float32Array): Float32Array {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * (weight?.[i] ?? 1) + (bias?.[i] ?? 0));
}

function affine(x: Float32Array, W: Float32Array, b: Float32Array): Float32Array {
  return b.map((bias, o) => x.reduce((sum, v, i) => sum + W[o * x.length + i]! * v, bias));
}

/** x P(Z < x), the integral by Simpson's rule. */
function gelu(x: number): number {
  const steps = 200;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const t = (x * i) / steps;
    sum += (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2) * Math.exp((-t * t) / 2);
  }
  return x * (0.5 + (sum * (x / steps)) / 3 / Math.sqrt(2 * Math.PI));
}
