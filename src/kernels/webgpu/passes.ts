/**
 * How each kernel is dispatched: which shaders, one after another, with which constants and how many workgroups.
 *
 * A pass hands views to a shader by the names of its bindings (names it does not have are ignored) and numbers by the
 * names in its `struct Args`; offsets of views are filled in by the device.
 */
import type { KernelName } from '../kernels.ts';
import { addParts, type Call, columns, flat, type Pass, type Plan, partsOf, slabs, strided, window } from './pass.ts';
import { selectiveScan, selectiveScanBackward } from './scan-passes.ts';

export const passes: { readonly [K in KernelName]: Plan<K> } = {
  fill: elementwise('fill'),
  add: elementwise('add'),
  multiply: elementwise('multiply'),
  transpose: ({ views, params }) => [
    { shader: 'transpose', views, params, groups: flat(Math.ceil(params.r / 32) * Math.ceil(params.c / 32)) },
  ],
  matmul,
  *sumRows({ views, params, scratch }) {
    const { r, c } = params;
    const parts = partsOf(r);
    const part = scratch(parts * c);
    yield { shader: 'sumRows', views: { x: views.x, part }, params, groups: [columns(c), parts] };
    yield addParts(part, parts, views.out, 1);
  },
  activation: ({ views, params }) => [
    { shader: 'activation', views, params, constants: { KIND: params.kind }, groups: strided(params.n) },
  ],
  activationBackward: ({ views, params }) => [
    { shader: 'activationBackward', views, params, constants: { KIND: params.kind }, groups: strided(params.n) },
  ],
  dropout: ({ views, params }) => [
    {
      shader: 'dropout',
      views,
      params: { ...params, threshold: Math.min(2 ** 32 - 1, Math.floor(Math.fround(params.p) * 2 ** 32)) },
      groups: strided(params.n),
    },
  ],
  layerNorm: rowwise('layerNorm'),
  *layerNormBackward({ views, params, scratch }) {
    const { r, d } = params;
    const parts = partsOf(r);
    const part = scratch(2 * parts * d);
    yield { shader: 'layerNormWeights', views: { ...views, part }, params, groups: [columns(d), parts] };
    yield addParts(part, parts, views.dweight, 1);
    yield addParts(window(part, parts * d, parts * d), parts, views.dbias, 1);
    yield { shader: 'layerNormBackward', views, params, groups: flat(r) };
  },
  rmsNorm: rowwise('rmsNorm'),
  *rmsNormBackward({ views, params, scratch }) {
    const { r, d } = params;
    const parts = partsOf(r);
    const part = scratch(parts * d);
    // dsum may lie where dy or dres lies: the weights go first.
    yield { shader: 'rmsNormWeights', views: { ...views, part }, params, groups: [columns(d), parts] };
    yield addParts(part, parts, views.dweight, 1);
    yield { shader: 'rmsNormBackward', views, params, groups: flat(r) };
  },
  *conv1d({ views, params, gpu }) {
    const constants = { W: params.W, SILU: params.silu === 1, REVERSED: params.reversed === 1 };
    for (const { rows, ...slab } of slabs(params.D, params.L, gpu)) {
      yield {
        shader: 'conv1d',
        views: { ...views, x: rows(views.x), y: rows(views.y) },
        params: { ...params, ...slab },
        constants,
        groups: [Math.ceil(params.L / 256), slab.channels],
      };
    }
  },
  *conv1dBackward({ views, params, gpu }) {
    const LANES = params.L > 1024 ? 256 : 64;
    const constants = { W: params.W, SILU: params.silu === 1, REVERSED: params.reversed === 1, LANES };
    for (const { rows, ...slab } of slabs(params.D, params.L, gpu)) {
      yield {
        shader: 'conv1dBackward',
        views: { ...views, x: rows(views.x), dy: rows(views.dy), dx: rows(views.dx) },
        params: { ...params, ...slab },
        constants,
        groups: [slab.channels],
      };
    }
  },
  convTail: ({ views, params }) => [
    { shader: 'convTail', views, params, groups: [Math.ceil((params.D * (params.W - 1)) / 64)] },
  ],
  selectiveScan,
  selectiveScanBackward,
  *attentionPool({ views, params, scratch }) {
    const { L, d, bags } = params;
    const parts = partsOf(L / bags);
    const part = scratch(parts * bags * d);
    yield { shader: 'attentionPool', views, params, constants: { LANES: 256 }, groups: flat(bags) };
    yield {
      shader: 'weightedRows',
      views: { ...views, weights: views.attention, part },
      params,
      groups: [columns(d), Math.min(bags, 1024), parts],
    };
    yield addParts(part, parts, views.pooled, 0);
  },
  *attentionPoolBackward({ views, params, scratch }) {
    if (!params.L) return;
    const centred = scratch(params.L);
    yield { shader: 'attentionPoolBackward', views: { ...views, centred }, params, groups: flat(params.L) };
    yield {
      shader: 'attentionScoresBackward',
      views: { ...views, centred },
      params,
      constants: { LANES: 256 },
      groups: flat(params.bags),
    };
  },
  *attentionPoolChunk({ views, params, scratch }) {
    const { L, d } = params;
    if (!L) return;
    const parts = partsOf(L);
    const part = scratch(parts * d);
    const weights = scratch(L + 1);
    yield {
      shader: 'attentionPoolChunk',
      views: { ...views, weights },
      params,
      constants: { LANES: 256 },
      groups: [1],
    };
    yield {
      shader: 'weightedRows',
      views: { h: views.h, weights, part },
      params: { ...params, bags: 1 },
      groups: [columns(d), 1, parts],
    };
    yield {
      shader: 'attentionPoolChunkSum',
      views: { ...views, part, weights },
      params: { ...params, parts },
      groups: [columns(d)],
    };
  },
  *poolRows({ views, params, scratch }) {
    const { L, c, bags } = params;
    const parts = partsOf(L / bags);
    const part = scratch(parts * bags * c);
    const found = scratch(parts * bags * c);
    const constants = { MAXIMUM: params.kind === 1 };
    yield {
      shader: 'poolRows',
      views: { ...views, part, found },
      params,
      constants,
      groups: [columns(c), Math.min(bags, 1024), parts],
    };
    yield {
      shader: 'poolRowsEnd',
      views: { ...views, part, found },
      params: { ...params, parts },
      constants,
      groups: strided(bags * c, 64),
    };
  },
  poolRowsBackward: ({ views, params }) => [
    {
      shader: 'poolRowsBackward',
      views,
      params,
      constants: { MAXIMUM: params.kind === 1 },
      groups: strided(params.L * params.c),
    },
  ],
  softmaxRows: rowwise('softmaxRows'),
  softmaxRowsBackward: rowwise('softmaxRowsBackward'),
  gatherRows: ({ views, params }) => [{ shader: 'gatherRows', views, params, groups: strided(params.n * params.c) }],
  *scatterRows({ views, params, scratch }) {
    const { n, c } = params;
    const r = views.dx!.length / c;
    const seen = scratch(2 * r);
    yield { shader: 'fill', views: { x: seen }, params: { n: 2 * r, value: 0 }, groups: strided(2 * r) };
    yield { shader: 'scatterCount', views: { ...views, seen }, params, groups: strided(n) };
    yield { shader: 'scatterRows', views: { ...views, seen }, params: { ...params, r }, groups: strided(r * c) };
  },
  gatherColumns: ({ views, params }) => [
    { shader: 'gatherColumns', views, params, groups: strided(params.r * params.n) },
  ],
  argmaxRows: rowwise('argmaxRows'),
  topK: ({ views, params }) => [
    {
      shader: 'topK',
      views,
      params,
      constants: { LANES: 256, SIGN: params.largest ? 1 : -1 },
      groups: [Math.min(1, params.n)],
    },
  ],
  conv2d: ({ views, params }) => [
    {
      shader: 'conv2d',
      views,
      params: { ...params, accumulate: 0 },
      groups: strided(params.C * params.H * params.W),
    },
  ],
  *conv2dBackward({ views, params }) {
    const { C, H, W, kh, kw } = params;
    yield { shader: 'conv2dWeights', views, params, groups: flat(C * (kh * kw + 1)) };
    yield {
      shader: 'conv2d',
      views: { x: views.dy, weight: views.weight, y: views.dx },
      params,
      constants: { FLIPPED: true },
      groups: strided(C * H * W),
    };
  },
  crossEntropy: ({ views, params }) => [{ shader: 'crossEntropy', views, params, groups: [1] }],
  survivalLoss: ({ views, params }) => [{ shader: 'survivalLoss', views, params, groups: [1] }],
  *squaredNorm({ views, params, scratch }) {
    const parts = Math.max(1, Math.min(256, Math.ceil(params.n / 256)));
    const part = scratch(parts);
    yield { shader: 'squaredNorm', views: { ...views, part }, params, groups: [parts] };
    yield addParts(part, parts, views.out, 1);
  },
  adam: ({ views, params }) => [
    {
      shader: 'adam',
      views,
      params: { ...params, rest1: 1 - params.beta1, rest2: 1 - params.beta2 },
      groups: strided(params.n),
    },
  ],
  sgd: elementwise('sgd'),
};

/** A kernel that is one shader over n elements. */
function elementwise<K extends KernelName>(shader: K): Plan<K> {
  return ({ views, params }) => [{ shader, views, params, groups: strided((params as { n: number }).n) }];
}

/** A kernel that is one shader with a workgroup for each of r rows. */
function rowwise<K extends KernelName>(shader: K): Plan<K> {
  return ({ views, params }) => [{ shader, views, params, groups: flat((params as { r: number }).r) }];
}

function* matmul({ views, params, gpu, scratch }: Call<'matmul'>): Iterable<Pass> {
  const { m, n, k, transA, transB } = params;
  const constants = { ACTIVATION: params.activation };
  if (!transA && transB && (Math.min(m, n) <= 4 || m * n <= 1024)) {
    yield { shader: 'matmulThin', views, params, constants, groups: flat(m * n) };
    return;
  }
  // The largest blocks that still give every core of a large GPU one.
  const blocks = (size: number) => Math.ceil(m / size) * Math.ceil(n / size);
  const [S, Q] = blocks(128) >= 256 ? [16, 2] : blocks(64) >= 64 ? [16, 1] : [8, 1];
  const size = 4 * S * Q;
  const DEPTH = S / Q;
  const groups = [Math.ceil(n / size), Math.ceil(m / size)] as const;
  const shape = { TRANS_A: transA === 1, TRANS_B: transB === 1, S, Q };
  // Few blocks and a long k (gradients of weights): several workgroups share a block, each with a part of k.
  const parts = blocks(size) >= 128 ? 1 : Math.min(Math.ceil(256 / blocks(size)), Math.floor(k / 512));
  if (parts <= 1 || parts * m * n * 4 > gpu.maxBinding) {
    yield { shader: 'matmul', views, params: { ...params, depth: k }, constants: { ...shape, ...constants }, groups };
    return;
  }
  const depth = Math.ceil(k / parts / DEPTH) * DEPTH;
  const used = Math.ceil(k / depth);
  const part = scratch(used * m * n);
  yield {
    shader: 'matmul',
    views: { A: views.A, B: views.B, C: part },
    params: { ...params, accumulate: 0, depth },
    constants: { ...shape, SPLIT: true },
    groups: [...groups, used],
  };
  yield {
    shader: 'sumParts',
    views: { ...views, part },
    params: { ...params, parts: used },
    constants,
    groups: strided(m * n, 64),
  };
}
