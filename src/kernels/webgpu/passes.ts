/**
 * How each kernel is dispatched: which shaders, one after another, with which constants and how many workgroups.
 *
 * A pass hands views to a shader by the names of its bindings (names it does not have are ignored) and numbers by the
 * names in its `struct Args`; offsets of views are filled in by the device. What has more rows than a binding can hold goes by
 * bands of rows (`bands`), each with its own pass.
 */
import type { View } from '../device.ts';
import type { KernelName } from '../kernels.ts';
import {
  addParts,
  bands,
  type Call,
  type Capabilities,
  columns,
  flat,
  type Pass,
  type Plan,
  partsOf,
  rowsInBinding,
  slabs,
  strided,
  type Views,
  window,
} from './pass.ts';
import { selectiveScan, selectiveScanBackward } from './scan-passes.ts';
import type { Constants } from './shader.ts';

export const passes: { readonly [K in KernelName]: Plan<K> } = {
  fill: elementwise('fill'),
  add: elementwise('add'),
  multiply: elementwise('multiply'),
  *transpose({ views: { x, y }, params: { r, c }, gpu }) {
    const [most, mostOfY] = [rowsInBinding(c, gpu), rowsInBinding(r, gpu)];
    for (const [top, rows] of pieces(r, most)) {
      for (const [left, width] of pieces(c, mostOfY)) {
        yield {
          shader: 'transpose',
          views: { x: block(x, c, [top, rows], [left, width]), y: block(y, r, [left, width], [top, rows]) },
          params: { r: rows, c: width, x_stride: c, y_stride: r },
          groups: flat(Math.ceil(rows / 32) * Math.ceil(width / 32)),
        };
      }
    }
  },
  matmul,
  *sumRows({ views, params, gpu, scratch }) {
    const { r, c } = params;
    const part = scratch(partsOf(r) * c);
    for (const { rows, of } of bands(r, { x: c }, gpu)) {
      const parts = partsOf(rows);
      yield { shader: 'sumRows', views: { ...of(views), part }, params: { r: rows, c }, groups: [columns(c), parts] };
      yield addParts(part, parts, views.out, 1);
    }
  },
  activation: elementwise('activation', [], ({ kind }) => ({ KIND: kind })),
  activationBackward: elementwise('activationBackward', [], ({ kind }) => ({ KIND: kind })),
  dropout: ({ params, ...call }) => {
    const threshold = Math.min(2 ** 32 - 1, Math.floor(Math.fround(params.p) * 2 ** 32));
    return elementwise('dropout')({ ...call, params: { ...params, threshold } as typeof params });
  },
  layerNorm: rowwise('layerNorm', ({ d }) => ({ x: d, y: d, stats: 2 })),
  *layerNormBackward({ views, params, gpu, scratch }) {
    const { r, d } = params;
    const part = scratch(2 * partsOf(r) * d);
    for (const { rows, of } of bands(r, { x: d, dy: d, stats: 2, dx: d }, gpu)) {
      const [band, parts] = [{ views: { ...of(views), part }, params: { ...params, r: rows } }, partsOf(rows)];
      yield { shader: 'layerNormWeights', ...band, groups: [columns(d), parts] };
      yield addParts(part, parts, views.dweight, 1);
      yield addParts(window(part, parts * d, parts * d), parts, views.dbias, 1);
      yield { shader: 'layerNormBackward', ...band, groups: flat(rows) };
    }
  },
  rmsNorm: rowwise('rmsNorm', ({ d }) => ({ x: d, residual: d, y: d, sum: d, rstd: 1 })),
  *rmsNormBackward({ views, params, gpu, scratch }) {
    const { r, d } = params;
    const part = scratch(partsOf(r) * d);
    for (const { rows, of } of bands(r, { sum: d, dy: d, dres: d, rstd: 1, dsum: d }, gpu)) {
      const [band, parts] = [{ views: { ...of(views), part }, params: { ...params, r: rows } }, partsOf(rows)];
      // dsum may lie where dy or dres lies: the weights go first.
      yield { shader: 'rmsNormWeights', ...band, groups: [columns(d), parts] };
      yield addParts(part, parts, views.dweight, 1);
      yield { shader: 'rmsNormBackward', ...band, groups: flat(rows) };
    }
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
  *convTail({ views, params, gpu }) {
    const { D, L, W } = params;
    for (const { rows, of } of bands(D, { x: L, tailIn: W - 1, tailOut: W - 1 }, gpu)) {
      const groups = [Math.ceil((rows * (W - 1)) / 64)] as const;
      yield { shader: 'convTail', views: of(views), params: { ...params, D: rows }, groups };
    }
  },
  selectiveScan,
  selectiveScanBackward,
  *attentionPool(call) {
    const { views, params } = call;
    yield { shader: 'attentionPool', views, params, constants: { LANES: 256 }, groups: flat(params.bags) };
    const { part, parts, sums } = poolPasses(call, 'weightedRows', { h: params.d }, params);
    yield* sums({ ...views, weights: views.attention });
    yield addParts(part, parts, views.pooled, 0);
  },
  *attentionPoolBackward({ views, params, gpu, scratch }) {
    const { L, d } = params;
    if (!L) return;
    const centred = scratch(L);
    for (const { row0, rows, of } of bands(L, { h: d, dh: d }, gpu)) {
      const band = { views: { ...of(views), centred }, params: { ...params, row0, rows } };
      yield { shader: 'attentionPoolBackward', ...band, groups: flat(rows) };
    }
    yield {
      shader: 'attentionScoresBackward',
      views: { ...views, centred },
      params,
      constants: { LANES: 256 },
      groups: flat(params.bags),
    };
  },
  *attentionPoolChunk(call) {
    const { views, params, scratch } = call;
    const { L, d } = params;
    if (!L) return;
    const weights = scratch(L + 1);
    yield {
      shader: 'attentionPoolChunk',
      views: { ...views, weights },
      params,
      constants: { LANES: 256 },
      groups: [1],
    };
    const { part, parts, sums } = poolPasses(call, 'weightedRows', { h: d }, { ...params, bags: 1 });
    yield* sums({ h: views.h, weights });
    yield {
      shader: 'attentionPoolChunkSum',
      views: { ...views, part, weights },
      params: { ...params, parts },
      groups: [columns(d)],
    };
  },
  *poolRows(call) {
    const { views, params, scratch } = call;
    const { L, c, bags } = params;
    const constants = { MAXIMUM: params.kind === 1 };
    const { part, parts, sums } = poolPasses(call, 'poolRows', { x: c }, { L, bags, d: c }, constants);
    const found = scratch(part.length);
    yield* sums(views, found);
    yield {
      shader: 'poolRowsEnd',
      views: { ...views, part, found },
      params: { ...params, parts },
      constants,
      groups: strided(bags * c, 64),
    };
  },
  *poolRowsBackward({ views, params, gpu }) {
    const { L, c, kind } = params;
    for (const { row0, rows, of } of bands(L, { dx: c }, gpu)) {
      yield {
        shader: 'poolRowsBackward',
        views: of(views),
        params: { ...params, row0, count: rows },
        constants: { MAXIMUM: kind === 1 },
        groups: strided(rows * c),
      };
    }
  },
  softmaxRows: rowwise('softmaxRows', ({ c }) => ({ x: c, y: c })),
  softmaxRowsBackward: rowwise('softmaxRowsBackward', ({ c }) => ({ y: c, dy: c, dx: c })),
  *gatherRows({ views, params, gpu }) {
    const { n, c, accumulate } = params;
    // A row of y comes from one band of x; to the others it adds nothing.
    for (const from of bands(views.x!.length / c, { x: c }, gpu)) {
      for (const to of bands(n, { index: 1, y: c }, gpu)) {
        yield {
          shader: 'gatherRows',
          views: { ...to.of(views), x: from.of(views).x },
          params: { n: to.rows, c, accumulate: from.row0 ? 1 : accumulate, row0: from.row0, rows: from.rows },
          groups: strided(to.rows * c),
        };
      }
    }
  },
  *scatterRows({ views, params, gpu, scratch }) {
    const { n, c } = params;
    const r = views.dx!.length / c;
    const seen = scratch(2 * r);
    yield* elements({ shader: 'fill', views: { x: seen }, params: { value: 0 } }, 2 * r, gpu);
    yield { shader: 'scatterCount', views: { ...views, seen }, params, groups: strided(n) };
    for (const to of bands(r, { dx: c }, gpu)) {
      for (const from of bands(n, { dy: c }, gpu)) {
        yield {
          shader: 'scatterRows',
          views: { ...to.of(views), dy: from.of(views).dy, seen },
          params: { rows: to.rows, row0: to.row0, c, n, n0: from.row0, n1: from.row0 + from.rows },
          groups: strided(to.rows * c),
        };
      }
    }
  },
  *gatherColumns({ views, params, gpu }) {
    const { r, L, n } = params;
    for (const { rows, of } of bands(r, { x: L, y: n }, gpu))
      yield { shader: 'gatherColumns', views: of(views), params: { ...params, r: rows }, groups: strided(rows * n) };
  },
  argmaxRows: rowwise('argmaxRows', ({ c }) => ({ x: c, index: 1 })),
  topK: ({ views, params }) => [
    {
      shader: 'topK',
      views,
      params,
      constants: { LANES: 256, SIGN: params.largest ? 1 : -1 },
      groups: [Math.min(1, params.n)],
    },
  ],
  *conv2d({ views, params, gpu }) {
    const area = params.H * params.W;
    for (const { rows, of } of bands(params.C, { x: area, y: area, weight: params.kh * params.kw, bias: 1 }, gpu)) {
      yield {
        shader: 'conv2d',
        views: of(views),
        params: { ...params, C: rows, accumulate: 0 },
        groups: strided(rows * area),
      };
    }
  },
  *conv2dBackward({ views, params, gpu }) {
    const [area, taps] = [params.H * params.W, params.kh * params.kw];
    const widths = { x: area, dy: area, dx: area, weight: taps, dweight: taps, dbias: 1 };
    for (const { rows, of } of bands(params.C, widths, gpu)) {
      const [band, own] = [of(views), { ...params, C: rows }];
      yield { shader: 'conv2dWeights', views: band, params: own, groups: flat(rows * (taps + 1)) };
      yield {
        shader: 'conv2d',
        views: { x: band.dy, weight: band.weight, y: band.dx },
        params: own,
        constants: { FLIPPED: true },
        groups: strided(rows * area),
      };
    }
  },
  crossEntropy: ({ views, params }) => [{ shader: 'crossEntropy', views, params, groups: [1] }],
  survivalLoss: ({ views, params }) => [{ shader: 'survivalLoss', views, params, groups: [1] }],
  *squaredNorm({ views, params, gpu, scratch }) {
    const most = (n: number) => Math.max(1, Math.min(256, Math.ceil(n / 256)));
    const part = scratch(most(params.n));
    for (const { rows, of } of bands(params.n, { g: 1 }, gpu)) {
      const parts = most(rows);
      yield { shader: 'squaredNorm', views: { ...of(views), part }, params: { n: rows }, groups: [parts] };
      yield { shader: 'squaredNormEnd', views: { part, out: views.out }, params: { parts }, groups: [1] };
    }
  },
  adam: ({ params, ...call }) =>
    elementwise('adam', ['squaredNorm'])({
      ...call,
      params: { ...params, rest1: 1 - params.beta1, rest2: 1 - params.beta2 } as typeof params,
    }),
  sgd: elementwise('sgd'),
};

/** A kernel that is one shader over n elements of each view but those named `whole`. */
function elementwise<K extends KernelName>(
  shader: K,
  whole: readonly string[] = [],
  constants?: (params: Call<K>['params']) => Constants,
): Plan<K> {
  return ({ views, params, gpu }) =>
    elements(
      { shader, views, params, ...(constants && { constants: constants(params) }) },
      (params as { n: number }).n,
      gpu,
      whole,
    );
}

/** A pass over n elements of each view but those named `whole`; the shader may ask for the `first` of a band. */
function* elements(
  pass: Omit<Pass, 'groups'>,
  n: number,
  gpu: Capabilities,
  whole: readonly string[] = [],
): Iterable<Pass> {
  const names = Object.keys(pass.views).filter((name) => !whole.includes(name));
  const widths = Object.fromEntries(names.map((name) => [name, 1]));
  for (const { row0, rows, of } of bands(n, widths, gpu))
    yield { ...pass, views: of(pass.views), params: { ...pass.params, n: rows, first: row0 }, groups: strided(rows) };
}

/** A kernel that is one shader with a workgroup for each of r rows; `widths` as of `bands`. */
function rowwise<K extends KernelName>(
  shader: K,
  widths: (params: Call<K>['params']) => Readonly<Record<string, number>>,
): Plan<K> {
  return function* ({ views, params, gpu }) {
    for (const { rows, of } of bands((params as { r: number }).r, widths(params), gpu))
      yield { shader, views: of(views), params: { ...params, r: rows }, groups: flat(rows) };
  };
}

/**
 * How sums over the rows of bags begin: `sums` are the passes that leave `part` (parts, bags, d). Parts of a later band come
 * after those of an earlier one, and so in the order of the rows.
 */
function poolPasses(
  { gpu, scratch }: Pick<Call<KernelName>, 'gpu' | 'scratch'>,
  shader: 'weightedRows' | 'poolRows',
  widths: Readonly<Record<string, number>>,
  { L, d, bags }: { L: number; d: number; bags: number },
  constants: Constants = {},
) {
  const all = [...bands(L, widths, gpu)];
  const partsOfBand = partsOf(L / bags);
  const length = partsOfBand * bags * d;
  const part = scratch(all.length * length);
  const sums = (views: Pass['views'], found: View | null = null): Pass[] =>
    all.map(({ row0, rows, of }, i) => ({
      shader,
      views: {
        ...of(views),
        part: window(part, i * length, length),
        found: found && window(found, i * length, length),
      },
      params: { L, d, c: d, bags, row0, rows },
      constants,
      groups: [columns(d), Math.min(bags, 1024), partsOfBand],
    }));
  return { part, parts: all.length * partsOfBand, sums };
}

/** Where pieces of at most `most` begin, and how long they are. */
function* pieces(n: number, most: number): Iterable<[number, number]> {
  for (let first = 0; first < n; first += most) yield [first, Math.min(most, n - first)];
}

/** Some rows and columns of a matrix in which a row follows the other after `stride` elements. */
function block(
  matrix: View | null,
  stride: number,
  [row0, rows]: readonly [number, number],
  [column0, columns]: readonly [number, number],
): View | null {
  return matrix && window(matrix, row0 * stride + column0, (rows - 1) * stride + columns);
}

/**
 * Where C, A or B has more rows than a binding can hold, by blocks: of rows and columns of C, which change no sum, and of k, which
 * are added up in C.
 */
function* matmul(call: Call<'matmul'>): Iterable<Pass> {
  const { views, params, gpu } = call;
  const { m, n, k, transA, transB } = params;
  const most = (width: number) => rowsInBinding(width, gpu);
  const all = Number.POSITIVE_INFINITY;
  const mostK = Math.min(transA ? most(m) : all, transB ? all : most(n));
  for (const rows of pieces(m, Math.min(most(n), transA ? all : most(k)))) {
    for (const columns of pieces(n, transB ? most(k) : all)) {
      for (const [first, length] of pieces(Math.max(1, k), mostK)) {
        const [depth, last] = [[first, Math.min(k, length)] as const, first + length >= k];
        yield* matmulBlock(
          { ...call, params: { ...params, accumulate: first ? 1 : params.accumulate } },
          {
            A: transA ? block(views.A, m, depth, rows) : block(views.A, k, rows, depth),
            B: transB ? block(views.B, k, columns, depth) : block(views.B, n, depth, columns),
            bias: last && views.bias ? window(views.bias, ...columns) : null,
            C: block(views.C, n, rows, columns),
          },
          { m: rows[1], n: columns[1], k: depth[1], ACTIVATION: last ? params.activation : -1 },
        );
      }
    }
  }
}

/** A block of a product, of m rows, n columns and a part k of the sums; how it is shared out depends on the whole. */
function* matmulBlock(
  { params: whole, gpu, scratch }: Call<'matmul'>,
  views: Views<'matmul'>,
  { m, n, k, ACTIVATION }: { m: number; n: number; k: number; ACTIVATION: number },
): Iterable<Pass> {
  const { transA, transB, accumulate } = whole;
  const constants = { ACTIVATION };
  const params = {
    ...{ m, n, k, accumulate },
    A_stride: transA ? whole.m : whole.k,
    B_stride: transB ? whole.k : whole.n,
    C_stride: whole.n,
  };
  if (!transA && transB && (Math.min(whole.m, whole.n) <= 4 || whole.m * whole.n <= 1024)) {
    yield { shader: 'matmulThin', views, params, constants, groups: flat(m * n) };
    return;
  }
  // The largest blocks that still give every core of a large GPU one.
  const blocks = (size: number) => Math.ceil(whole.m / size) * Math.ceil(whole.n / size);
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
    params: { ...params, accumulate: 0, depth, C_stride: n },
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
