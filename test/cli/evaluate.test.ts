/** What the commands about tables and models do as a whole, on files that lie where a person's would. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTable } from '../../src/csv.ts';
import { readSafetensors } from '../../src/mil/safetensors.ts';
import { plans, writeBagFolder } from '../train/bag-folder.ts';
import { saveRandomModel } from './random-model.ts';
import { lamina } from './spawn.ts';

const golden = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const CHECKPOINT = 'lbmamba_d64';
const DIMENSION = 128;

let folder = '';
const file = (...names: string[]) => join(folder, ...names);
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-commands-'))));
afterAll(() => rm(folder, { recursive: true }));

describe.skipIf(!existsSync(join(golden, 'manifest.json')))('lamina evaluate COHORT --model --bags', () => {
  it('predicts with a model that PyTorch trained, and reports', async () => {
    await writeBagFolder(
      file('bags'),
      plans(8).map((plan) => ({ ...plan, dimension: DIMENSION })),
    );
    await lamina('convert', join(golden, `bag_${CHECKPOINT}.pt`), file('bags', 'golden.arrow'));
    const rows = plans(8).map(({ id, label }) => `${id}.svs,${label ? 'b' : 'a'},`);
    const cohort = ['slide,label,split', 'golden.svs,b,', ...rows].join('\n');
    await writeFile(file('cohort.csv'), cohort);
    await copyFile(join(golden, `ckpt_${CHECKPOINT}.pt`), file('lb.pt'));
    const card = { type: 'lbmamba', input: DIMENSION, width: 64, layers: 2, attention: 128, classes: ['a', 'b'] };
    await writeFile(file('lb.json'), JSON.stringify(card));

    const args = ['--model', file('lb.pt'), '--bags', file('bags'), '--out', file('report'), '--resamples', '50'];
    const { code, stdout, stderr } = await lamina('evaluate', file('cohort.csv'), ...args, '--device', 'wasm');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/Cases +9/);
    const { rows: predicted } = parseTable('p', await readFile(file('report', 'predictions.csv'), 'utf8'));
    const manifest = JSON.parse(await readFile(join(golden, 'manifest.json'), 'utf8'));
    const bag = manifest.cases.findLast(
      ({ kind, config }: { kind: string; config: { name: string } }) =>
        kind === 'mil_model' && config.name === CHECKPOINT,
    );
    const tensors = readSafetensors(await readFile(join(golden, bag.file)), 'golden');
    const [a, b] = tensors.get(`${bag.name}/out/logits`)!.data as Float32Array;
    expect(predicted).toHaveLength(9);
    expect(Number(predicted[0]!.probability_b)).toBeCloseTo(1 / (1 + Math.exp(a! - b!)), 5);
    const evaluation = JSON.parse(await readFile(file('report', 'evaluation.json'), 'utf8'));
    expect(evaluation.models[0].slides).toMatchObject({ cases: 9, figures: { auc: { value: expect.any(Number) } } });
    expect((await readFile(file('report', 'report.html'), 'utf8')).includes(file('lb.pt'))).toBe(true);
  }, 60_000);
});

describe('lamina evaluate of survival and of grades', () => {
  it('names the slides that the C-index is lost on', async () => {
    await writeFile(file('risks.csv'), 'slide,time,event,risk\ns0,1,1,9\ns1,2,1,0\ns2,3,1,5\ns3,4,0,4\n');
    const { code } = await lamina('evaluate', file('risks.csv'), '--out', file('risks'), '--resamples', '20');
    expect(code).toBe(0);
    const report = await readFile(file('risks', 'report.html'), 'utf8');
    expect(report).toMatch(/href="[^"]+#slide=s1">s1<\/a><\/th><td>s1<\/td><td>–<\/td><td>2<\/td><td>event<\/td>/);
  }, 30_000);

  it('says in which order it takes grades', async () => {
    const grades = ['negative', 'itc', 'micro'];
    const rows = grades.map((name, i) => `s${i},${name},${grades.map((_, k) => Number(k === i)).join(',')}`);
    const head = `slide,label,${grades.map((name) => `probability_${name}`).join(',')}`;
    await writeFile(file('grades.csv'), [head, ...rows].join('\n'));
    const { stdout } = await lamina('evaluate', file('grades.csv'), '--ordered', '--resamples', '20');
    expect(stdout).toContain('Grades, in this order: negative, itc, micro');
  }, 30_000);
});

describe('lamina orders', () => {
  it('prints the weights of a search, and the discrete model that follows', async () => {
    const orders = [['row-major', 'column-major', 'hilbert']] as const;
    const search = { layers: 1, flip: 'none', orders, merge: 'search' } as const;
    await saveRandomModel(file('search'), search);
    const { code, stdout } = await lamina('orders', file('search'), '--keep', '2', '--json');
    expect(code).toBe(0);
    const found = JSON.parse(stdout) as { layers: Record<string, number>[]; orders: string[][] };
    const weights = Object.values(found.layers[0]!);
    expect(Object.keys(found.layers[0]!)).toEqual(orders[0]);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6);
    const lightest = Object.entries(found.layers[0]!).findLast(([, weight]) => weight === Math.min(...weights))![0];
    expect(found.orders).toEqual([orders[0].filter((order) => order !== lightest)]);
    const printed = await lamina('orders', file('search'), '--keep', '2');
    expect(printed.stdout).toContain(`--set 'scanOrders=${JSON.stringify(found.orders)}'`);
    await saveRandomModel(file('plain'));
    expect((await lamina('orders', file('plain'))).stderr).toMatch(/was not trained to search scan orders/);
  }, 60_000);
});

describe('lamina cohort build', () => {
  it('writes the table of a download folder, and what it left out', async () => {
    const download = file('camelyon17');
    await mkdir(download);
    for (const name of ['patient_000_node_0', 'patient_025_node_3']) await writeFile(join(download, `${name}.tif`), '');
    await writeFile(join(download, 'stages.csv'), 'patient,stage\npatient_000_node_0.tif,negative\n');
    const { code, stdout, stderr } = await lamina('cohort', 'build', 'camelyon17', download, '--out', file('c17.csv'));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'note: 1 slides have no label in the table of stages and are left out.\n',
    });
    expect(stdout).toContain(`${file('c17.csv')}: 1 slides. Next: lamina cohort check`);
    expect(await readFile(file('c17.csv'), 'utf8')).toBe(
      `slide,patient,label,site\n${join(download, 'patient_000_node_0.tif')},patient_000,negative,centre 0\n`,
    );
    expect((await lamina('cohort', 'build', 'camelyon17', file('none'), '--out', file('x.csv'))).code).toBe(1);
  }, 30_000);
});
