/**
 * Proof that the golden cases would find the mistakes one makes in a scan: the wasm kernels are compiled with one mistake at a
 * time, and the cases of the scan must fail. Compiled without any, by the same way, they must pass.
 */

import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { createWasmDevice } from '../../src/kernels/wasm/device.ts';
import { chooseCases } from './choose-cases.ts';
import { runCase } from './run-case.ts';
import { could, showsSegments } from './scan-shows.ts';
import { type Golden, type GoldenCase, openGolden } from './source.ts';

const folder = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const present = existsSync(resolve(folder, 'manifest.json'));
const sources = fileURLToPath(new URL('../../src/kernels/wasm/assembly', import.meta.url));

interface Mutation {
  readonly name: string;
  readonly file: string;
  readonly find: RegExp;
  readonly replace: string;
  /** What a case must have to show it: segments with a local part, or several bags side by side. */
  readonly needs: keyof typeof could;
  /** How many places in the source are changed: the mutation has to be looked at again when the kernel is rewritten. */
  readonly places: number;
}

const mutations: readonly Mutation[] = [
  {
    name: 'the local part takes the decay of the next token',
    file: 'selective-scan.ts',
    find: /madd\(a(\d), q\1, /g,
    replace: 'madd(i + 1 < count ? v128.load(to + 48 * $1, 192) : a$1, q$1, ',
    needs: 'segments',
    places: 4,
  },
  {
    name: 'the local part counts its own input twice',
    file: 'selective-scan.ts',
    find: /h(\d) = madd\(a\1, f\1, /g,
    replace: 'h$1 = f32x4.add(next$1, ',
    needs: 'segments',
    places: 4,
  },
  {
    name: 'the state runs on into the next bag',
    file: 'selective-scan.ts',
    find: /if \(flags & FIRST_OF_BAG\)/g,
    replace: 'if (s == 0)',
    needs: 'bags',
    places: 1,
  },
  {
    name: 'the adjoint of the local part takes the decay of its own token',
    file: 'selective-scan-backward.ts',
    find: /f32x4\.mul\(a(\d), mu\1\)/g,
    replace: 'f32x4.mul(v128.load(k + 16 * $1 + (i + 1 < count ? 256 : 0)), mu$1)',
    needs: 'segments',
    places: 4,
  },
  {
    name: 'the adjoint of the state runs on into the bag before',
    file: 'selective-scan-backward.ts',
    find: /if \(load<i32>\(entry, 8\) & LAST_OF_BAG\)/g,
    replace: 'if (s == segmentCount - 1)',
    needs: 'bags',
    places: 1,
  },
];

describe.skipIf(!present)(
  `golden cases find mistakes${present ? '' : ` (skipped: no manifest.json in ${folder})`}`,
  () => {
    let golden: Golden;
    let scans: GoldenCase[];
    beforeAll(async () => {
      golden = await openGolden((name) => readFile(resolve(folder, name)));
      const all = golden.cases.filter(({ kind }) => kind === 'selective_scan');
      scans = chooseCases(all, ({ dims }) => dims.L, 600);
    });

    /** Names of the cases that fail. */
    const failing = async (device: Device, change: (c: GoldenCase) => GoldenCase = (c) => c) => {
      const failed: string[] = [];
      for (const c of scans) if ((await runCase(golden, change(c), device)).worst > 1) failed.push(c.name);
      return failed;
    };

    describe('without a mistake', () => {
      let device: Device;
      beforeAll(async () => {
        device = await compileDevice(null);
      });
      afterAll(() => device.close());

      it('all pass', async () => {
        expect(scans.length).toBeGreaterThan(0);
        expect(await failing(device)).toEqual([]);
      });

      it.for([0.5, 2])('fail with %f times the segment length', async (factor, { skip }) => {
        const changed = (c: GoldenCase) => ({ ...c, K: Math.floor(c.K * factor) });
        const expected = scans.filter((c) => showsSegments(c, changed(c).K)).map(({ name }) => name);
        skip(expected.length === 0, 'no case has segments that it would change');
        expect(await failing(device, changed)).toEqual(expect.arrayContaining(expected));
      });
    });

    it.for(mutations)('fail when $name', async (mutation, { skip }) => {
      skip(!scans.some(could[mutation.needs]), `no case has ${mutation.needs}`);
      const device = await compileDevice(mutation);
      expect(await failing(device)).not.toEqual([]);
      await device.close();
    });
  },
);

/** The device with its kernels compiled anew, one mistake among them. */
async function compileDevice(mutation: Mutation | null): Promise<Device> {
  const copy = await mkdtemp(join(tmpdir(), 'lamina-mutation-'));
  await cp(sources, copy, { recursive: true });
  if (mutation) {
    const file = join(copy, mutation.file);
    const source = await readFile(file, 'utf8');
    expect(source.match(mutation.find) ?? [], `places to mutate in ${mutation.file}`).toHaveLength(mutation.places);
    await writeFile(file, source.replace(mutation.find, mutation.replace));
  }
  const { options, targets } = JSON.parse(
    await readFile(fileURLToPath(new URL('../../asconfig.json', import.meta.url)), 'utf8'),
  );
  const output = join(copy, 'mutated.wasm');
  const { error, stderr } = await asc.main([
    join(copy, 'index.ts'),
    ...Object.entries(options).flatMap(([name, value]) =>
      value === true ? [`--${name}`] : [`--${name}`, String(value)],
    ),
    ...(targets.plain.enable as string[]).flatMap((feature) => ['--enable', feature]),
    ...['--outFile', output],
  ]);
  expect(error, String(stderr)).toBeNull();
  const module = await WebAssembly.compile(await readFile(output));
  await rm(copy, { recursive: true });
  return createWasmDevice({
    module,
    build: 'plain',
    threads: 1,
    startWorker: () => {
      throw new Error('one thread needs no worker');
    },
  });
}
