import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/kernels/device.ts';
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';
import { expectGolden, goldenCases, goldenInput, withoutGolden } from '../golden-cases.ts';
import { scan, scanBackward } from '../reference/scan.ts';
import { expectClose, randomArray } from '../run-kernel.ts';
import { goldenScan, randomScan, runScan, runScanBackward, type ScanOptions, sideBySide } from '../scan-cases.ts';
import { builds } from './builds.ts';

const shapes: Record<string, ScanOptions> = {
  'one token': { D: 3, N: 2, offsets: [0, 1], K: 16 },
  'K = 4': { D: 5, N: 3, offsets: [0, 37], K: 4 },
  'K = 3, packed': { D: 2, N: 2, offsets: [0, 1, 5, 40, 47], K: 3 },
  'K = 16, several chunks': { D: 3, N: 2, offsets: [0, 1100], K: 16 },
  'K = 16, packed, reversed': { D: 6, N: 4, offsets: [0, 5, 37, 38, 100, 155], K: 16, reversed: true },
  'K = 64, a whole bag': { D: 2, N: 2, offsets: [0, 50, 110], K: 64 },
  'K auto, reversed': { D: 4, N: 3, offsets: [0, 130, 420], K: 'auto', reversed: true },
  'forward only': { D: 2, N: 5, offsets: [0, 90], K: 0 },
  'many channels': { D: 70, N: 16, offsets: [0, 90, 333], K: 16 },
  'without skip, gate, bias': { D: 5, N: 2, offsets: [0, 19, 60], K: 8, plain: true },
  'without softplus': { D: 3, N: 2, offsets: [0, 33], K: 5, softplus: false },
};

describe.each(builds)('selective scan on wasm, build $name', ({ fused, missing }) => {
  describe.skipIf(missing).each([1, 3])('%d threads', (threads) => {
    let device: Device;
    beforeAll(async () => {
      device = await openWasm({ threads, fused });
    });
    afterAll(() => device?.close());

    it.each(Object.entries(shapes))('%s', async (_, options) => {
      for (const state of [false, true]) {
        const c = randomScan({ ...options, state });
        const wanted = scan(c.arguments, options.offsets.length - 1);
        const { y, stateOut } = await runScan(device, c);
        expectClose(y!, wanted.y, 5e-6, 'y');
        expectClose(stateOut!, wanted.stateOut, 5e-6, 'stateOut');
      }
      const c = randomScan(options);
      const dy = randomArray(11, c.arguments.D * c.arguments.L);
      const wanted = scanBackward(c.arguments, dy) as unknown as Record<string, Float64Array>;
      const got = await runScanBackward(device, c, dy);
      for (const [name, gradient] of Object.entries(wanted)) {
        // The reference gives gradients also of what is absent here.
        if (name in got || ['du', 'ddelta', 'dA', 'dB', 'dC'].includes(name))
          expectClose(got[name]!, gradient, 1e-5, name, 1e-6);
      }
    });

    it('reserves for a long segment what one takes, not what eight would', async () => {
      const [D, N, L] = [4, 4, 20_000];
      const before = device.memory().peak;
      await runScan(device, randomScan({ D, N, offsets: [0, L], K: L }));
      // The arguments and their windows' surroundings, and for each thread 73 floats a token.
      const own = 4 * L * (3 * D + 2 * N + 4);
      expect(device.memory().peak - before).toBeLessThan(1.2 * own + threads * 4 * 75 * L);
    });

    it('gives the same bits twice', async () => {
      const c = randomScan({ D: 70, N: 16, offsets: [0, 70, 200], K: 16 });
      const dy = randomArray(11, 70 * 200);
      expect(await runScan(device, c)).toEqual(await runScan(device, c));
      expect(await runScanBackward(device, c, dy)).toEqual(await runScanBackward(device, c, dy));
    });

    it.skipIf(withoutGolden).each(goldenCases('selective_scan').map((c) => [c.name, c] as const))(
      'golden %s',
      async (_, c) => {
        const { B, D, L, N } = c.dims as { B: number; D: number; L: number; N: number };
        const s = goldenScan(c);
        expectGolden(c, 'y', sideBySideBack((await runScan(device, s)).y!, B, D, L));
        const got = await runScanBackward(device, s, sideBySide(goldenInput(c, 'dy')!, B, D, L));
        const names = { du: D, ddelta: D, dz: D, dB: N, dC: N } as Record<string, number>;
        for (const [name, rows] of Object.entries(names)) {
          if (c.outputs[name]) expectGolden(c, name, sideBySideBack(got[name]!, B, rows, L));
        }
        const same: Record<string, string> = { dA: 'dA', dskip: 'dD', ddeltaBias: 'ddelta_bias' };
        for (const [ours, theirs] of Object.entries(same)) if (c.outputs[theirs]) expectGolden(c, theirs, got[ours]!);
      },
    );
  });
});

/** (rows, batch L) to (batch, rows, L). */
function sideBySideBack(x: ArrayLike<number>, batch: number, rows: number, L: number): Float32Array {
  return sideBySide(x, rows, batch, L);
}
