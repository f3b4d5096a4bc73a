/**
 * How each kernel is dispatched: which shaders, one after another, with which constants and how many workgroups.
 *
 * A pass hands views to a shader by the names of its bindings (names it does not have are ignored) and numbers by the
 * names in its `struct Args`; offsets of views are filled in by the device.
 */
import type { KernelName } from '../kernels.ts';
import { type Call, flat, type Pass, type Plan, strided } from './pass.ts';
import { selectiveScan } from './scan-passes.ts';

export const passes: { readonly [K in KernelName]: Plan<K> } = {
  fill: ({ views, params }) => [{ shader: 'fill', views, params, groups: strided(params.n) }],
  add: ({ views, params }) => [{ shader: 'add', views, params, groups: strided(params.n) }],
  multiply: ({ views, params }) => [{ shader: 'multiply', views, params, groups: strided(params.n) }],
  transpose: ({ views, params }) => [
    { shader: 'transpose', views, params, groups: flat(Math.ceil(params.r / 32) * Math.ceil(params.c / 32)) },
  ],
  matmul,
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
      params: { ...params, threshold: Math.min(2 ** 32 - 1, Math.floor(params.p * 2 ** 32)) },
      groups: strided(params.n),
    },
  ],
  selectiveScan,
};

function* matmul({ views, params, gpu, scratch }: Call<'matmul'>): Iterable<Pass> {
  const { m, n, k, transA, transB } = params;
  const constants = { ACTIVATION: params.activation };
  if (!transA && transB && (Math.min(m, n) <= 4 || m * n <= 1024)) {
    yield { shader: 'matmulThin', views, params, constants, groups: flat(m * n) };
    return;
  }
  const blocks = (size: number) => Math.ceil(m / size) * Math.ceil(n / size);
  const Q = blocks(128) >= 256 ? 2 : 1;
  const DEPTH = 16 / Q;
  const groups = [Math.ceil(n / (64 * Q)), Math.ceil(m / (64 * Q))] as const;
  const shape = { TRANS_A: transA === 1, TRANS_B: transB === 1, Q, DEPTH };
  // Few blocks and a long k (gradients of weights): several workgroups share a block, each with a part of k.
  const parts = blocks(64) >= 128 ? 1 : Math.min(Math.ceil(256 / blocks(64)), Math.floor(k / 512));
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
    shader: 'matmulSum',
    views: { ...views, part },
    params: { ...params, parts: used },
    constants,
    groups: strided(m * n, 64),
  };
}
