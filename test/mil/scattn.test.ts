/** SCAttn with and without its token gate, on both devices: against plain loops in double precision, and gradients by differences. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { gatedSum, type ScAttn, scAttnShapes } from '../../src/mil/scattn.ts';
import { openSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';
import { expectGradients, type Inputs } from './gradients.ts';
import { randomNumbers, relativeError } from './small-models.ts';

/** Channels, of which the gates see two; rows of three bags. */
const E = 16;
const OFFSETS = [0, 1, 9, 14];
const L = OFFSETS.at(-1)!;

/** Two scans and all weights; norms near one, so that no gate is saturated. */
function someInputs(withToken: boolean): Inputs {
  const shapes = [...scAttnShapes(E, withToken), ['first', [L, E]], ['second', [L, E]]] as [string, number[]][];
  return Object.fromEntries(
    shapes.map(([name, shape], i) => {
      const data = randomNumbers(
        40 + i,
        shape.reduce((a, b) => a * b, 1),
      );
      return [name, { data: name === 'attn.norm.weight' ? data.map((v) => 1 + v / 4) : data, shape }];
    }),
  );
}

function build(tape: Tape, given: Readonly<Record<string, Tensor>>): Tensor {
  const of = (name: string) => ({ weight: given[`attn.${name}.weight`]!, bias: given[`attn.${name}.bias`]! });
  const gate: ScAttn = {
    norm: of('norm'),
    reduce: of('global_reduce'),
    select: of('channel_select'),
    token: given['attn.local_reduce.weight'] ? { reduce: of('local_reduce'), select: of('spatial_select') } : null,
  };
  return gatedSum(tape, [given.first!, given.second!], gate, new Sequence(tape, OFFSETS));
}

/** sum of o * c * s, row by row as the formulas have it. */
function plainSum(inputs: Inputs): Float64Array {
  const of = (name: string) => inputs[`attn.${name}`]!.data;
  const linear = (name: string, x: readonly number[]) =>
    [...of(`${name}.bias`)].map((bias, o) =>
      x.reduce((sum, v, i) => sum + of(`${name}.weight`)[o * x.length + i]! * v, bias),
    );
  const sum = new Float64Array(L * E);
  for (const { data: o } of [inputs.first!, inputs.second!]) {
    for (let bag = 0; bag + 1 < OFFSETS.length; bag++) {
      const rows = Array.from({ length: OFFSETS[bag + 1]! - OFFSETS[bag]! }, (_, i) => OFFSETS[bag]! + i);
      const normed = rows.map((t) =>
        layerNormOf([...o.subarray(t * E, (t + 1) * E)], of('norm.weight'), of('norm.bias')),
      );
      const mean = normed[0]!.map((_, e) => normed.reduce((total, row) => total + row[e]!, 0) / rows.length);
      const shared = linear('global_reduce', mean).map(gelu);
      const channel = linear('channel_select', shared).map(sigmoid);
      rows.forEach((t, i) => {
        const local = inputs['attn.local_reduce.weight'] ? linear('local_reduce', normed[i]!).map(gelu) : null;
        const token = local ? sigmoid(linear('spatial_select', [...local, ...shared])[0]!) : 1;
        for (let e = 0; e < E; e++) sum[t * E + e]! += o[t * E + e]! * channel[e]! * token;
      });
    }
  }
  return sum;
}

function layerNormOf(row: number[], weight: Float32Array, bias: Float32Array): number[] {
  const mean = row.reduce((a, b) => a + b) / E;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / E;
  return row.map((v, e) => ((v - mean) / Math.sqrt(variance + 1e-5)) * weight[e]! + bias[e]!);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** x P(Z < x), by the series of the error function. */
function gelu(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return x * (0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI));
}

const devices: [string, () => Promise<Device>, boolean][] = [
  ['wasm', () => openWasm({ threads: 1 }), false],
  [`WGSL ${withoutSwiftShader ?? ''}`, () => openSwiftShader(), withoutSwiftShader !== null],
];

for (const [name, open, missing] of devices) {
  describe.skipIf(missing)(`SCAttn on ${name}`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => device.close());

    it.each([
      ['by channel', false],
      ['by channel and token', true],
    ])('%s: what the formulas say', async (_, withToken) => {
      const inputs = someInputs(withToken);
      const tape = new Tape(device);
      const given = Object.entries(inputs).map(([key, { data, shape }]) => [key, tape.constant(data, shape)] as const);
      const found = await device.read(build(tape, Object.fromEntries(given)));
      tape.close();
      expect(relativeError(found, plainSum(inputs))).toBeLessThan(5e-6);
    });

    it.each([
      ['by channel', false],
      ['by channel and token', true],
    ])('%s: gradients of scans and weights', async (_, withToken) => {
      await expectGradients(device, someInputs(withToken), build, 60);
    });
  });
}
