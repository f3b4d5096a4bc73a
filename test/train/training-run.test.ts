import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readBag } from '../../src/features/store.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { openModel } from '../../src/mil/model-folder.ts';
import { type BagPrediction, predictBag } from '../../src/mil/predict.ts';
import { readPredictions } from '../../src/mil/predictions.ts';
import { findBags } from '../../src/train/bag-files.ts';
import { readCohort } from '../../src/train/cohort.ts';
import { checkCohort } from '../../src/train/cohort-check.ts';
import { combinations, searchRecipe } from '../../src/train/search.ts';
import { planTraining, type TrainingOptions, trainCohort } from '../../src/train/training-run.ts';
import { seenInTraining } from '../../src/train/training-slides.ts';
import { DIMENSION, plans, writeBagFolder } from './bag-folder.ts';

let root = '';
let bags = '';
let table = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lamina-train-'));
  bags = join(root, 'bags');
  table = await writeBagFolder(bags, plans(30));
});
afterAll(() => rm(root, { recursive: true }));

const small = { width: 16, attention: 8, epochs: 6, lr: 3e-3, patience: null, warmUp: 0, layers: 1, state: 4 };

async function options(out: string, changes: Partial<TrainingOptions> = {}): Promise<TrainingOptions> {
  return {
    cohort: await readCohort(table),
    bags,
    out: join(root, out),
    recipe: 'lamina',
    changes: small,
    target: {},
    split: { kind: 'k-fold', folds: 3, testShare: 0.3 },
    seed: 5,
    device: 'wasm',
    threads: 2,
    ...changes,
  };
}

const bytesOf = (out: string, file: string) => readFile(join(root, out, file));

describe('a training', () => {
  it('predicts each slide by a model that has not seen its patient, and well', async () => {
    const { evaluation } = await trainCohort(await options('first'));
    const predictions = readPredictions('p', await readFile(join(root, 'first/predictions.csv'), 'utf8'));
    expect(predictions.cases.map(({ slide }) => slide).sort()).toEqual(
      plans(30)
        .map(({ id }) => id)
        .sort(),
    );
    expect(evaluation!.slides.figures.auc!.value).toBeGreaterThan(0.95);
    expect(evaluation!.folds!.folds).toHaveLength(3);
    const { folds } = JSON.parse(await readFile(join(root, 'first/train.json'), 'utf8'));
    for (const { train, validation, test } of folds) {
      expect(test.some((id: string) => train.includes(id) || validation.includes(id))).toBe(false);
    }
  });

  it('gives the same bits for the same seed, and others for another', async () => {
    await trainCohort(await options('again'));
    await trainCohort(await options('other', { seed: 6 }));
    for (const file of ['predictions.csv', 'model/fold-1/model.safetensors', 'model/fold-3/model.safetensors']) {
      expect(await bytesOf('again', file)).toEqual(await bytesOf('first', file));
      expect(await bytesOf('other', file)).not.toEqual(await bytesOf('first', file));
    }
  });

  it('goes on where it was stopped, and ends with the same bits', async () => {
    const stop = new AbortController();
    let epochs = 0;
    const interrupted = await options('resumed', {
      checkpointSeconds: 0,
      signal: stop.signal,
      onEvent: ({ kind }) => kind === 'epoch' && ++epochs === 9 && stop.abort(),
    });
    await expect(trainCohort(interrupted)).rejects.toThrow();
    let later = 0;
    const again = await options('resumed', { onEvent: ({ kind }) => void (kind === 'epoch' && later++) });
    await trainCohort(again);
    // What was finished before was not trained again.
    expect(later).toBeLessThan(18);
    for (const file of ['predictions.csv', 'model/fold-1/model.safetensors', 'model/fold-2/model.safetensors']) {
      expect(await bytesOf('resumed', file)).toEqual(await bytesOf('first', file));
    }
  });

  it('gives the same bits for long bags, with little memory, interrupted after a fold, and with other threads then', async () => {
    const folder = join(root, 'long');
    const long = plans(8).map((plan) => ({ ...plan, patches: 1600, dimension: 32 }));
    const cohort = await readCohort(await writeBagFolder(folder, long));
    const changes = { ...small, epochs: 1, width: 32, state: 16, validationShare: 0 };
    const split = { kind: 'k-fold' as const, folds: 2, testShare: 0 };
    const common = { cohort, bags: folder, changes, split, threads: 4 };
    await trainCohort(await options('long-whole', common));

    // Memory for one fold at a time: the second is still to be begun when the first is done.
    const memory = vi.spyOn(process, 'availableMemory').mockReturnValue(250e6);
    const stop = new AbortController();
    let done = 0;
    const first = await options('long-resumed', {
      ...common,
      signal: stop.signal,
      onEvent: ({ kind }) => kind === 'fold' && ++done && stop.abort(),
    });
    await expect(trainCohort(first)).rejects.toThrow();
    expect(done).toBe(1);
    memory.mockRestore();
    await trainCohort(await options('long-resumed', { ...common, threads: 1 }));
    for (const file of ['predictions.csv', 'model/fold-1/model.safetensors', 'model/fold-2/model.safetensors']) {
      expect((await bytesOf('long-resumed', file)).equals(await bytesOf('long-whole', file))).toBe(true);
    }
    const { threadsPerFold } = JSON.parse(await readFile(join(root, 'long-resumed/train.json'), 'utf8'));
    expect(threadsPerFold).toBe(2);
  }, 60_000);

  it('refuses the folder of another training, and says what is other about it', async () => {
    const other = { seed: 99, changes: { ...small, lr: 1e-3 } };
    await expect(trainCohort(await options('first', other))).rejects.toThrow(/another recipe, another seed\./);
    const path = join(root, 'again/train.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    const marks = { ...record.marks, version: '0.0.1' };
    await writeFile(path, JSON.stringify({ ...record, key: 'of that version', marks }));
    await expect(trainCohort(await options('again'))).rejects.toThrow(
      /has another version of Lamina \(0\.0\.1; this is/,
    );
  });

  it('is another one when a bag was written anew', async () => {
    const folder = join(root, 'renewed');
    const cohort = await readCohort(await writeBagFolder(folder, plans(12)));
    const renewed = await options('renewed-out', { cohort, bags: folder, changes: { ...small, epochs: 1 } });
    await trainCohort(renewed);
    await utimes(join(folder, 's3.arrow'), 1, 1);
    await expect(trainCohort(renewed)).rejects.toThrow(/another bags \(or/);
  });

  it('only tests the rows that the table names for it, unless another split is asked for', async () => {
    const folder = join(root, 'named');
    const named = plans(24).map((plan, i) => ({ ...plan, split: i < 16 ? 'train' : 'test' }));
    const cohort = await readCohort(await writeBagFolder(folder, named));
    const changes = { ...small, epochs: 1 };
    const unsaid = { kind: null, folds: 3, testShare: 0 };
    const { warnings } = await trainCohort(
      await options('named-out', { cohort, bags: folder, changes, split: unsaid }),
    );
    expect(warnings).toContainEqual(expect.stringMatching(/names 8 test rows: they only test/));
    const { folds } = JSON.parse(await readFile(join(root, 'named-out/train.json'), 'utf8'));
    expect(folds).toHaveLength(1);
    expect(folds[0].test).toEqual(named.slice(16).map(({ id }) => id));
    const files = await findBags(folder, cohort.rows);
    const seen = await seenInTraining(join(root, 'named-out/model'), files);
    expect(seen.map(({ id }) => id).sort()).toEqual(
      named
        .slice(0, 16)
        .map(({ id }) => id)
        .sort(),
    );

    const dealt = await options('dealt-out', { cohort, bags: folder, changes });
    const { warnings: others } = await trainCohort(dealt);
    expect(others).toContainEqual(expect.stringMatching(/names 8 test rows; --split k-fold trains on them too/));
    expect(await seenInTraining(join(root, 'dealt-out/model'), files)).toHaveLength(24);
  });

  it('saves models that read raw features, and an ensemble that averages them', async () => {
    const device = await openWasm({ threads: 1 });
    try {
      const predictions = readPredictions('p', await readFile(join(root, 'first/predictions.csv'), 'utf8'));
      const ensemble = await openModel(join(root, 'first/model'), device);
      expect(ensemble.members).toHaveLength(3);
      for (const one of predictions.cases.slice(0, 6)) {
        const bag = await readBag(join(bags, `${one.slide}.arrow`));
        const each: BagPrediction[] = [];
        for (const member of ensemble.members!) each.push(await predictBag(member, bag));
        const own = each[Number(one.fold) - 1]!.probabilities;
        if (!('probabilities' in one)) throw new Error('no probabilities');
        own.forEach((p, k) => void expect(p).toBeCloseTo(one.probabilities[k]!, 4));
        const together = await predictBag(ensemble, bag);
        together.probabilities.forEach((p, k) => {
          expect(p).toBeCloseTo(each.reduce((sum, { probabilities }) => sum + probabilities[k]!, 0) / 3, 6);
        });
        expect(together.attention!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
      }
    } finally {
      await device.close();
    }
  });

  it('trains survival models', async () => {
    const folder = join(root, 'survival');
    const followed = plans(40).map((plan, i) => ({
      ...plan,
      time: plan.label ? 1 + (i % 7) : 20 + (i % 9),
      event: i % 5 === 4 ? 0 : 1,
    }));
    const cohort = await readCohort(await writeBagFolder(folder, followed));
    const changes = { ...small, epochs: 15, bagsPerStep: 4 };
    const { evaluation } = await trainCohort(await options('survival-out', { cohort, bags: folder, changes }));
    // Within the two groups times are chance, so of all pairs only about half can be told: 0.75 would be perfect.
    expect(evaluation!.slides.figures.cIndex!.value).toBeGreaterThan(0.65);
  });

  it('searches a grid by the validation rows', async () => {
    expect(combinations({ lr: [1, 2], width: [3, 4] })).toHaveLength(4);
    const found = await searchRecipe(await options('search'), { lr: [1e-7, 3e-3] }, () => {});
    expect(found.changes.lr).toBe(3e-3);
    expect((await readFile(join(root, 'search/search.csv'), 'utf8')).trim().split('\n')).toHaveLength(3);
    const { warnings } = await trainCohort({ ...found, changes: { ...found.changes, epochs: 1 } });
    expect(warnings).toContainEqual(expect.stringMatching(/figures are somewhat too good/));
    const grid = { validationShare: [0.1, 0.2] };
    await expect(searchRecipe(await options('search'), grid, () => {})).rejects.toThrow(/says which rows judge/);
  });

  it('goes on with a search where it was stopped, and hands on what it knows of the bags', async () => {
    const grid = { lr: [1e-7, 3e-3, 1e-3] };
    const stop = new AbortController();
    const told: string[] = [];
    const stopped = await options('search-again', { threads: 1, signal: stop.signal });
    await expect(
      searchRecipe(stopped, grid, (line) => {
        told.push(line);
        stop.abort();
      }),
    ).rejects.toThrow();
    expect(told).toHaveLength(1);

    const lines: string[] = [];
    const found = await searchRecipe(await options('search-again', { threads: 1 }), grid, (line) => lines.push(line));
    expect(lines.filter((line) => line.endsWith(', before'))).toHaveLength(1);
    expect(lines).toHaveLength(4);
    expect(found.changes.lr).toBe(3e-3);
    expect(found.facts!.counts).toHaveLength(30);
  });
});

describe('bad bags', () => {
  const trainOn = async (name: string, changed: Parameters<typeof writeBagFolder>[1]) => {
    const folder = join(root, name);
    const cohort = await readCohort(await writeBagFolder(folder, changed));
    return trainCohort(await options(`${name}-out`, { cohort, bags: folder }));
  };

  it('are refused by width and by encoder, naming the rows', async () => {
    const odd = plans(12).map((plan) => (plan.id === 's7' ? { ...plan, dimension: DIMENSION + 1 } : plan));
    await expect(trainOn('width', odd)).rejects.toThrow(/line 9 \(s7\): features a patch: 7, the first bag has 6/);
    const mixed = plans(12).map((plan) => (plan.id === 's3' ? { ...plan, encoder: 'another@2' } : plan));
    await expect(trainOn('encoder', mixed)).rejects.toThrow(/line 5 \(s3\): the encoder is another@2/);
  });

  it('without places are refused where the recipe orders patches by them, naming the rows', async () => {
    const folder = join(root, 'nowhere');
    const lost = plans(12).map((plan) => (plan.id === 's3' ? { ...plan, placed: false } : plan));
    const cohort = await readCohort(await writeBagFolder(folder, lost));
    for (const changes of [{ rowOrders: ['hilbert'] }, { scanOrders: [['hilbert']] }]) {
      const training = options('nowhere-out', { cohort, bags: folder, changes: { ...small, ...changes } });
      const field = Object.keys(changes)[0]!;
      await expect(trainCohort(await training)).rejects.toThrow(new RegExp(`line 5 \\(s3\\).*which ${field} goes by`));
    }
  });

  it('in different orders are a warning for models that read them in their order', async () => {
    const folder = join(root, 'orders');
    const mixed = plans(12).map((plan, i) => ({ ...plan, order: i < 4 ? ('hilbert' as const) : ('snake' as const) }));
    const cohort = await readCohort(await writeBagFolder(folder, mixed));
    const warningsWith = async (changes: Record<string, unknown>) =>
      (await planTraining(await options('orders-out', { cohort, bags: folder, changes: { ...small, ...changes } })))
        .warnings;
    const mention = expect.stringMatching(/different orders \(4 hilbert, 8 snake\)/);
    expect(await warningsWith({})).toContainEqual(mention);
    expect(await warningsWith({ model: 'abmil' })).not.toContainEqual(mention);
    expect(await warningsWith({ scanOrders: [['hilbert']] })).not.toContainEqual(mention);
  });

  it('are refused when empty, missing, or with numbers that are none', async () => {
    const empty = plans(12).map((plan) => (plan.id === 's2' ? { ...plan, patches: 0 } : plan));
    await expect(trainOn('empty', empty)).rejects.toThrow(/line 4 \(s2\): the bag has no patches/);

    const folder = join(root, 'damaged');
    const cohort = await readCohort(await writeBagFolder(folder, plans(12)));
    const path = join(folder, 's4.arrow');
    const file = await readFile(path);
    const first = Buffer.from(Float32Array.of((await readBag(path)).features[8]!).buffer);
    file.set(Buffer.from(Float32Array.of(Number.NaN).buffer), file.indexOf(first));
    await writeFile(path, file);
    const damaged = await options('damaged-out', { cohort, bags: folder });
    await expect(trainCohort(damaged)).rejects.toThrow(/line 6 \(s4\): feature 2 of patch 1 is NaN/);
    const { findings } = await checkCohort(cohort, { bags: folder, hash: false });
    expect(findings.map(({ code }) => code)).toContain('not-finite');

    await rm(path);
    await expect(trainCohort(damaged)).rejects.toThrow(/no bag of 1 of 12 slides: line 6 \(s4\)/);
  });
});

describe('bad tables', () => {
  it('are refused for slides named twice, with all lines that name them', async () => {
    const folder = join(root, 'twice');
    const path = await writeBagFolder(folder, plans(12));
    await writeFile(path, `${await readFile(path, 'utf8')}\nelsewhere/s3.svs,another,low\n`);
    const twice = options('twice-out', { cohort: await readCohort(path), bags: folder });
    await expect(trainCohort(await twice)).rejects.toThrow(/s3 \(lines 5, 15\)/);
  });

  it('are refused when the only patients of a class are needed for the test, by the name of the class', async () => {
    const folder = join(root, 'rare');
    const path = await writeBagFolder(folder, plans(12));
    await writeFile(path, (await readFile(path, 'utf8')).replace('s5.svs,s5,high', 's5.svs,s5,rare'));
    const rare = options('rare-out', { cohort: await readCohort(path), bags: folder });
    await expect(trainCohort(await rare)).rejects.toThrow(/class rare is not in the training rows.*s5/);
  });
});
