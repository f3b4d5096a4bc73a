import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WrongResult } from '../../src/bench/check.ts';
import { benchDevice, floorOf, quickSizes } from '../../src/bench/device-kernels.ts';
import { scanCosts } from '../../src/bench/scan-cases.ts';
import type { Device } from '../../src/kernels/device.ts';
import { kernels } from '../../src/kernels/kernels.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { lamina } from '../cli/spawn.ts';
import { expectResults } from './results.ts';
import { misled, stretched } from './spoiled.ts';

describe('lamina bench kernels', () => {
  it('prints the machine, the date, the device and the results as one object', async () => {
    const { code, stdout } = await lamina(
      ...['bench', 'kernels', '--quick', '--json', '--device', 'wasm', '--threads', '2'],
    );
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report.machine).toMatchObject({ cpu: expect.any(String), cores: expect.any(Number) });
    expect(Date.parse(report.date)).toBeGreaterThan(0);
    expect(report.device).toContain('2 threads');
    const names = expectResults(report.results);
    for (const threads of ['1 thread', '2 threads']) {
      for (const what of [
        'copy bandwidth',
        'matmul rate',
        'scan LB, forward',
        'scan two directions, forward + backward',
      ])
        expect(names).toContain(`${what}, ${threads}`);
      expect(names).toContain(`scan LB / forward-only, forward + backward, ${threads}`);
    }
    for (const what of ['conv1d', 'layerNorm', 'attentionPool', 'matmul in_proj'])
      expect(names.some((name) => name.startsWith(what))).toBe(true);
  });

  it('prints a table without --json', async () => {
    const { code, stdout } = await lamina('bench', 'kernels', '--quick', '--device', 'wasm', '--threads', '1');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^what +value +unit +baseline +ratio +floor +spread +mark$/m);
    expect(stdout).toMatch(/^scan LB, forward, 1 thread +[\d.]+ +ms /m);
  });
});

describe('the check before the times', () => {
  let device: Device;
  const bench = (broken: Device) =>
    benchDevice(
      broken,
      { ...quickSizes, rounds: 1, roundMs: 0 },
      { label: 'test', plain: { 'forward-only': 1, LB: 1 } },
    );

  beforeAll(async () => {
    device = await openWasm({ threads: 1, native: false });
  });
  afterAll(() => device.close());

  it('passes what is right', async () => {
    expect(expectResults(await bench(device)).length).toBeGreaterThan(15);
  });

  it.each([
    ['add', 'y', 'copy'],
    ['matmul', 'C', 'matmul'],
    ['conv1d', 'y', 'conv1d'],
    ['layerNorm', 'y', 'layerNorm'],
    ['attentionPool', 'attention', 'attention'],
    ['attentionPool', 'pooled', 'pooled'],
    ['selectiveScan', 'y', 'scan forward-only, forward'],
    ['selectiveScan', 'carries', 'forward-only, forward [+] backward'],
    ...['du', 'ddelta', 'dA', 'dB', 'dC', 'dskip', 'dz', 'ddeltaBias'].map(
      (view) => ['selectiveScanBackward', view, 'forward-only, forward [+] backward'] as const,
    ),
  ] as const)('stops at a wrong %s: %s', async (kernel, view, named) => {
    const index = kernels[kernel].views.findIndex((declared) => /\w+/.exec(declared)![0] === view);
    expect(index).toBeGreaterThanOrEqual(0);
    const failure = await bench(stretched(device, kernel, index)).catch((error) => error);
    expect(failure).toBeInstanceOf(WrongResult);
    expect(failure.message).toMatch(new RegExp(`${named}.* is wrong`));
  });

  it.each(['selectiveScan', 'selectiveScanBackward'] as const)(
    'stops at a %s without its local part',
    async (kernel) => {
      const local = kernels[kernel].params.indexOf('local');
      const failure = await bench(misled(device, kernel, local, 0)).catch((error) => error);
      expect(failure).toBeInstanceOf(WrongResult);
      expect(failure.message).toContain('scan LB');
    },
  );
});

describe('the floor', () => {
  const shape = { D: 1024, L: 10_000, N: 16, K: 16 };

  it('counts bytes and operations of a scan as the specification', () => {
    const elements = shape.D * shape.L;
    const { forward, backward } = scanCosts(shape, 'LB', 'sequential');
    expect(forward.bytes / elements).toBeCloseTo(16 + 128 / shape.D);
    expect(forward.flops / elements).toBe(9 * 16 + 15);
    expect(backward.flops / elements).toBe(27 * 16 + 15);
    expect(scanCosts(shape, 'forward-only', 'parallel').backward.flops / elements).toBe(25 * 16 + 15);
    expect(scanCosts(shape, 'two directions', 'parallel').forward.bytes / forward.bytes).toBeCloseTo(2.75, 1);
  });

  it('is the larger of moving and computing', () => {
    const capability = { bytesPerMs: 10, flopsPerMs: 100 };
    expect(floorOf({ bytes: 50, flops: 200 }, capability)).toMatchObject({ value: 5, by: 'bytes' });
    expect(floorOf({ bytes: 50, flops: 2000 }, capability)).toMatchObject({ value: 20, by: 'flops' });
  });
});
