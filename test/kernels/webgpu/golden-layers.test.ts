import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { activations } from '../../../src/kernels/kernels.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { packedOffsets } from '../../golden/scan-cases.ts';
import {
  expectGolden,
  type GoldenCase,
  goldenCases,
  goldenInput,
  goldenOutput,
  withoutGolden,
} from '../golden-cases.ts';
import { type HostArray, type Outputs, runKernel } from '../run-kernel.ts';
import { sideBySide } from '../scan-cases.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

const f32 = (n: number) => new Float32Array(n);
const reason = withoutSwiftShader ?? withoutGolden;

describe.skipIf(reason)(`kernels in WGSL on golden layers ${reason ?? ''}`, () => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await openSwiftShader();
  });
  afterAll(() => device.close());
  const run = (
    kernel: Parameters<typeof runKernel>[1],
    views: Record<string, HostArray | null>,
    params: Record<string, number>,
  ): Promise<Outputs> => runKernel(device, kernel, views, params);
  const each = (kind: string, test: (c: GoldenCase, take: (name: string) => Float32Array) => Promise<void>) =>
    it.each(goldenCases(kind).map((c) => [c.name, c] as const))('%s', (_, c) =>
      test(c, (name) => goldenInput(c, name)!),
    );

  each('causal_conv1d', async (c, take) => {
    const { B, L, D, W } = c.dims as { B: number; L: number; D: number; W: number };
    const bounds = packedOffsets(B, L, c.cu_seqlens ?? null);
    const wide = (name: string) => sideBySide(take(name), B, D, L);
    const back = (x: HostArray) => sideBySide(x, D, B, L);
    const bias = goldenInput(c, 'bias');
    const offsets = Int32Array.from(bounds);
    const params = { D, L: B * L, W, bags: bounds.length - 1, silu: Number(c.silu), reversed: 0 };
    const inputs = { x: wide('x'), weight: take('weight'), bias, offsets };
    const { y } = await run('conv1d', { ...inputs, tail: null, y: f32(B * L * D) }, params);
    expectGolden(c, 'y', back(y!));
    const gradients = { dx: f32(B * L * D), dweight: f32(D * W), dbias: bias && f32(D) };
    const got = await run('conv1dBackward', { ...inputs, dy: wide('dy'), ...gradients }, { ...params, accumulate: 0 });
    expectGolden(c, 'dx', back(got.dx!));
    expectGolden(c, 'dweight', got.dweight!);
    if (bias) expectGolden(c, 'dbias', got.dbias!);
  });

  each('layer_norm', async (c, take) => {
    const { rows: r, D: d } = c.dims as { rows: number; D: number };
    const [x, weight, bias, dy] = [take('x'), take('weight'), take('bias'), take('dy')];
    const { y, stats } = await run(
      'layerNorm',
      { x, weight, bias, y: f32(r * d), stats: f32(2 * r) },
      { r, d, eps: c.eps as number },
    );
    expectGolden(c, 'y', y!);
    const outputs = { dx: f32(r * d), dweight: f32(d), dbias: f32(d) };
    const got = await run('layerNormBackward', { x, weight, dy, stats: stats!, ...outputs }, { r, d, accumulate: 0 });
    for (const name of ['dx', 'dweight', 'dbias']) expectGolden(c, name, got[name]!);
  });

  for (const kind of ['rms_norm', 'add_rms_norm']) {
    each(kind, async (c, take) => {
      const { rows: r, D: d } = c.dims as { rows: number; D: number };
      const [x, weight, dy] = [take('x'), take('weight'), take('dy')];
      const [residual, dres] = [goldenInput(c, 'residual'), goldenInput(c, 'dres')];
      const outputs = { y: f32(r * d), sum: residual && f32(r * d), rstd: f32(r) };
      const got = await run('rmsNorm', { x, residual, weight, ...outputs }, { r, d, eps: c.eps as number });
      expectGolden(c, 'y', got.y!);
      if (residual) expectGolden(c, 'residual_out', got.sum!);
      const views = { sum: got.sum ?? x, weight, dy, dres, rstd: got.rstd!, dsum: f32(r * d), dweight: f32(d) };
      const back = await run('rmsNormBackward', views, { r, d, accumulate: 0 });
      expectGolden(c, 'dx', back.dsum!);
      expectGolden(c, 'dweight', back.dweight!);
    });
  }

  each('attention_pool', async (c, take) => {
    const { L, D: d, H } = c.dims as { L: number; D: number; H: number };
    const h = take('h');
    const layer = (A: HostArray, B: HostArray, bias: HostArray, n: number, k: number, activation: number) =>
      run('matmul', { A, B, bias, C: f32(L * n) }, { m: L, n, k, transA: 0, transB: 1, accumulate: 0, activation });
    const hidden = await layer(
      h,
      take('attention.0.weight'),
      take('attention.0.bias'),
      H,
      d,
      activations.indexOf('tanh'),
    );
    const scores = (await layer(hidden.C!, take('attention.2.weight'), take('attention.2.bias'), 1, H, -1)).C!;
    expectGolden(c, 'attn_raw', scores);
    const offsets = Int32Array.of(0, L);
    const { attention, pooled } = await run(
      'attentionPool',
      { h, scores, offsets, attention: f32(L), pooled: f32(d) },
      { L, d, bags: 1 },
    );
    expectGolden(c, 'attn', attention!);
    expectGolden(c, 'M', pooled!);
    const views = {
      h,
      attention: attention!,
      offsets,
      pooled: pooled!,
      dpooled: take('dM'),
      dh: f32(L * d),
      dscores: f32(L),
    };
    const back = await run('attentionPoolBackward', views, { L, d, bags: 1, accumulateH: 0, accumulateScores: 0 });
    // Down to the first layer: dW2 = dscores^T hidden, dhidden = dscores w2, through tanh, dh += d W1.
    const product = (
      A: HostArray,
      B: HostArray,
      C: HostArray,
      m: number,
      n: number,
      k: number,
      transA: number,
      accumulate: number,
    ) => run('matmul', { A, B, bias: null, C }, { m, n, k, transA, transB: 0, accumulate, activation: -1 });
    const dw2 = await product(back.dscores!, hidden.C!, f32(H), 1, H, L, 1, 0);
    expectGolden(c, 'dattention.2.weight', dw2.C!);
    const db2 = await run('sumRows', { x: back.dscores!, out: f32(1) }, { r: L, c: 1 });
    expectGolden(c, 'dattention.2.bias', db2.out!);
    const dhidden = await product(back.dscores!, take('attention.2.weight'), f32(L * H), L, H, 1, 0, 0);
    const n = L * H;
    const slope = { x: hidden.C!, y: hidden.C!, dy: dhidden.C!, dx: f32(n) };
    const dpre = await run('activationBackward', slope, { n, kind: activations.indexOf('tanh'), accumulate: 0 });
    expectGolden(c, 'dattention.0.weight', (await product(dpre.dx!, h, f32(H * d), H, d, L, 1, 0)).C!);
    expectGolden(c, 'dattention.0.bias', (await run('sumRows', { x: dpre.dx!, out: f32(H) }, { r: L, c: H })).out!);
    expectGolden(c, 'dh', (await product(dpre.dx!, take('attention.0.weight'), back.dh!, L, d, H, 0, 1)).C!);
  });

  each('activation', async (c, take) => {
    const x = take('x');
    const n = x.length;
    const kind = activations.indexOf(c.op as (typeof activations)[number]);
    const { y } = await run('activation', { x, y: f32(n) }, { n, kind });
    expectGolden(c, 'y', y!);
    const dy = goldenInput(c, 'dy') ?? f32(n).fill(1);
    const { dx } = await run('activationBackward', { x, y: y!, dy, dx: f32(n) }, { n, kind, accumulate: 0 });
    expectGolden(c, 'dx', dx!);
  });

  each('cross_entropy', async (c, take) => {
    const classes = c.classes as number;
    const views = { logits: take('logits'), labels: Int32Array.of(c.label as number), weights: null };
    const got = await run(
      'crossEntropy',
      { ...views, loss: f32(1), dlogits: f32(classes) },
      { b: 1, c: classes, scale: 1 },
    );
    expectGolden(c, 'loss', got.loss!);
    expectGolden(c, 'dlogits', got.dlogits!);
  });

  each('nll_surv', async (c, take) => {
    const n = c.classes as number;
    const views = {
      logits: take('logits'),
      bins: Int32Array.of(c.bin as number),
      censored: Int32Array.of(c.censored as number),
      loss: f32(1),
      dlogits: f32(n),
      hazards: f32(n),
      survival: f32(n),
      risk: f32(1),
    };
    const got = await run('survivalLoss', views, { b: 1, c: n, alpha: c.alpha as number, scale: 1 });
    for (const name of ['loss', 'dlogits', 'hazards', 'risk']) expectGolden(c, name, got[name]!);
    expectGolden(c, 'S', got.survival!);
  });

  each('optimizer', async (c, take) => {
    const gradients = take('g');
    let w: HostArray = take('w0');
    const n = w.length;
    let [m, v]: HostArray[] = [f32(n), f32(n)];
    const [beta1, beta2] = c.betas as [number, number];
    const { lr, weight_decay: decay, eps } = c as unknown as Record<string, number>;
    const steps = gradients.length / n;
    const all = f32(gradients.length);
    for (let step = 1; step <= steps; step++) {
      const g = gradients.slice((step - 1) * n, step * n);
      if (c.op === 'sgd') {
        // v = 0.9 v + g + decay w; w -= lr v
        m = (await run('add', { a: m!, b: g, y: f32(n) }, { n, alpha: 0.9, beta: 1 })).y!;
        m = (await run('add', { a: m, b: w, y: f32(n) }, { n, alpha: 1, beta: decay! })).y!;
        w = (await run('sgd', { w, g: m }, { n, lr: lr!, decay: 0 })).w!;
      } else {
        const corrections = { correction1: 1 - beta1 ** step, correction2: 1 - beta2 ** step };
        const params = {
          n,
          lr: lr!,
          beta1,
          beta2,
          eps: eps!,
          decay: decay!,
          ...corrections,
          decoupled: Number(c.op === 'adamw'),
          maxNorm: 0,
        };
        const next: Outputs = await run('adam', { w, g, m: m!, v: v!, squaredNorm: null }, params);
        [w, m, v] = [next.w!, next.m!, next.v!];
      }
      all.set(w, (step - 1) * n);
    }
    expect(goldenOutput(c, 'w').length).toBe(all.length);
    expectGolden(c, 'w', all);
  });
});
