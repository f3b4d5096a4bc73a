import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import * as reference from '../reference/layers.ts';
import { gradient } from '../reference/layers.ts';
import { expectClose, type HostArray, type Outputs, randomArray, runKernel } from '../run-kernel.ts';
import { openSwiftShader, withoutSwiftShader } from './swiftshader.ts';

const zeros = (n: number) => new Float64Array(n);
const plus = (a: ArrayLike<number>, b: ArrayLike<number>) => Float64Array.from(a, (v, i) => v + b[i]!);
const f32 = (n: number, fill = 0) => new Float32Array(n).fill(fill);

describe.skipIf(withoutSwiftShader)(`layers in WGSL ${withoutSwiftShader ?? ''}`, () => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await openSwiftShader();
  });
  afterAll(() => device.close());
  type Name = Parameters<typeof runKernel>[1];
  const run = (
    kernel: Name,
    views: Record<string, HostArray | null>,
    params: Record<string, number>,
  ): Promise<Outputs> => runKernel(device, kernel, views, params);

  it.each([
    { D: 3, L: 1, W: 4, offsets: [0, 1], silu: true, reversed: false },
    { D: 2, L: 50, W: 4, offsets: [0, 1, 3, 20, 50], silu: true, reversed: false },
    { D: 3, L: 300, W: 3, offsets: [0, 2, 300], silu: false, reversed: true },
    { D: 2, L: 37, W: 4, offsets: [0, 17, 17, 37], silu: true, reversed: true },
  ])('conv1d $L tokens, width $W, reversed $reversed', async (s) => {
    const { D, L, W } = s;
    const params = { D, L, W, bags: s.offsets.length - 1, silu: Number(s.silu), reversed: Number(s.reversed) };
    const offsets = Int32Array.from(s.offsets);
    const [x, weight] = [randomArray(1, D * L), randomArray(2, D * W)];
    for (const bias of [null, randomArray(3, D)]) {
      const { y } = await run('conv1d', { x, weight, bias, offsets, tail: null, y: f32(D * L) }, params);
      expectClose(y!, reference.conv1d(s, x, weight, bias, null), 2e-6, 'y');

      const dy = randomArray(4, D * L);
      const [dx, dweight, dbias] = [randomArray(5, D * L), randomArray(6, D * W), bias && randomArray(7, D)];
      const back = { x, weight, bias, offsets, dy, dx, dweight, dbias };
      for (const accumulate of [0, 1]) {
        const got = await run('conv1dBackward', back, { ...params, accumulate });
        const wanted = gradient((v) => reference.conv1d(s, v, weight, bias, null), x, dy);
        expectClose(got.dx!, plus(wanted, accumulate ? dx : zeros(D * L)), 5e-6, 'dx');
        const dw = gradient((v) => reference.conv1d(s, x, v, bias, null), weight, dy);
        expectClose(got.dweight!, plus(dw, dweight), 5e-6, 'dweight');
        if (!bias) continue;
        const db = gradient((v) => reference.conv1d(s, x, weight, v, null), bias, dy);
        expectClose(got.dbias!, plus(db, dbias!), 5e-6, 'dbias');
      }
    }
  });

  it.each([0, 1])('conv1d by pieces equals conv1d of the whole, reversed %i', async (reversed) => {
    const [D, L, W] = [3, 23, 4];
    const [x, weight] = [randomArray(1, D * L), randomArray(2, D * W)];
    const whole = reference.conv1d(
      { D, L, W, offsets: [0, L], silu: true, reversed: reversed === 1 },
      x,
      weight,
      null,
      null,
    );
    // Pieces in scan order; one is shorter than the tail.
    const cuts = reversed
      ? [
          [21, 23],
          [4, 21],
          [0, 4],
        ]
      : [
          [0, 2],
          [2, 19],
          [19, 23],
        ];
    let tail: HostArray | null = null;
    for (const [from, to] of cuts as [number, number][]) {
      const n = to - from;
      const piece = (all: ArrayLike<number>) =>
        Float32Array.from({ length: D * n }, (_, i) => all[Math.floor(i / n) * L + from + (i % n)]!);
      const params = { D, L: n, W, bags: 1, silu: 1, reversed };
      const views: Record<string, HostArray | null> = {
        x: piece(x),
        weight,
        bias: null,
        offsets: Int32Array.of(0, n),
        tail,
        y: f32(D * n),
      };
      const { y } = await run('conv1d', views, params);
      expectClose(y!, piece(whole), 2e-6, `tokens ${from} to ${to}`);
      const next: Outputs = await run(
        'convTail',
        { x: piece(x), tailIn: tail, tailOut: f32(D * (W - 1)) },
        { D, L: n, W, reversed },
      );
      tail = next.tailOut!;
    }
  });

  it('sums rows', async () => {
    for (const [r, c] of [
      [1, 1],
      [500, 3],
      [7, 130],
    ] as const) {
      const [x, out] = [randomArray(1, r * c), randomArray(2, c)];
      const got = await run('sumRows', { x, out }, { r, c });
      expectClose(
        got.out!,
        out.map((v, j) => {
          let s = v;
          for (let i = 0; i < r; i++) s += x[i * c + j]!;
          return s;
        }),
        5e-6,
        'out',
      );
    }
  });

  it.each([
    [1, 5, 0],
    [3, 200, 0],
    [150, 64, 50],
  ])('layerNorm %d x %d around %d', async (r, d, mean) => {
    const eps = 1e-5;
    const x = randomArray(1, r * d).map((v) => v + mean);
    const [weight, bias] = [randomArray(2, d), randomArray(3, d)];
    const { y, stats } = await run('layerNorm', { x, weight, bias, y: f32(r * d), stats: f32(r * 2) }, { r, d, eps });
    const tolerance = mean ? 2e-5 : 3e-6;
    expectClose(y!, reference.layerNorm(x, weight, bias, d, eps), tolerance, 'y');
    const again = await run('layerNorm', { x, weight, bias, y: f32(r * d), stats: null }, { r, d, eps });
    expect(again.y).toEqual(y);
    if (r * d > 1000) return;
    const [dy, dx, dweight, dbias] = [
      randomArray(4, r * d),
      randomArray(5, r * d),
      randomArray(6, d),
      randomArray(7, d),
    ];
    for (const accumulate of [0, 1]) {
      const got = await run(
        'layerNormBackward',
        { x, weight, dy, stats: stats!, dx, dweight, dbias },
        { r, d, accumulate },
      );
      const wanted = gradient((v) => reference.layerNorm(v, weight, bias, d, eps), x, dy);
      expectClose(got.dx!, plus(wanted, accumulate ? dx : zeros(r * d)), 1e-5, 'dx');
      expectClose(
        got.dweight!,
        plus(
          dweight,
          gradient((v) => reference.layerNorm(x, v, bias, d, eps), weight, dy),
        ),
        1e-5,
        'dweight',
      );
      expectClose(
        got.dbias!,
        plus(
          dbias,
          gradient((v) => reference.layerNorm(x, weight, v, d, eps), bias, dy),
        ),
        1e-5,
        'dbias',
      );
    }
  });

  it.each([
    [1, 7],
    [5, 90],
  ])('rmsNorm %d x %d', async (r, d) => {
    const eps = 1e-5;
    const [x, residual, weight] = [randomArray(1, r * d), randomArray(2, r * d), randomArray(3, d)];
    const sum = Float32Array.from(x, (v, i) => v + residual[i]!);
    const empty = { y: f32(r * d), sum: f32(r * d, 7), rstd: f32(r) };
    const with_ = await run('rmsNorm', { x, residual, weight, ...empty }, { r, d, eps });
    expectClose(with_.sum!, sum, 1e-6, 'sum');
    expectClose(with_.y!, reference.rmsNorm(sum, weight, d, eps), 3e-6, 'y');
    const without = await run('rmsNorm', { x, residual: null, weight, ...empty, sum: null }, { r, d, eps });
    expectClose(without.y!, reference.rmsNorm(x, weight, d, eps), 3e-6, 'y');

    const [dy, dres, dsum, dweight] = [
      randomArray(4, r * d),
      randomArray(5, r * d),
      randomArray(6, r * d),
      randomArray(7, d),
    ];
    const wanted = gradient((v) => reference.rmsNorm(v, weight, d, eps), sum, dy);
    const dw = gradient((v) => reference.rmsNorm(sum, v, d, eps), weight, dy);
    for (const accumulate of [0, 1]) {
      for (const extra of [null, dres]) {
        const views = { sum, weight, dy, dres: extra, rstd: with_.rstd!, dsum, dweight };
        const got = await run('rmsNormBackward', views, { r, d, accumulate });
        const all = plus(plus(wanted, extra ?? zeros(r * d)), accumulate ? dsum : zeros(r * d));
        expectClose(got.dsum!, all, 1e-5, 'dsum');
        expectClose(got.dweight!, plus(dw, dweight), 1e-5, 'dweight');
      }
    }
  });

  it.each([
    [[0, 1], 1],
    [[0, 300], 70],
    [[0, 3, 4, 40], 5],
  ] as const)('attentionPool of bags %j, width %d', async (bounds, d) => {
    const [L, bags] = [bounds.at(-1)!, bounds.length - 1];
    const offsets = Int32Array.from(bounds);
    const [h, scores] = [randomArray(1, L * d), randomArray(2, L, 3)];
    const params = { L, d, bags };
    const got = await run('attentionPool', { h, scores, offsets, attention: f32(L), pooled: f32(bags * d) }, params);
    const wanted = reference.attentionPool(h, scores, bounds, d);
    expectClose(got.attention!, wanted.attention, 5e-6, 'attention');
    expectClose(got.pooled!, wanted.pooled, 5e-6, 'pooled');

    const [dpooled, dh, dscores] = [randomArray(3, bags * d), randomArray(4, L * d), randomArray(5, L)];
    const views = { h, attention: got.attention!, offsets, pooled: got.pooled!, dpooled, dh, dscores };
    const toScores = gradient((v) => reference.attentionPool(h, v, bounds, d).pooled, scores, dpooled);
    const toH = Float64Array.from(
      h,
      (_, i) =>
        wanted.attention[Math.floor(i / d)]! *
        dpooled[bounds.findLastIndex((o, b) => b < bags && o <= Math.floor(i / d)) * d + (i % d)]!,
    );
    for (const [accumulateH, accumulateScores] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const back = await run('attentionPoolBackward', views, { ...params, accumulateH, accumulateScores });
      expectClose(back.dh!, plus(toH, accumulateH ? dh : zeros(L * d)), 1e-5, 'dh');
      expectClose(back.dscores!, plus(toScores, accumulateScores ? dscores : zeros(L)), 1e-5, 'dscores');
    }
  });

  it('attentionPoolChunk over pieces equals attentionPool of the whole', async () => {
    const [L, d] = [310, 6];
    const [h, scores] = [randomArray(1, L * d), randomArray(2, L, 5)];
    let state: HostArray = f32(2 + d);
    state[0] = -3.4e38;
    for (const [from, to] of [
      [0, 1],
      [1, 200],
      [200, 310],
    ] as const) {
      const views = { h: h.slice(from * d, to * d), scores: scores.slice(from, to), state };
      const next: Outputs = await run('attentionPoolChunk', views, { L: to - from, d });
      state = next.state!;
    }
    const { pooled } = reference.attentionPool(h, scores, [0, L], d);
    expectClose(
      state.slice(2).map((v) => v / state[1]!),
      pooled,
      5e-6,
      'pooled',
    );
    expect(state[0]).toBe(Math.max(...scores));
  });

  it.each([0, 1])('poolRows of kind %d and back', async (kind) => {
    const bounds = [0, 1, 140, 300];
    const [L, c, bags] = [300, 3, 3];
    const x = randomArray(1, L * c).map((v) => Math.round(v * 4)); // with ties
    const offsets = Int32Array.from(bounds);
    const params = { L, c, bags, kind };
    const got = await run('poolRows', { x, offsets, y: f32(bags * c), rows: new Int32Array(bags * c) }, params);
    const wanted = reference.poolRows(x, bounds, c, kind === 1);
    expectClose(got.y!, wanted.y, 3e-6, 'y');
    if (kind) expect(got.rows).toEqual(wanted.where);
    const [dy, dx] = [randomArray(2, bags * c), randomArray(3, L * c)];
    const expected = Float64Array.from(x, (_, i) => {
      const [row, column] = [Math.floor(i / c), i % c];
      const bag = bounds.findLastIndex((o) => o <= row);
      if (kind) return wanted.where[bag * c + column] === row ? dy[bag * c + column]! : 0;
      return dy[bag * c + column]! / (bounds[bag + 1]! - bounds[bag]!);
    });
    for (const accumulate of [0, 1]) {
      const back = await run(
        'poolRowsBackward',
        { dy, offsets, rows: kind ? got.rows! : null, dx },
        { ...params, accumulate },
      );
      expectClose(back.dx!, plus(expected, accumulate ? dx : zeros(L * c)), 3e-6, 'dx');
    }
  });

  it('softmaxRows and back', async () => {
    const [r, c] = [4, 70];
    const x = randomArray(1, r * c, 10);
    const { y } = await run('softmaxRows', { x, y: f32(r * c) }, { r, c });
    expectClose(y!, reference.softmaxRows(x, c), 5e-6, 'y');
    const [dy, dx] = [randomArray(2, r * c), randomArray(3, r * c)];
    const wanted = gradient((v) => reference.softmaxRows(v, c), x, dy);
    for (const accumulate of [0, 1]) {
      const back = await run('softmaxRowsBackward', { y: y!, dy, dx }, { r, c, accumulate });
      expectClose(back.dx!, plus(wanted, accumulate ? dx : zeros(r * c)), 1e-5, 'dx');
    }
  });

  it('gathers and scatters rows, gathers columns', async () => {
    const [r, c, n] = [9, 5, 300];
    const index = Int32Array.from({ length: n }, (_, i) => ((i * 7) % 10) - 1);
    const [x, y] = [randomArray(1, r * c), randomArray(2, n * c)];
    for (const accumulate of [0, 1]) {
      const got = await run('gatherRows', { x, index, y }, { n, c, accumulate });
      const taken = y.map((v, i) => {
        const row = index[Math.floor(i / c)]!;
        return (accumulate ? v : 0) + (row < 0 ? 0 : x[row * c + (i % c)]!);
      });
      expectClose(got.y!, taken, 1e-6, 'y');
    }
    const scattered = Float64Array.from(x);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < c; j++) if (index[i]! >= 0) scattered[index[i]! * c + j]! += y[i * c + j]!;
    const back = await run('scatterRows', { dy: y, index, dx: x }, { n, c });
    expectClose(back.dx!, scattered, 3e-6, 'dx');

    const [rows, L] = [3, 15];
    const wide = randomArray(3, rows * L);
    const columns = Int32Array.of(14, -1, 0, 3, 3);
    const taken = Float64Array.from({ length: rows * 5 }, (_, i) => {
      const column = columns[i % 5]!;
      return column < 0 ? 0 : wide[Math.floor(i / 5) * L + column]!;
    });
    const old = randomArray(4, rows * 5);
    for (const accumulate of [0, 1]) {
      const got = await run('gatherColumns', { x: wide, index: columns, y: old }, { r: rows, L, n: 5, accumulate });
      expectClose(got.y!, plus(taken, accumulate ? old : zeros(15)), 1e-6, 'y');
    }
  });

  it('finds the first maximum and the k best', async () => {
    const [r, c] = [3, 500];
    const x = randomArray(1, r * c).map((v) => Math.round(v * 3));
    const { index } = await run('argmaxRows', { x, index: new Int32Array(r) }, { r, c });
    for (let i = 0; i < r; i++) {
      const row = x.slice(i * c, (i + 1) * c);
      expect(index![i]).toBe(row.indexOf(Math.max(...row)));
    }
    const order = Array.from(x, (_, i) => i);
    for (const largest of [1, 0]) {
      const best = order.toSorted((a, b) => (largest ? x[b]! - x[a]! : x[a]! - x[b]!) || a - b).slice(0, 9);
      const got = await run('topK', { x, index: new Int32Array(9) }, { n: r * c, k: 9, largest });
      expect([...got.index!]).toEqual(best);
    }
  });

  it.each([
    { C: 2, H: 5, W: 7, kh: 3, kw: 3 },
    { C: 1, H: 9, W: 4, kh: 5, kw: 1 },
    { C: 3, H: 3, W: 3, kh: 2, kw: 7 },
  ])('conv2d $kh x $kw', async (s) => {
    const area = s.C * s.H * s.W;
    const taps = s.C * s.kh * s.kw;
    const [x, weight, bias] = [randomArray(1, area), randomArray(2, taps), randomArray(3, s.C)];
    for (const b of [bias, null]) {
      const { y } = await run('conv2d', { x, weight, bias: b, y: f32(area) }, { ...s });
      expectClose(y!, reference.conv2d(s, x, weight, b), 3e-6, 'y');
    }
    const [dy, dx, dweight, dbias] = [
      randomArray(4, area),
      randomArray(5, area),
      randomArray(6, taps),
      randomArray(7, s.C),
    ];
    for (const accumulate of [0, 1]) {
      const got = await run('conv2dBackward', { x, weight, dy, dx, dweight, dbias }, { ...s, accumulate });
      const toX = gradient((v) => reference.conv2d(s, v, weight, bias), x, dy);
      expectClose(got.dx!, plus(toX, accumulate ? dx : zeros(area)), 5e-6, 'dx');
      expectClose(
        got.dweight!,
        plus(
          dweight,
          gradient((v) => reference.conv2d(s, x, v, bias), weight, dy),
        ),
        5e-6,
        'dweight',
      );
      expectClose(
        got.dbias!,
        plus(
          dbias,
          gradient((v) => reference.conv2d(s, x, weight, v), bias, dy),
        ),
        5e-6,
        'dbias',
      );
    }
  });

  it('cross-entropy, with class weights and scale', async () => {
    const [b, c] = [5, 3];
    const logits = randomArray(1, b * c, 4);
    const labels = [0, 2, 1, 1, 0];
    for (const weights of [null, Float32Array.of(0.5, 2, 1)]) {
      const views = { logits, labels: Int32Array.from(labels), weights, loss: f32(1), dlogits: f32(b * c) };
      const got = await run('crossEntropy', views, { b, c, scale: 0.5 });
      expectClose(got.loss!, [reference.crossEntropy(logits, labels, weights, c)], 3e-6, 'loss');
      const wanted = gradient((v) => [reference.crossEntropy(v, labels, weights, c)], logits, [0.5]);
      expectClose(got.dlogits!, wanted, 1e-5, 'dlogits');
    }
  });

  it('survival loss', async () => {
    const [b, c, alpha] = [6, 4, 0.3];
    const logits = randomArray(1, b * c, 2);
    const s = { c, alpha, bins: [0, 1, 2, 3, 0, 3], censored: [0, 0, 1, 0, 1, 1] };
    const views = {
      logits,
      bins: Int32Array.from(s.bins),
      censored: Int32Array.from(s.censored),
      loss: f32(1),
      dlogits: f32(b * c),
      hazards: f32(b * c),
      survival: f32(b * c),
      risk: f32(b),
    };
    const got = await run('survivalLoss', views, { b, c, alpha, scale: 2 });
    const wanted = reference.survival(logits, s);
    expectClose(got.loss!, [wanted.loss], 3e-6, 'loss');
    expectClose(got.hazards!, wanted.hazards, 3e-6, 'hazards');
    expectClose(got.survival!, wanted.curve, 3e-6, 'survival');
    expectClose(got.risk!, wanted.risk, 3e-6, 'risk');
    expectClose(
      got.dlogits!,
      gradient((v) => [reference.survival(v, s).loss], logits, [2]),
      1e-5,
      'dlogits',
    );
  });

  it('optimizer steps', async () => {
    const n = 1000;
    const [w, g, m, v] = [
      randomArray(1, n),
      randomArray(2, n),
      randomArray(3, n, 0.1),
      randomArray(4, n, 0.1).map(Math.abs),
    ];
    const squared = await run('squaredNorm', { g, out: f32(1, 3) }, { n });
    const norm2 = g.reduce((sum, x) => sum + x * x, 0);
    expectClose(squared.out!, [norm2 + 3], 3e-6, 'squared norm');
    for (const [wrong, at] of [
      [Number.NaN, 0],
      [Number.NEGATIVE_INFINITY, 321],
      [Number.POSITIVE_INFINITY, n - 1],
    ] as const) {
      const other = g.slice();
      other[at] = wrong;
      const { out } = await run('squaredNorm', { g: other, out: f32(1, 3) }, { n });
      expect(out![0], `with ${wrong}`).toBe(Number.POSITIVE_INFINITY);
    }
    const rates = { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, decay: 0.05, correction1: 0.19, correction2: 0.02 };
    for (const [decoupled, maxNorm] of [
      [1, 0],
      [0, 5],
    ] as const) {
      const squaredNorm = maxNorm ? Float32Array.of(norm2) : null;
      const got = await run('adam', { w, g, m, v, squaredNorm }, { n, ...rates, decoupled, maxNorm });
      const clip = maxNorm ? Math.min(1, maxNorm / (Math.sqrt(norm2) + 1e-6)) : 1;
      const gradients = g.map((x, i) => x * clip + (decoupled ? 0 : 0.05 * w[i]!));
      const means = gradients.map((x, i) => 0.9 * m[i]! + 0.1 * x);
      const squares = gradients.map((x, i) => 0.99 * v[i]! + 0.01 * x * x);
      expectClose(got.m!, means, 1e-6, 'm');
      expectClose(got.v!, squares, 1e-6, 'v');
      const wanted = w.map(
        (x, i) =>
          x * (decoupled ? 1 - 0.1 * 0.05 : 1) - (0.1 * means[i]!) / 0.19 / (Math.sqrt(squares[i]! / 0.02) + 1e-8),
      );
      expectClose(got.w!, wanted, 3e-6, 'w');
    }
    const plain = await run('sgd', { w, g }, { n, lr: 0.1, decay: 0.05 });
    expectClose(
      plain.w!,
      w.map((x, i) => x - 0.1 * (g[i]! + 0.05 * x)),
      1e-6,
      'w',
    );
  });
});
