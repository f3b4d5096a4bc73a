import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { plans, writeBagFolder } from '../train/bag-folder.ts';
import { lamina, start } from './spawn.ts';

let folder = '';
let table = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-cli-train-'));
  table = await writeBagFolder(join(folder, 'bags'), plans(24));
});
afterAll(() => rm(folder, { recursive: true }));

const small = ['width=8', 'attention=8', 'layers=1', 'state=4', 'epochs=3', 'patience=null'].flatMap((set) => [
  '--set',
  set,
]);
const train = (...more: string[]) => [
  'train',
  table,
  '--bags',
  join(folder, 'bags'),
  '--device',
  'wasm',
  '--folds',
  '3',
  ...small,
  ...more,
];

describe('lamina train', () => {
  it('trains, shows curves meanwhile, and prints figures with intervals', async () => {
    const out = join(folder, 'out');
    const run = start(train('--out', out, '--port', '0', '--set', 'epochs=400'));
    const [, url] = await run.until(/Curves at (\S+)/);
    const view = (await (await fetch(`${url}api/training`)).json()) as { folds: unknown[] };
    expect(Array.isArray(view.folds)).toBe(true);
    run.process.kill('SIGINT');
    expect((await run.ended).code).toBe(130);

    const { code, stdout } = await lamina(...train('--out', join(folder, 'whole'), '--json'));
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.figures.auc).toMatchObject({ value: expect.any(Number), low: expect.any(Number) });
    expect(result.folds.folds).toHaveLength(3);
    const head = (await readFile(join(folder, 'whole/predictions.csv'), 'utf8')).split('\n')[0];
    expect(head).toBe('slide,patient,label,fold,probability_high,probability_low');
  }, 60_000);

  it('refuses what it cannot do in a sentence, before it trains', async () => {
    const unknown = await lamina(...train('--out', join(folder, 'no'), '--set', 'speed=9'));
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/A recipe has no speed. It has model, width/),
    });
    const folds = await lamina(...train('--out', join(folder, 'no'), '--folds', '30'));
    expect(folds.stderr).toMatch(/24 patients .* cannot be split into 30 folds/);
  }, 30_000);
});

describe('lamina cohort', () => {
  it('checks a table, and fails when training would be wrong', async () => {
    const { code, stdout } = await lamina('cohort', 'check', table, '--bags', join(folder, 'bags'));
    expect(stdout).toMatch(/slides +24/);
    expect(stdout).toMatch(/labels +(low|high) 12, (low|high) 12/);
    expect(stdout).toMatch(/warning: .*fewer than 16 patches/);
    expect(code).toBe(0);
    const missing = await lamina('cohort', 'check', table, '--json');
    expect(missing.code).toBe(1);
    expect(JSON.parse(missing.stdout).findings[0]).toMatchObject({ level: 'error', code: 'missing-slide' });
  }, 30_000);

  it('shows the card of a public data set', async () => {
    const { code, stdout } = await lamina('cohort', 'card', 'camelyon16');
    expect(code).toBe(0);
    expect(stdout).toMatch(/licence +CC0/);
    expect(stdout).toContain('https://camelyon17.grand-challenge.org/Data/');
  }, 30_000);
});
