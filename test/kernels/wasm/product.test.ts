import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import { matmul } from '../reference/basic.ts';
import { expectClose, randomArray, runKernel } from '../run-kernel.ts';
import { builds } from './builds.ts';

/** Around the edges of tiles (5 or 6 x 8), of blocks (120, 512, 256 along k), and of what is worth packing (2^18). */
const shapes = [
  [1, 1, 1],
  [7, 3, 20],
  [13, 9, 100],
  [61, 67, 65],
  [64, 70, 64],
  [121, 14, 257],
  [5, 600, 90],
  [37, 519, 30],
  [6, 8, 6000],
  [129, 22, 513],
] as const;

describe.each(builds)('matmul on wasm, build $name', ({ fused, missing }) => {
  describe.skipIf(missing).each([1, 3])('%d threads', (threads) => {
    let device: Device;
    beforeAll(async () => {
      device = await openWasm({ threads, fused, native: false });
    });
    afterAll(() => device?.close());

    it.each(shapes)('%d x %d, k = %d', async (m, n, k) => {
      const [A, B, bias, C] = [randomArray(1, m * k), randomArray(2, k * n), randomArray(3, n), randomArray(4, m * n)];
      for (const [transA, transB] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const) {
        const wanted = matmul(A, B, m, n, k, transA === 1, transB === 1);
        for (const accumulate of [0, 1]) {
          const params = { m, n, k, transA, transB, accumulate, activation: -1 };
          const views = { A, B, bias: accumulate ? null : bias, C };
          const got = await runKernel(device, 'matmul', views, params);
          const whole = wanted.map((v, i) => v + (accumulate ? C[i]! : bias[i % n]!));
          expectClose(got.C!, whole, 3e-6, `transposed ${transA}${transB}, accumulate ${accumulate}`);
          expect(await runKernel(device, 'matmul', views, params), 'the same bits again').toEqual(got);
        }
      }
    });
  });
});
