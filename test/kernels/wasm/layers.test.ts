import { afterAll, beforeAll, describe, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import * as reference from '../reference/layers.ts';
import { expectClose, randomArray, runKernel } from '../run-kernel.ts';
import { builds } from './builds.ts';

const { gradient } = reference;
const eps = 1e-5;

describe.each(builds)('layers on wasm, build $name', ({ fused, missing }) => {
  describe.skipIf(missing).each([1, 3])('%d threads', (threads) => {
    let device: Device;
    beforeAll(async () => {
      device = await openWasm({ threads, fused, native: false });
    });
    afterAll(() => device?.close());

    it.each([
      { D: 1, L: 1, W: 4, offsets: [0, 1], silu: true, reversed: false },
      { D: 5, L: 37, W: 3, offsets: [0, 1, 3, 37], silu: true, reversed: true },
      { D: 3, L: 50, W: 4, offsets: [0, 17, 50], silu: true, reversed: false },
      { D: 4, L: 23, W: 7, offsets: [0, 2, 23], silu: false, reversed: true },
      { D: 2, L: 9, W: 1, offsets: [0, 9], silu: true, reversed: false },
    ])('conv1d $L tokens, width $W, reversed $reversed', async (s) => {
      const { D, L, W } = s;
      const params = { D, L, W, bags: s.offsets.length - 1, silu: Number(s.silu), reversed: Number(s.reversed) };
      const offsets = Int32Array.from(s.offsets);
      const [x, weight, bias, dy] = [D * L, D * W, D, D * L].map((n, i) => randomArray(i + 1, n)) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const views = { x, weight, bias, offsets };
      const { y } = await runKernel(device, 'conv1d', { ...views, tail: null, y: new Float32Array(D * L) }, params);
      expectClose(y!, reference.conv1d(s, x, weight, bias, null), 1e-6, 'y');
      const [dx, dweight, dbias] = [new Float32Array(D * L), new Float32Array(D * W), new Float32Array(D)];
      const back = { ...views, dy, dx, dweight, dbias };
      const got = await runKernel(device, 'conv1dBackward', back, { ...params, accumulate: 0 });
      const of = (what: 'x' | 'weight' | 'bias') =>
        gradient(
          (v) => {
            const given = { x, weight, bias, [what]: v };
            return reference.conv1d(s, given.x, given.weight, given.bias, null);
          },
          { x, weight, bias }[what],
          dy,
        );
      expectClose(got.dx!, of('x'), 5e-6, 'dx');
      expectClose(got.dweight!, of('weight'), 5e-6, 'dweight');
      expectClose(got.dbias!, of('bias'), 5e-6, 'dbias');
    });

    it.each([
      [1, 7],
      [9, 33],
      [3, 64],
    ])('layerNorm %d x %d', async (r, d) => {
      const [x, weight, bias, dy] = [r * d, d, d, r * d].map((n, i) => randomArray(i + 1, n)) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const written = { y: new Float32Array(r * d), stats: new Float32Array(2 * r) };
      const { y, stats } = await runKernel(device, 'layerNorm', { x, weight, bias, ...written }, { r, d, eps });
      expectClose(y!, reference.layerNorm(x, weight, bias, d, eps), 2e-6, 'y');
      const sums = { dx: new Float32Array(r * d), dweight: new Float32Array(d), dbias: new Float32Array(d) };
      const views = { x, weight, dy, stats: stats!, ...sums };
      const got = await runKernel(device, 'layerNormBackward', views, { r, d, accumulate: 0 });
      expectClose(
        got.dx!,
        gradient((v) => reference.layerNorm(v, weight, bias, d, eps), x, dy),
        1e-5,
        'dx',
      );
      expectClose(
        got.dweight!,
        gradient((v) => reference.layerNorm(x, v, bias, d, eps), weight, dy),
        1e-5,
        'dweight',
      );
    });

    it('rmsNorm', async () => {
      const [r, d] = [5, 90];
      const [x, weight] = [randomArray(1, r * d), randomArray(2, d)];
      const views = { x, residual: null, weight, y: new Float32Array(r * d), sum: null, rstd: null };
      const { y } = await runKernel(device, 'rmsNorm', views, { r, d, eps });
      expectClose(y!, reference.rmsNorm(x, weight, d, eps), 2e-6, 'y');
    });
  });
});
