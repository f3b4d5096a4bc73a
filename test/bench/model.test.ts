import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WrongResult } from '../../src/bench/check.ts';
import { checkModel } from '../../src/bench/check-model.ts';
import type { Device } from '../../src/kernels/device.ts';
import { kernels } from '../../src/kernels/kernels.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { listAdapters } from '../../src/kernels/webgpu/adapters.ts';
import { lamina } from '../cli/spawn.ts';
import { expectResults } from './results.ts';
import { stretched } from './spoiled.ts';

const hasGpu = (await listAdapters()).some(({ software }) => !software);

const bench = (...args: string[]) =>
  lamina('bench', 'model', '--quick', '--device', 'wasm', '--threads', '2', '--peer', 'no-such-folder', ...args);

describe('lamina bench model', () => {
  it('runs every part, and says that there is no PyTorch to compare with', async () => {
    const { code, stdout, stderr } = await bench('--json');
    expect(code).toBe(0);
    expect(stderr).toContain('no peer programs in no-such-folder');
    const report = JSON.parse(stdout);
    expect(report.notes).toHaveLength(1);
    const names = expectResults(report.results);
    for (const type of ['mamba', 'lbmamba', 'bimamba', 'srmamba']) {
      for (const what of ['forward', 'training step']) {
        expect(names).toContain(`${type} ${what}, 200 patches`);
        expect(names).toContain(`${type} ${what}, 200 patches, peak memory`);
      }
    }
    expect(names).toContain('lbmamba training steps on small bags (layout of MUSK1), 1 thread');
    expect(names).toContain('lbmamba in pieces, time a patch at 5000 / 1000 patches');
    expect(names).toContain('lbmamba training step with checkpoints, 400 patches, peak memory');
  });

  it.skipIf(hasGpu)('says that there is no GPU, as every command does (skipped: there is one)', async () => {
    const { code, stderr } = await lamina('bench', 'model', '--quick', '--only', 'memory', '--device', 'webgpu');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^lamina: .*WebGPU.* use the device `wasm`\.$/m);
  });

  it('runs one part alone', async () => {
    const { code, stdout } = await bench('--only', 'memory', '--json');
    expect(code).toBe(0);
    expect(expectResults(JSON.parse(stdout).results)).toEqual([
      'lbmamba training step with checkpoints, 400 patches',
      'lbmamba training step with checkpoints, 400 patches, peak memory',
    ]);
  });
});

describe('the check of a model', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openWasm({ threads: 1 });
  });
  afterAll(() => device.close());

  const shape = { input: 48, width: 32 };

  it.each(['mamba', 'lbmamba', 'bimamba', 'srmamba'] as const)('passes %s', async (type) => {
    await checkModel(device, { type, ...shape });
    expect(device.memory().live).toBe(0);
  });

  it('passes a training step with checkpoints', () =>
    checkModel(device, { type: 'lbmamba', ...shape }, { checkpoint: true }));

  it.each([
    ['selectiveScan', 'y', 'lbmamba forward'],
    ['attentionPoolChunk', 'state', 'lbmamba in pieces'],
    ['selectiveScanBackward', 'du', 'lbmamba gradient'],
    ['selectiveScanBackward', 'dA', 'lbmamba gradient of /A'],
    ['selectiveScanBackward', 'dB', 'lbmamba gradient'],
    ['conv1dBackward', 'dweight', 'lbmamba gradient of /conv1d'],
    ['layerNormBackward', 'dx', 'lbmamba gradient'],
    ['adam', 'w', 'lbmamba AdamW'],
  ] as const)('notices a wrong %s: %s', async (kernel, view, named) => {
    const index = kernels[kernel].views.findIndex((declared) => /\w+/.exec(declared)![0] === view);
    const failure = await checkModel(stretched(device, kernel, index), { type: 'lbmamba', ...shape }).catch((e) => e);
    expect(failure).toBeInstanceOf(WrongResult);
    expect(failure.message).toContain(`${named}`);
  });
});
