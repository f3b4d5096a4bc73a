/**
 * Bags of every kind, damaged by a seeded random: each is read, or refused with a sentence that names the file. Never another
 * error, more than 5 s, or more than 1 GB.
 *
 *     LAMINA_FUZZ_CASES=5000 LAMINA_FUZZ_SEED=2 npx vitest run test/features/damaged-bags.test.ts
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import type { BagMeta } from '../../src/features/bag.ts';
import { convertBag, openAnyBag } from '../../src/features/convert-bag.ts';
import { createBagWriter } from '../../src/features/store.ts';
import { hdf5Layouts } from '../../src/features/tool-layouts.ts';
import { createRandom, normal } from '../../src/random.ts';
import { damage } from '../damage.ts';

const cases = Number(process.env.LAMINA_FUZZ_CASES ?? 420);
const seed = Number(process.env.LAMINA_FUZZ_SEED ?? 1);
const folder = await mkdtemp(join(tmpdir(), 'lamina-damaged-bags-'));
afterAll(() => rm(folder, { recursive: true }));

const COUNT = 300;
const WIDTH = 12;
const meta: BagMeta = {
  slideId: 'slide-7',
  slideHash: 'sha256:0',
  mpp: 0.25,
  mppSource: 'file',
  patchMpp: 0.5,
  patchPx: 256,
  patchLevel0Px: 512,
  encoder: 'made-up@1',
  order: 'row-major',
  version: '0.1.0',
};

async function wholeBags(): Promise<Map<string, Buffer>> {
  const random = createRandom(5);
  const arrow = join(folder, 'whole.arrow');
  const writer = await createBagWriter(arrow, meta, { dimension: WIDTH, dtype: 'f16' });
  await writer.append(
    Float32Array.from({ length: COUNT * WIDTH }, () => normal(random)),
    Int32Array.from({ length: 2 * COUNT }, () => Math.floor(random() * 150_000)),
  );
  await writer.finish();
  const found = new Map([['arrow', await readFile(arrow)]]);
  const convert = async (name: string, to: string, layout: (typeof hdf5Layouts)[number]) => {
    await convertBag(arrow, join(folder, to), { facts: {}, layout, dtype: null });
    found.set(name, await readFile(join(folder, to)));
  };
  for (const layout of hdf5Layouts) await convert(layout, `${layout}.h5`, layout);
  await convert('torch', 'whole.pt', 'clam');
  return found;
}

/** Rows read. */
async function readWhole(path: string): Promise<number> {
  const bag = await openAnyBag(path, {});
  try {
    let rows = 0;
    for await (const { count } of bag.rows()) rows += count;
    return rows;
  } finally {
    bag.close();
  }
}

describe('damaged bags', () => {
  it('of every kind are read or refused by name', { timeout: 300_000 + 100 * cases }, async () => {
    const whole = [...(await wholeBags())];
    const random = createRandom(seed);
    const outcomes = new Map(whole.map(([name]) => [name, { read: 0, refused: 0 }]));
    let slowest = 0;
    for (const [name, bytes] of whole) {
      const path = join(folder, `whole-${name}`);
      await writeFile(path, bytes);
      expect(await readWhole(path), name).toBe(COUNT);
    }
    for (let i = 0; i < cases; i++) {
      const [name, bytes] = whole[i % whole.length]!;
      const path = join(folder, `damaged-${name}`);
      await writeFile(path, damage(bytes, random));
      const started = performance.now();
      try {
        await readWhole(path);
        outcomes.get(name)!.read++;
      } catch (error) {
        const at = `case ${i} of seed ${seed}, ${name}`;
        if (!(error instanceof UserError)) throw new Error(`${at}: ${error}`, { cause: error });
        if (!error.problem.includes(path)) throw new Error(`${at}: "${error.message}" does not name ${path}`);
        outcomes.get(name)!.refused++;
      }
      slowest = Math.max(slowest, performance.now() - started);
      // A library that gave up on one file must read the next.
      expect(await readWhole(join(folder, `whole-${name}`)), `${name} after case ${i}`).toBe(COUNT);
    }
    expect(slowest).toBeLessThan(5000);
    expect(process.memoryUsage().rss).toBeLessThan(1e9);
    const [read, refused] = (['read', 'refused'] as const).map((what) =>
      [...outcomes.values()].reduce((sum, one) => sum + one[what], 0),
    );
    // Both must have happened, or the damage is not where it should be.
    expect(Math.min(read!, refused!)).toBeGreaterThan(cases / 20);
    if (process.env.LAMINA_FUZZ_CASES) {
      process.stderr.write(
        `${JSON.stringify({ seed, slowestMs: Math.round(slowest), ...Object.fromEntries(outcomes) })}\n`,
      );
    }
  });
});
