import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { UserError } from '../../src/errors.ts';
import type { BagMeta } from '../../src/features/bag.ts';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { createBagWriter, readBag } from '../../src/features/store.ts';
import { tryLock } from '../../src/lock.ts';
import type { Faithfulness } from '../../src/mil/faithfulness.ts';
import { runBatch } from '../../src/run/batch.ts';
import { type ExplainOptions, explainRun } from '../../src/run/explain-run.ts';
import { openPredictor } from '../../src/run/predictor.ts';
import { findSlides } from '../../src/run/slide-inputs.ts';
import { plainTiling } from '../../src/run/survey.ts';
import { saveRandomModel } from '../cli/random-model.ts';
import { lamina, tree } from '../cli/spawn.ts';
import { randomNumbers } from '../mil/small-models.ts';

const ROWS = 40;
let folder = '';
const run = () => join(folder, 'run');
const model = () => join(folder, 'model');
const bagPath = (id: string) => join(run(), 'slides', id, 'bag.arrow');

function options(changes: Partial<ExplainOptions> = {}): ExplainOptions {
  return {
    model: model(),
    kinds: null,
    slides: [],
    measured: 1,
    device: 'wasm',
    threads: 1,
    signal: new AbortController().signal,
    onSlide: () => {},
    ...changes,
  };
}

/** Two slides as a run leaves them, one whose bag has no features, one of another model. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-explain-'));
  await saveRandomModel(model());
  const encoder = await openEncoder('stain-texture');
  const predictor = await openPredictor(model(), { modelType: null, device: 'wasm', threads: 1 });
  for (const [i, id] of ['first', 'second', 'placed', 'foreign'].entries()) {
    await mkdir(join(run(), 'slides', id), { recursive: true });
    const meta = {
      slideId: id,
      slideHash: 'sha256:0',
      mpp: 0.5,
      mppSource: 'file',
      patchMpp: 0.5,
      patchPx: 256,
      patchLevel0Px: 256,
      encoder: encoder.id,
      order: 'row-major',
      version: '0',
    } as BagMeta;
    const dimension = id === 'placed' ? 0 : encoder.dimension;
    const writer = await createBagWriter(bagPath(id), meta, { dimension, dtype: 'f32' });
    const coords = Int32Array.from({ length: 2 * ROWS }, (_, k) => 256 * (k % 2 ? Math.floor(k / 16) : (k >> 1) % 8));
    await writer.append(randomNumbers(i, ROWS * dimension), coords);
    await writer.finish();
    const hash = id === 'foreign' ? 'sha256:other' : predictor.model.hash;
    await writeFile(join(run(), 'slides', id, 'prediction.json'), JSON.stringify({ model: { name: 'm', hash } }));
  }
  await predictor.close();
  await encoder.close();
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('explaining a run', () => {
  it('writes columns into the bags and says which slides it cannot explain', async () => {
    const before = await readBag(bagPath('first'));
    const { slides, faithfulness } = await explainRun(run(), options());
    expect(slides.map(({ id, problem }) => [id, problem?.code ?? null])).toEqual([
      ['first', null],
      ['foreign', 'model-mismatch'],
      ['placed', 'no-features'],
      ['second', null],
    ]);
    const after = await readBag(bagPath('first'));
    expect(after.features).toEqual(before.features);
    expect(Object.keys(after.scores).sort()).toEqual(
      ['evidence', 'evidence_normal', 'evidence_tumour', 'gradient_x_input', 'hidden_attention', 'sensitivity'].sort(),
    );
    // One slide was measured, on each column but the evidence of single classes.
    const written = JSON.parse(await readFile(join(run(), 'faithfulness.json'), 'utf8')) as Faithfulness;
    expect(written).toEqual(faithfulness);
    expect(written.slides).toBe(1);
    expect(written.columns.map(({ name }) => name)).toEqual([
      'evidence',
      'gradient_x_input',
      'sensitivity',
      'hidden_attention',
    ]);
  });

  it('of a survival model says that faithfulness is not measured', async () => {
    const path = join(folder, 'risk');
    await saveRandomModel(path, { task: 'survival', classes: ['early', 'middle', 'late'] });
    const of = join(folder, 'followed');
    const slide = join(of, 'slides', 'first');
    await cp(join(run(), 'slides', 'first'), slide, { recursive: true });
    const predictor = await openPredictor(path, { modelType: null, device: 'wasm', threads: 1 });
    const prediction = { model: { name: 'risk', hash: predictor.model.hash } };
    await predictor.close();
    await writeFile(join(slide, 'prediction.json'), JSON.stringify(prediction));
    const found = await explainRun(of, options({ model: path }));
    expect(found.slides[0]!.problem).toBeNull();
    expect(found).toMatchObject({ faithfulness: null, unmeasured: expect.stringMatching(/not measured.*risk/) });
    const unasked = await explainRun(of, options({ model: path, measured: 0 }));
    expect(unasked.unmeasured).toBeNull();
  });

  it('takes the kinds and slides that are asked for', async () => {
    const chosen = options({ kinds: ['gradient'], slides: ['second'], measured: 0 });
    expect(await explainRun(run(), chosen)).toMatchObject({
      slides: [{ id: 'second', columns: ['gradient_x_input', 'sensitivity'] }],
      faithfulness: null,
    });
    await expect(explainRun(run(), options({ slides: ['nobody'] }))).rejects.toThrow(/no slide nobody/);
    await expect(explainRun(join(folder, 'none'), options())).rejects.toThrow(/is no run/);
  });

  it('leaves a slide alone that somebody is at, and leaves nothing behind', async () => {
    const chosen = options({ kinds: ['gradient'], slides: ['first', 'second'], measured: 0 });
    await writeFile(`${bagPath('second')}.partial`, 'of one that was killed');
    const before = await readFile(bagPath('first'));
    const lock = (await tryLock(join(run(), 'slides', '.first.lock')))!;
    const { slides } = await explainRun(run(), chosen);
    await lock.release();
    expect(slides.map(({ id, problem }) => [id, problem?.code ?? null])).toEqual([
      ['first', 'locked'],
      ['second', null],
    ]);
    expect(await readFile(bagPath('first'))).toEqual(before);
    expect((await explainRun(run(), options({ kinds: ['gradient'], measured: 0 }))).slides).toHaveLength(4);
    expect((await tree(run())).filter((name) => /partial|lock/.test(name))).toEqual([]);
  });

  it('runs from the command line, and the evaluation of the run shows it', async () => {
    const { code, stdout, stderr } = await lamina(
      'explain',
      run(),
      '--model',
      model(),
      '--device',
      'wasm',
      '--faithfulness',
      '2',
    );
    expect(code).toBe(3);
    expect(stdout).toMatch(/2 of 4 slides explained/);
    expect(stdout).toMatch(/random order +[01]\.\d{3}/);
    expect(stderr).toMatch(/foreign: not explained. foreign was predicted by m/);
    expect((await lamina('explain', run(), '--model', model(), '--kinds', 'magic')).code).toBe(2);

    const table =
      'slide,label,status,probability_normal,probability_tumour\nfirst,normal,done,0.75,0.25\nsecond,tumour,done,0.5,0.5\n';
    await writeFile(join(run(), 'summary.csv'), table);
    const out = join(folder, 'evaluation');
    expect((await lamina('evaluate', run(), '--out', out, '--resamples', '20')).code).toBe(0);
    expect((await readFile(join(out, 'report.html'), 'utf8')).includes('Faithfulness of the explanations')).toBe(true);
  });
});

describe('explaining as the run goes', () => {
  it('keeps a prediction whose explanation finds no memory, and says so', async () => {
    const slide = join(folder, 'slide.tif');
    await writeSyntheticSlide(slide, { seed: 1, widthPx: 1024, heightPx: 1024, tumour: true });
    const predictor = await openPredictor(model(), { modelType: null, device: 'wasm', threads: 1, explain: true });
    const encoder = await openEncoder('stain-texture');
    const explain = async () => {
      throw new UserError('out-of-memory', 'The device has no room.', 'Take a larger one.');
    };
    const out = join(folder, 'short-of-memory');
    const [outcome] = await runBatch(
      await findSlides([slide]),
      { encoder, predictor: { ...predictor, explain } },
      {
        out,
        mpp: null,
        tiling: plainTiling(256, 0.5),
        batchSize: 64,
        dtype: 'f16',
        keepBags: true,
        live: false,
        retries: 0,
        failFast: false,
        asked: {},
        signal: new AbortController().signal,
        onEvent: () => {},
      },
    );
    await predictor.close();
    await encoder.close();
    expect(outcome).toMatchObject({ status: 'done', finished: { prediction: { classes: ['normal', 'tumour'] } } });
    expect(outcome!.finished!.slide.warnings).toEqual([
      'The prediction is not explained. The device has no room. Take a larger one.',
    ]);
    const { scores } = await readBag(join(out, 'slides', 'slide', 'bag.arrow'));
    expect(Object.keys(scores)).toEqual(['attention', 'attention_raw']);
  });
});
