/** The bundle for another machine, made, unpacked elsewhere and run there on a software adapter. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyGoldenPart } from '../../bench/gpu-bundle/golden-part.ts';
import { unpackSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';

const run = promisify(execFile);
const golden = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const missing =
  withoutSwiftShader ?? (existsSync(join(golden, 'manifest.json')) ? null : `no manifest.json in ${golden}`);

const MINUTE = 60_000;
/** Kinds that a software adapter compiles quickly. */
const QUICK_KINDS = ['layer_norm', 'activation', 'optimizer', 'cross_entropy'];

/** Nothing of the tests' environment reaches the bundle. */
const BARE = { PATH: '/usr/bin:/bin' };

describe.skipIf(missing)(`the bundle for another machine's GPU${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let folder: string;
  let script: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-gpu-'));
    await run('npx', ['tsx', 'bench/gpu-bundle/make.ts']);
    await run('tar', ['xf', resolve('dist/lamina-gpu.tar.gz'), '-C', folder]);
    script = join(folder, 'lamina-gpu/run.sh');
  }, 5 * MINUTE);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is one file of at most 60 MB', async () => {
    expect((await stat('dist/lamina-gpu.tar.gz')).size).toBeLessThanOrEqual(60e6);
  });

  it('refuses a software adapter, in JSON too', async () => {
    const failure = await run('sh', [script], { env: onSwiftShader(), cwd: folder }).catch((error) => error);
    expect(failure.code).toBe(1);
    expect(JSON.parse(failure.stdout).error).toMatch(/only WebGPU adapter is software \(SwiftShader/);
  });

  it('says how it is called', async () => {
    const failure = await run('sh', [script, '--fast'], { env: BARE }).catch((error) => error);
    expect(failure).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('usage: sh run.sh') });
  });

  it(
    'runs golden cases and benchmarks, and tells what failed',
    async () => {
      const part = join(folder, 'part');
      const cases = await goldenPart(part);
      const failure = await run('sh', [script, '--allow-software', '--golden', 'part'], {
        env: onSwiftShader(),
        cwd: folder,
        maxBuffer: 2 ** 26,
      }).catch((error) => error);
      expect(failure.code).toBe(1);
      const { adapter, limits, golden, goldenOnCpu, bench, notes } = JSON.parse(failure.stdout);
      expect(adapter.name).toMatch(/SwiftShader/);
      expect(limits.maxStorageBufferBindingSize).toBeGreaterThan(2 ** 27);
      for (const parity of [golden, goldenOnCpu]) {
        expect(parity).toMatchObject({ passed: cases, failed: 1, failures: [{ name: 'without tensors' }] });
        expect(parity.worst.worst).toBeLessThanOrEqual(1);
      }
      expect(golden.device).toMatch(/SwiftShader/);
      expect(goldenOnCpu.device).toMatch(/^wasm/);
      expect(bench.map(({ name }: { name: string }) => name).join('\n')).toMatch(/scan LB, forward.*lbmamba training/s);
      expect(notes.join('\n')).not.toMatch(/failed/);
    },
    3 * MINUTE,
  );
});

function onSwiftShader(): NodeJS.ProcessEnv {
  return { ...BARE, VK_DRIVER_FILES: join(unpackSwiftShader(), 'vk_swiftshader_icd.json') };
}

/** A few quick cases, and one that cannot pass. Returns how many can. */
async function goldenPart(folder: string): Promise<number> {
  await copyGoldenPart(golden, folder, 0);
  const file = join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  const quick = manifest.cases.filter(({ kind }: { kind: string }) => QUICK_KINDS.includes(kind));
  const cases = quick.length > 0 ? quick : manifest.cases.slice(0, 1);
  const broken = { ...cases[0], name: 'without tensors' };
  await writeFile(file, JSON.stringify({ ...manifest, cases: [...cases, broken] }));
  return cases.length;
}
