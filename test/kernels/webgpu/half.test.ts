/**
 * Activations stored as f16. SwiftShader has no f16 in shaders: what compiles is shown on its text, what comes out on whatever
 * adapter has it - a real GPU, or a Vulkan driver named by VK_DRIVER_FILES (Mesa's lavapipe from version 24 on).
 */
import { afterAll, describe, expect, it } from 'vitest';
import { Tape, type TapeOptions } from '../../../src/kernels/tape.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { openWebGpu, readShaders } from '../../../src/kernels/webgpu/open-node.ts';
import { parseShader, specialise } from '../../../src/kernels/webgpu/shader.ts';
import type { MambaMil } from '../../../src/mil/mambamil.ts';
import type { MambaMilConfig } from '../../../src/mil/model-card.ts';
import { streamBag } from '../../../src/mil/stream.ts';
import { randomNumbers, relativeError, smallModel } from '../../mil/small-models.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

const device = await openWebGpu({ software: true, half: true, restrict: { scanThreads: 32 } }).catch(() => null);
const without = device?.half ? null : 'no adapter with shader-f16';

describe('a shader with views of f16', () => {
  const shader = parseShader('conv1d', readShaders());
  const owners = (changes: Record<string, string | null> = {}) =>
    new Map(shader.buffers.map(({ name }) => [name, name in changes ? changes[name]! : name]));

  it('widens what it reads and narrows what it writes', () => {
    const text = specialise(shader, {}, owners(), new Set(['x', 'y']));
    expect(text.startsWith('enable f16;\n')).toBe(true);
    expect(text).toContain('read> x: array<f16>;');
    expect(text).toContain('value = f32(x[args.x_at + row + select(t - back, t + back, REVERSED)]);');
    expect(text).toContain('y[args.y_at + row + t] = narrow(sum);');
    expect(text).toContain('read> weight: array<f32>;');
  });

  it('is as it was without them', () => {
    expect(specialise(shader, {}, owners(), new Set())).not.toMatch(/f16|narrow/);
  });

  it('refuses to add to them in place, which would round at every step', () => {
    const sums = parseShader('sumOf', {
      sumOf:
        'struct Args { x_at: u32 }\n@group(0) @binding(1) var<storage, read_write> x: array<f32>;\nfn f() { x[args.x_at] += 1.0; }',
    });
    expect(() => specialise(sums, {}, new Map([['x', 'x']]), new Set(['x']))).toThrow('cannot be f16');
  });
});

const models: [string, Partial<MambaMilConfig>][] = [
  ['lbmamba, layers alternating', {}],
  ['lbmamba, K 40', { K: 40 }],
  ['bimamba', { type: 'bimamba', K: 0 }],
  ['srmamba', { type: 'srmamba', K: 0 }],
];

describe.skipIf(without)(`activations in f16${without ? ` (skipped: ${without})` : ''}`, () => {
  const gpu = device as WebGpuDevice;
  afterAll(() => gpu.close());

  it.each(models)(
    'change a prediction by no more than their rounding: %s',
    { timeout: 300_000 },
    async (_, changes) => {
      const wasm = await openWasm({ threads: 1 });
      const [exact, narrow] = [smallModel(wasm, changes), smallModel(gpu, changes)];
      const tokens = 117;
      const features = randomNumbers(5, tokens * 12);
      const wanted = await whole(exact.model as MambaMil, features, tokens, wasm);
      const got = await whole(narrow.model as MambaMil, features, tokens, gpu);
      const source = {
        count: tokens,
        dimension: 12,
        read: async (first: number, count: number) => features.subarray(first * 12, (first + count) * 12),
      };
      const { logits } = await streamBag(narrow.model as MambaMil, gpu, source, { chunk: 40 });
      // An f16 has 11 bits; a few hundred such roundings stay far below their sum.
      expect(relativeError(got, wanted)).toBeLessThan(3e-3);
      expect(relativeError(got, wanted), 'and something was rounded').toBeGreaterThan(1e-6);
      expect(relativeError(logits, got), 'the same in pieces').toBeLessThan(3e-3);
      await wasm.close();
    },
  );

  it('are f32 while gradients are recorded', { timeout: 300_000 }, async () => {
    const plain = (await openWebGpu({ software: true, restrict: { scanThreads: 32 } }))!;
    await expectSameInTraining(gpu, plain);
    await plain.close();
  });
});

describe.skipIf(withoutSwiftShader)(`a device that says it has f16 ${withoutSwiftShader ?? ''}`, () => {
  // SwiftShader compiles no f16: one tensor of it in training, and this fails.
  it('is never asked for it in training', { timeout: 300_000 }, async () => {
    const plain = await openSwiftShader();
    const saysHalf = Object.assign(await openSwiftShader(), { half: true });
    await expectSameInTraining(saysHalf, plain);
    await saysHalf.close();
    await plain.close();
  });
});

/** Training, with and without layers that are computed again on the way back. */
async function expectSameInTraining(half: WebGpuDevice, plain: WebGpuDevice): Promise<void> {
  const [{ model, parameters }, other] = [smallModel(half), smallModel(plain)];
  const features = randomNumbers(5, 60 * 12);
  for (const checkpoint of [false, true]) {
    const options = { training: true, checkpoint };
    const got = await whole(model as MambaMil, features, 60, half, options);
    expect(got).toEqual(await whole(other.model as MambaMil, features, 60, plain, options));
  }
  parameters.close();
  other.parameters.close();
}

async function whole(
  model: MambaMil,
  features: Float32Array,
  tokens: number,
  on: Parameters<typeof smallModel>[0],
  options: Pick<TapeOptions, 'training' | 'checkpoint'> = { training: false },
): Promise<Float32Array> {
  const tape = new Tape(on, { ...options, dropout: false });
  const bags = { features: tape.constant(features, [tokens, 12]), offsets: [0, tokens] };
  const { logits } = model.forward(tape, bags);
  const values = await on.read(logits);
  tape.close();
  return values;
}
