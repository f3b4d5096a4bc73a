/** As mutations.test.ts, for the scan in WGSL: the shaders with one mistake at a time, on the smallest cases that could show it. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { requestAdapter, requestDevice } from '../../src/kernels/webgpu/adapter.ts';
import { WebGpuDevice } from '../../src/kernels/webgpu/device.ts';
import { createDawn, readShaders } from '../../src/kernels/webgpu/open-node.ts';
import { loadSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';
import { runCase } from './run-case.ts';
import { could, showsSegments } from './scan-shows.ts';
import { type Golden, type GoldenCase, openGolden } from './source.ts';

const folder = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const missing =
  withoutSwiftShader ?? (existsSync(resolve(folder, 'manifest.json')) ? null : `no manifest.json in ${folder}`);

interface Mutation {
  readonly name: string;
  readonly shader: string;
  readonly find: string;
  readonly replace: string;
  /** Whether a mistake of packed bags, which others do not show. */
  readonly packed: boolean;
}

const mutations: readonly Mutation[] = [
  {
    name: 'the local part takes the decay of the next token',
    shader: 'selectiveScan',
    find: 'v.z = a[q].z * (v.w + b[q].w);',
    replace: 'v.z = a[q].w * (v.w + b[q].w);',
    packed: false,
  },
  {
    name: 'the local part counts its own input twice',
    shader: 'selectiveScan',
    find: 'h += r[q];',
    replace: 'h += r[q] + b[q];',
    packed: false,
  },
  {
    name: 'the state runs on into the next bag',
    shader: 'selectiveScan',
    find: 'let first = (entry.z & 1) != 0;',
    replace: 'let first = false;',
    packed: true,
  },
  {
    name: 'the adjoint of the local part takes the decay of its own token',
    shader: 'selectiveScanBackward',
    find: 'rho.z = v.y * (G_t.y + rho.y);',
    replace: 'rho.z = v.z * (G_t.y + rho.y);',
    packed: false,
  },
  {
    name: 'the adjoint of the state runs on into the bag before',
    shader: 'selectiveScanBackward',
    find: 'let last = (table[lane].z & 2) != 0;',
    replace: 'let last = false;',
    packed: true,
  },
];

describe.skipIf(missing)(`golden cases find mistakes in WGSL${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let golden: Golden;
  let shown: Readonly<Record<'plain' | 'packed', GoldenCase | undefined>>;
  beforeAll(async () => {
    golden = await openGolden((name) => readFile(resolve(folder, name)));
    const local = golden.cases
      // Some of the mistakes are in the third of four tokens.
      .filter((c) => c.kind === 'selective_scan' && c.K >= 4 && showsSegments(c, 3))
      .sort((a, b) => a.dims.L * a.dims.D - b.dims.L * b.dims.D);
    // Of several segments, where there is such a one.
    const smallest = (some: GoldenCase[]) => some.find(({ K, dims }) => dims.L > 4 * K) ?? some[0];
    const alone = local.filter((c) => !could.bags(c));
    shown = { plain: smallest(alone.length > 0 ? alone : local), packed: smallest(local.filter(could.bags)) };
  });

  it.for(mutations)('fail when $name', { timeout: 300_000 }, async ({ shader, find, replace, packed }, { skip }) => {
    const right = readShaders();
    expect(right[shader]!.split(find), `places to mutate in ${shader}.wgsl`).toHaveLength(2);
    const c = shown[packed ? 'packed' : 'plain'] ?? skip('no case of the scan could show it');
    expect(await errorOf(c, right)).toBeLessThanOrEqual(1);
    expect(await errorOf(c, { ...right, [shader]: right[shader]!.replace(find, replace) })).toBeGreaterThan(1);
  });

  it.for([0.5, 2])('fail with %f times the segment length', { timeout: 300_000 }, async (factor, { skip }) => {
    const c = shown.plain ?? shown.packed ?? skip('no case of the scan could show it');
    const changed = { ...c, K: Math.floor(c.K * factor) };
    skip(!showsSegments(c, changed.K), 'its segments would not change it');
    expect(await errorOf(changed, readShaders())).toBeGreaterThan(1);
  });

  const errors = new Map<string, number>();

  /** Error over tolerance of a case by shaders; remembered, for the right ones are asked about again and again. */
  async function errorOf(c: GoldenCase, sources: Readonly<Record<string, string>>): Promise<number> {
    const key = `${c.name} ${c.K} ${JSON.stringify(sources)}`;
    const known = errors.get(key);
    if (known !== undefined) return known;
    loadSwiftShader();
    const dawn = await createDawn();
    const adapter = await requestAdapter(dawn, { software: true, required: true });
    const device = new WebGpuDevice(await requestDevice(adapter!), {
      name: 'SwiftShader',
      sources,
      scanThreads: 32,
      owner: dawn,
    });
    try {
      const { worst } = await runCase(golden, c, device);
      errors.set(key, worst);
      return worst;
    } finally {
      await device.close();
    }
  }
});
