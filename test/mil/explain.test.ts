/** Explanations against their definitions: sums that must come out, differences, and matrices written out in plain loops. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bag } from '../../src/features/bag.ts';
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { createRandomModel, modelKinds } from '../../src/mil/create-model.ts';
import { directionOf, explainBag, kindsOf, patchSources } from '../../src/mil/explain.ts';
import { areaUnder, perturb, perturbAtRandom, STEPS, summariseFaithfulness } from '../../src/mil/faithfulness.ts';
import { hiddenAttention, scanContributions } from '../../src/mil/hidden-attention.ts';
import type { MambaMil } from '../../src/mil/mambamil.ts';
import {
  type MambaMilConfig,
  type ModelCard,
  type ModelConfig,
  type ModelType,
  poolingTypes,
} from '../../src/mil/model-card.ts';
import type { OpenModel } from '../../src/mil/model-folder.ts';
import { predictBag } from '../../src/mil/predict.ts';
import { createRandom, shuffle } from '../../src/random.ts';
import { orderOfCells } from '../../src/row-order.ts';
import { goldenCases, goldenFolder, goldenInput, goldenOutput, withoutGolden } from '../kernels/golden-cases.ts';
import { mambaConfig, origin, randomNumbers, relativeError } from './small-models.ts';

const INPUT = 12;
const ROWS = 33;
const SIDE = 256;

let device: Device;
beforeAll(async () => {
  device = await openWasm({ threads: 1 });
});
afterAll(() => device.close());

const cells = Int32Array.from(
  shuffle(
    createRandom(3),
    Array.from({ length: 42 }, (_, i) => [Math.floor(i / 7), i % 7]),
  )
    .slice(0, ROWS)
    .flat(),
);

function bagOf(features: Float32Array): Bag {
  const meta = {
    slideId: 's',
    encoder: origin.encoder,
    patchMpp: 0.5,
    patchLevel0Px: SIDE,
    order: 'row-major',
  } as Bag['meta'];
  const coords = Int32Array.from(cells, (_, i) => cells[i ^ 1]! * SIDE).subarray(0, (2 * features.length) / INPUT);
  return { meta, count: features.length / INPUT, dimension: INPUT, features, coords };
}

const features = randomNumbers(5, ROWS * INPUT);
const bag = bagOf(features);

function open(config: ModelConfig, changes: Partial<ModelCard> = {}, seed = 2): OpenModel {
  return {
    ...createRandomModel(device, config, { seed }),
    card: { ...config, ...origin, ...changes } as ModelCard,
    hash: `sha256:${seed}`,
  };
}

function configOf(type: ModelType): ModelConfig {
  if (!(poolingTypes as readonly string[]).includes(type)) return mambaConfig({ type: type as 'mamba', dropout: 0.5 });
  return { type: type as 'abmil', input: INPUT, width: 16, attention: 8, classes: ['a', 'b', 'c'], dropout: 0.5 };
}

const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
const types = Object.keys(modelKinds) as ModelType[];

describe.each(types)('%s', (type) => {
  it('explains the same prediction that it makes, with dropout in its card', async () => {
    const model = open(configOf(type));
    const columns = await explainBag(model, bag);
    const { logits } = await predictBag(model, bag);
    const direction = directionOf(model.card, logits);
    expect(Object.values(columns).every((values) => values.length === ROWS && values.every(Number.isFinite))).toBe(
      true,
    );

    if (kindsOf(model.model).includes('evidence')) {
      // Evidence adds up to the logits, in each class and in the direction of the prediction.
      for (const [k, name] of model.card.classes.entries()) {
        expect(sum(columns[`evidence_${name}`]!)).toBeCloseTo(logits[k]!, 4);
      }
      expect(sum(columns.evidence!)).toBeCloseTo(
        direction.reduce((total, d, k) => total + d * logits[k]!, 0),
        4,
      );
    }
    // Gradient x input adds up to the slope along the features: f(s x) at s = 1, by differences.
    const along = async (s: number) => {
      const moved = await predictBag(model, bagOf(features.map((v) => v * s)));
      return direction.reduce((total, d, k) => total + d * moved.logits[k]!, 0);
    };
    const slope = ((await along(1.002)) - (await along(0.998))) / 0.004;
    expect(Math.abs(sum(columns.gradient_x_input!) - slope)).toBeLessThan(0.02 * Math.abs(slope) + 3e-3);
    if (columns.hidden_attention) expect(sum(columns.hidden_attention)).toBeCloseTo(1, 5);
    model.parameters.close();
  });
});

describe('evidence and gradients', () => {
  it.each(['lbmamba', 'mamba', 'abmil'] as const)(
    'sensitivity of %s is that of its definition, by differences',
    async (type) => {
      const model = open(configOf(type));
      const { sensitivity } = await explainBag(model, bag, ['gradient']);
      const direction = directionOf(model.card, (await predictBag(model, bag)).logits);
      const along = async (place: number, by: number) => {
        const moved = features.slice();
        moved[place]! += by;
        const { logits } = await predictBag(model, bagOf(moved));
        return direction.reduce((total, d, k) => total + d * logits[k]!, 0);
      };
      for (const row of [0, 7, ROWS - 1]) {
        let wanted = 0;
        for (let k = 0; k < INPUT; k++) {
          const column = Array.from({ length: ROWS }, (_, t) => features[t * INPUT + k]!);
          const apart = column[row]! - column.reduce((a, b) => a + b) / ROWS;
          const place = row * INPUT + k;
          wanted += Math.abs((((await along(place, 0.02)) - (await along(place, -0.02))) / 0.04) * apart);
        }
        expect(Math.abs(sensitivity![row]! - wanted)).toBeLessThan(0.03 * wanted + 2e-4);
      }
      model.parameters.close();
    },
  );

  it('of survival point to the risk', async () => {
    const card = { task: 'survival' } as const;
    const model = open(mambaConfig({ classes: ['1', '2', '3', '4'] }), card);
    const { logits, risk } = await predictBag(model, bag);
    const riskOf = (values: Float32Array) => {
      let [alive, total] = [1, 0];
      for (const logit of values) total -= alive *= 1 - 1 / (1 + Math.exp(-logit));
      return total;
    };
    expect(riskOf(logits)).toBeCloseTo(risk!, 5);
    directionOf(model.card, logits).forEach((d, k) => {
      const moved = (by: number) => riskOf(logits.map((v, i) => v + (i === k ? by : 0)));
      expect(d).toBeCloseTo((moved(1e-3) - moved(-1e-3)) / 2e-3, 3);
    });
    const columns = await explainBag(model, bag, ['evidence']);
    expect(Object.keys(columns)).toEqual(['evidence']);
    model.parameters.close();
  });

  it('of an ensemble are the means over its members', async () => {
    const [one, two] = [open(mambaConfig(), {}, 2), open(mambaConfig(), {}, 3)];
    const both: OpenModel = { ...one, members: [one, two] };
    const joint = await explainBag(both, bag, ['evidence']);
    const [a, b] = await Promise.all([explainBag(one, bag, ['evidence']), explainBag(two, bag, ['evidence'])]);
    const mean = a!.evidence_a!.map((value, i) => (value + b!.evidence_a![i]!) / 2);
    expect(relativeError(joint.evidence_a!, mean)).toBeLessThan(1e-6);
    one.parameters.close();
    two.parameters.close();
  });

  it('are refused where a model has none', async () => {
    const model = open(configOf('dsmil'));
    await expect(explainBag(model, bag, ['evidence'])).rejects.toThrow(/dsmil has no evidence. It has gradient/);
    model.parameters.close();
  });
});

/** M of lbmamba-scan.md §9, by the closed form of §3: what input j gives to output t, in one channel. */
function matrixByDefinition(a: number[][], step: number[], B: number[][], C: number[][], K: number): number[][] {
  const L = step.length;
  const N = a[0]!.length;
  const product = (from: number, to: number, n: number) => {
    let p = 1;
    for (let i = from; i <= to; i++) p *= a[i]![n]!;
    return p;
  };
  return Array.from({ length: L }, (_, t) =>
    Array.from({ length: L }, (_, j) => {
      if (j > t && (K < 2 || Math.floor(j / K) !== Math.floor(t / K))) return 0;
      let total = 0;
      for (let n = 0; n < N; n++)
        total += C[t]![n]! * (j <= t ? product(j + 1, t, n) : product(t, j - 1, n)) * B[j]![n]!;
      return step[j]! * total;
    }),
  );
}

describe('hidden attention of a scan', () => {
  const [D, N, L] = [3, 2, 14];
  const numbers = (seed: number, n: number) => randomNumbers(seed, n);
  const [u, delta, B, C, bias, weights] = [
    numbers(1, D * L),
    numbers(2, D * L),
    numbers(3, N * L),
    numbers(4, N * L),
    numbers(5, D),
    numbers(6, L).map(Math.abs),
  ];
  const A = numbers(7, D * N).map((v) => -Math.exp(v));

  it.each([
    [0, false],
    [1, false],
    [4, false],
    [4, true],
    [14, false],
  ])('is the dense matrix of its definition, weighted: K = %i, reversed %s', async (K, reversed) => {
    const tape = new Tape(device);
    const scan = {
      u: tape.constant(u, [D, L]),
      delta: tape.constant(delta, [D, L]),
      A: tape.constant(A, [D, N]),
      B: tape.constant(B, [N, L]),
      C: tape.constant(C, [N, L]),
      deltaBias: tape.constant(bias, [D]),
    };
    const found = await scanContributions(device, scan, weights, { K, reversed });
    const expected = new Float32Array(D * L);
    // A reversed scan is the scan of the reversed tokens.
    const at = (t: number) => (reversed ? L - 1 - t : t);
    for (let d = 0; d < D; d++) {
      const places = Array.from({ length: L }, (_, t) => at(t));
      const step = places.map((t) => Math.log1p(Math.exp(delta[d * L + t]! + bias[d]!)));
      const a = step.map((s) => Array.from({ length: N }, (_, n) => Math.exp(s * A[d * N + n]!)));
      const columns = (data: Float32Array) => places.map((t) => Array.from({ length: N }, (_, n) => data[n * L + t]!));
      const M = matrixByDefinition(a, step, columns(B), columns(C), K);
      for (let j = 0; j < L; j++) {
        let given = 0;
        for (let t = 0; t < L; t++) given += weights[at(t)]! * M[t]![j]!;
        expected[d * L + at(j)] = given * u[d * L + at(j)]!;
      }
    }
    expect(relativeError(found, expected)).toBeLessThan(2e-6);
    tape.close();
  });

  const matrices = goldenCases('hidden_attention');
  const without = withoutGolden ?? (matrices.length > 0 ? null : `no hidden attention in ${goldenFolder}`);

  it.skipIf(without)(`agrees with the golden matrices${without ? ` (skipped: ${without})` : ''}`, async () => {
    for (const c of matrices) {
      const { B, D, L, N } = c.dims as Record<'B' | 'D' | 'L' | 'N', number>;
      const M = goldenOutput(c, 'M');
      for (let batch = 0; batch < B; batch++) {
        const tape = new Tape(device);
        const own = (name: string, rows: number) => {
          const data = goldenInput(c, name)!.subarray(batch * rows * L, (batch + 1) * rows * L);
          return tape.constant(data, [rows, L]);
        };
        const bias = goldenInput(c, 'delta_bias');
        const scan = {
          u: own('u', D),
          delta: own('delta', D),
          A: tape.constant(goldenInput(c, 'A')!, [D, N]),
          B: own('B', N),
          C: own('C', N),
          deltaBias: bias && tape.constant(bias, [D]),
        };
        const q = randomNumbers(9, L).map(Math.abs);
        const found = await scanContributions(device, scan, q, { K: c.K!, reversed: false });
        const u = goldenInput(c, 'u')!;
        const expected = Float32Array.from(found, (_, i) => {
          const [d, j] = [batch * D + Math.floor(i / L), i % L];
          let given = 0;
          for (let t = 0; t < L; t++) given += q[t]! * M[(d * L + t) * L + j]!;
          return given * u[d * L + j]!;
        });
        expect(relativeError(found, expected), c.name).toBeLessThan(1e-5);
        tape.close();
      }
    }
  });
});

describe('hidden attention of a model', () => {
  const uniform = new Float32Array(ROWS).fill(1 / ROWS);
  const of = async (config: MambaMilConfig, data: Float32Array, q: Float32Array, places: Int32Array | null = null) => {
    const { model, parameters } = createRandomModel(device, config, { seed: 4 });
    const found = await hiddenAttention(model as MambaMil, device, data, q, places);
    parameters.close();
    return found;
  };

  it('flows only forwards in a forward scan, also backwards within a segment of LBMamba, both ways in BiMamba', async () => {
    const q = new Float32Array(ROWS);
    q[18] = 1;
    const given = async (config: Partial<MambaMilConfig>) => {
      const shares = await of(mambaConfig({ layers: 1, flip: 'none', ...config }), features, q);
      const from = [...shares.keys()].filter((row) => shares[row]! > 0);
      return [from[0], from.at(-1)];
    };
    expect(await given({ type: 'mamba', K: 0 })).toEqual([0, 18]);
    expect(await given({ type: 'lbmamba', K: 8 })).toEqual([0, 23]);
    expect(await given({ type: 'bimamba', K: 0 })).toEqual([0, ROWS - 1]);
    expect(await given({ type: 'lbmamba', K: 8, flip: 'alternate', layers: 2 })).toEqual([0, ROWS - 1]);
  });

  it('of an order of the grid is that of the rows in this order', async () => {
    const order = orderOfCells('hilbert', cells);
    const inOrder = (data: Float32Array, width: number) =>
      Float32Array.from(data, (_, i) => data[order[Math.floor(i / width)]! * width + (i % width)]!);
    const q = randomNumbers(7, ROWS).map(Math.abs);
    const own = await of(mambaConfig({ orders: [['hilbert'], ['hilbert']] }), features, q, cells);
    const plain = await of(mambaConfig(), inOrder(features, INPUT), inOrder(q, 1));
    expect(relativeError(inOrder(own, 1), plain)).toBeLessThan(1e-4);
  });

  it('of a layer that is flipped is that of one that reads the reversed order', async () => {
    const q = randomNumbers(7, ROWS).map(Math.abs);
    const rows = Int32Array.from({ length: 2 * ROWS }, (_, i) => (i % 2 === 0 ? 0 : i >> 1));
    const flipped = await of(mambaConfig({ flip: 'alternate' }), features, q);
    const ordered = mambaConfig({ flip: 'none', orders: [['row-major'], ['row-major-reversed']] });
    expect(relativeError(await of(ordered, features, q, rows), flipped)).toBeLessThan(1e-4);
    expect(relativeError(await of(mambaConfig({ flip: 'none' }), features, q), flipped)).toBeGreaterThan(1e-2);
  });

  it('of several branches and of the strided one covers all patches', async () => {
    for (const config of [
      mambaConfig({ type: 'srmamba', K: 0 }),
      mambaConfig({ orders: [['snake', 'window-2'], ['hilbert']] }),
    ]) {
      const shares = await of(config, features, uniform, cells);
      expect(shares.every((share) => share > 0)).toBe(true);
      expect(sum(shares)).toBeCloseTo(1, 5);
    }
  });
});

describe('what feeds one patch', () => {
  const L = 14;
  const short = bagOf(features.slice(0, L * INPUT));

  it.each([
    [1, 4],
    [6, 4],
    [13, 4],
    [6, 14],
  ])('is its row of the dense matrices, written out in plain loops: patch %i, K = %i', async (chosen, K) => {
    const config = mambaConfig({ layers: 1, flip: 'none', activation: 'relu', K });
    const model = open(config);
    const found = await patchSources(model, short, chosen);
    const weights = new Map<string, Float32Array>();
    for (const [name, tensor] of model.model.parameters) weights.set(name, await device.read(tensor));
    const W = (name: string) => weights.get(name)!;
    const times = (rows: number[][], name: string, bias?: string) =>
      rows.map((x) =>
        Array.from({ length: W(name).length / x.length }, (_, o) =>
          x.reduce((total, value, i) => total + value * W(name)[o * x.length + i]!, bias ? W(bias)[o]! : 0),
        ),
      );
    const rows = Array.from({ length: L }, (_, t) => [...features.slice(t * INPUT, (t + 1) * INPUT)]);
    const h = times(rows, '_fc1.0.weight', '_fc1.0.bias').map((x) => x.map((value) => Math.max(0, value)));
    const x = h.map((values) => {
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
      const [scale, shift] = [W('layers.0.0.weight'), W('layers.0.0.bias')];
      return values.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * scale[i]! + shift[i]!);
    });
    const xz = times(x, 'layers.0.1.in_proj.weight');
    const [E, N, R] = [config.width * config.expand, config.state, Math.ceil(config.width / 16)];
    const [kernel, shift] = [W('layers.0.1.conv1d.weight'), W('layers.0.1.conv1d.bias')];
    const u = xz.map((_, t) =>
      Array.from({ length: E }, (_, e) => {
        let value = shift[e]!;
        for (let k = 0; k < config.conv; k++) {
          const from = t - (config.conv - 1) + k;
          if (from >= 0) value += kernel[e * config.conv + k]! * xz[from]![e]!;
        }
        return value / (1 + Math.exp(-value));
      }),
    );
    const read = times(u, 'layers.0.1.x_proj.weight');
    const steps = times(
      read.map((values) => values.slice(0, R)),
      'layers.0.1.dt_proj.weight',
      'layers.0.1.dt_proj.bias',
    ).map((values) => values.map((value) => Math.log1p(Math.exp(value))));
    const [B, C] = [read.map((values) => values.slice(R, R + N)), read.map((values) => values.slice(R + N))];
    const expected = new Float32Array(L);
    for (let e = 0; e < E; e++) {
      const step = steps.map((values) => values[e]!);
      const a = step.map((s) =>
        Array.from({ length: N }, (_, n) => Math.exp(-s * Math.exp(W('layers.0.1.A_log')[e * N + n]!))),
      );
      const M = matrixByDefinition(a, step, B, C, K);
      for (let j = 0; j < L; j++) expected[j]! += Math.abs(M[chosen]![j]! * u[j]![e]!);
    }
    const total = sum(expected);
    expect(
      relativeError(
        found,
        expected.map((value) => value / total),
      ),
    ).toBeLessThan(2e-5);
    model.parameters.close();
  });

  it('is, of an ensemble, the mean of its members, and sums to one', async () => {
    const [one, two] = [open(mambaConfig(), {}, 5), open(mambaConfig(), {}, 6)];
    const [a, b] = [await patchSources(one, short, 3), await patchSources(two, short, 3)];
    const both = await patchSources({ ...one, members: [one, two] }, short, 3);
    expect(
      relativeError(
        both,
        a.map((share, i) => (share + b[i]!) / 2),
      ),
    ).toBeLessThan(1e-6);
    expect(sum(both)).toBeCloseTo(1, 5);
    expect(relativeError(a, b)).toBeGreaterThan(1e-2);
    one.parameters.close();
    two.parameters.close();
  });

  it('is nothing that a model without a scan could say', async () => {
    const model = open(configOf('abmil'));
    await expect(patchSources(model, short, 3)).rejects.toMatchObject({
      code: 'no-scan',
      message: expect.stringMatching(/of type abmil and has no scan/),
    });
    model.parameters.close();
  });
});

describe('faithfulness', () => {
  it('tells a score that the model follows from one that it does not, and from its opposite', async () => {
    const model = open({ ...configOf('mean'), classes: ['a', 'b'], dropout: 0 } as ModelConfig);
    const { evidence } = await explainBag(model, bag, ['evidence']);
    const curves = await perturb(model, bag, evidence!);
    const against = await perturb(
      model,
      bag,
      evidence!.map((v) => -v),
    );
    const random = await perturbAtRandom(model, bag, 1);
    const probability = Math.max(...(await predictBag(model, bag)).probabilities);
    expect(curves.deletionCurve).toHaveLength(STEPS);
    expect(curves.deletionCurve[0]).toBe(probability);
    expect(curves.insertionCurve.at(-1)).toBe(probability);
    // One patch alone: the strongest first, the weakest last.
    const alone = async (row: number) =>
      (await predictBag(model, bagOf(features.slice(row * INPUT, (row + 1) * INPUT)))).probabilities;
    const best = evidence!.indexOf(evidence!.reduce((x, y) => Math.max(x, y)));
    const k = (await predictBag(model, bag)).logits[0]! > (await predictBag(model, bag)).logits[1]! ? 0 : 1;
    expect(curves.insertionCurve[0]).toBeCloseTo((await alone(best))[k]!, 5);

    const { columns, baseline, slides } = summariseFaithfulness(
      new Map([
        ['evidence', [curves]],
        ['against', [against]],
      ]),
      [random],
    );
    expect(slides).toBe(1);
    expect(columns[0]!.score).toBeGreaterThan(baseline.insertion - baseline.deletion + 0.05);
    expect(columns[1]!.score).toBeLessThan(baseline.insertion - baseline.deletion - 0.05);
    expect(columns[0]!.deletion).toBeLessThan(columns[0]!.insertion);
    model.parameters.close();
  });

  it('measures areas by the trapezoidal rule', () => {
    expect(areaUnder([1, 1, 1])).toBe(1);
    expect(areaUnder([0, 0.5, 1])).toBe(0.5);
    expect(areaUnder([1, 0, 0])).toBe(0.25);
  });

  it('takes a bag of one patch', async () => {
    const model = open({ ...configOf('abmil'), dropout: 0 } as ModelConfig);
    const one = bagOf(features.slice(0, INPUT));
    const { deletionCurve } = await perturb(model, one, Float32Array.of(1));
    expect(new Set(deletionCurve).size).toBe(1);
    expect((await explainBag(model, one, ['gradient'])).gradient_x_input).toHaveLength(1);
    model.parameters.close();
  });
});
