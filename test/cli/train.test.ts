import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
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

  it('shows whoever looks at the curves how it ended', async () => {
    const run = start(train('--out', join(folder, 'seen'), '--port', '0'));
    const [, url] = await run.until(/Curves at (\S+)/);
    let result: string | null = null;
    // As the page does, only faster.
    while (result === null) {
      ({ result } = (await (await fetch(`${url}api/training`)).json()) as { result: string | null });
      await wait(500);
    }
    expect(result).toMatch(/^Done: out-of-fold AUC/);
    expect((await run.ended).code).toBe(0);
  }, 60_000);

  it('takes classes with commas in their names, and says each warning once', async () => {
    const text = (await readFile(table, 'utf8')).replaceAll(',high', ',"tumour, high"');
    const commas = join(folder, 'commas.csv');
    await writeFile(commas, text);
    const named = train('--out', join(folder, 'commas'), '--classes', '["tumour, high","low","other"]');
    const { code, stderr } = await lamina(...named.map((arg) => (arg === table ? commas : arg)));
    expect(code).toBe(0);
    expect(stderr.match(/No row is of the class other/g)).toHaveLength(1);
    const head = (await readFile(join(folder, 'commas/predictions.csv'), 'utf8')).split('\n')[0];
    expect(head).toBe('slide,patient,label,fold,"probability_tumour, high",probability_low,probability_other');
    const broken = await lamina(...train('--out', join(folder, 'no'), '--classes', '["low"'));
    expect(broken.stderr).toMatch(/commas between them, or a JSON array/);
  }, 60_000);

  it('keeps test slides of the table out, and an evaluation names slides that a model was trained on', async () => {
    const lines = (await readFile(table, 'utf8')).trim().split('\n');
    const given = join(folder, 'given.csv');
    const parts = lines.map((line, i) => `${line},${i === 0 ? 'split' : i <= 16 ? 'train' : 'test'}`);
    await writeFile(given, `${parts.join('\n')}\n`);
    const trainOn = (out: string, ...more: string[]) =>
      lamina(...train('--out', join(folder, out), ...more).map((arg) => (arg === table ? given : arg)));
    const evaluate = (out: string) => {
      const model = ['--model', join(folder, out, 'model'), '--bags', join(folder, 'bags')];
      return lamina('evaluate', given, ...model, '--device', 'wasm', '--resamples', '20');
    };
    expect((await trainOn('given')).stderr).toMatch(/names 8 test rows: they only test/);
    expect((await evaluate('given')).stderr).not.toMatch(/was trained on/);
    await trainOn('dealt', '--split', 'k-fold');
    const remembered = await evaluate('dealt');
    expect(remembered.code).toBe(0);
    expect(remembered.stderr).toMatch(/was trained on 8 of these 8 slides \(s16, s17, s18, s19, s20, …\)/);
  }, 90_000);

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
