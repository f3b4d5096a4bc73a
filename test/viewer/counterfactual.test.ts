/** A lasso and a model: what remains is what the model sees. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDevice } from '../../src/kernels/open-device.ts';
import { createRandomModel } from '../../src/mil/create-model.ts';
import { saveModel } from '../../src/mil/model-folder.ts';
import { type CounterfactualView, slideUrl } from '../../src/viewer/api.ts';
import { remaining } from '../../src/viewer/counterfactual.ts';
import { createViewerApp, type ViewerApp } from '../../src/viewer/server.ts';
import { NEEDLE_MODEL, type NeedleRun, writeNeedleRun } from './needle-run.ts';

describe('the patches that remain', () => {
  it('are those whose middle lies in the lasso, or outside it', () => {
    const coords = Int32Array.from([0, 0, 256, 0, 512, 0, 0, 256]);
    const ring = [
      [100, 100],
      [400, 100],
      [400, 200],
      [100, 200],
    ];
    expect([...remaining(coords, 256, [ring], 'keep')]).toEqual([0, 1]);
    expect([...remaining(coords, 256, [ring], 'erase')]).toEqual([2, 3]);
    // Not the box around it: a triangle whose far corner holds no middle.
    const triangle = [
      [0, 0],
      [1000, 0],
      [0, 130],
    ];
    expect([...remaining(coords, 256, [triangle], 'keep')]).toEqual([]);
    expect([
      ...remaining(
        coords,
        256,
        [
          ring,
          [
            [500, 0],
            [700, 0],
            [700, 300],
            [500, 300],
          ],
        ],
        'erase',
      ),
    ]).toEqual([3]);
  });
});

describe('the needle slide', { timeout: 120_000 }, () => {
  let run: NeedleRun;
  let app: ViewerApp;
  let ring: [number, number][];

  beforeAll(async () => {
    run = await writeNeedleRun();
    ring = run.nest;
    app = await createViewerApp(run.folder, { device: 'wasm' });
  }, 120_000);
  afterAll(async () => {
    await app.close();
    await run.remove();
  });

  async function ask(entry: object): Promise<Response> {
    const headers = { 'x-lamina': '1', 'content-type': 'application/json' };
    const url = `http://127.0.0.1:7777/${slideUrl('needle', 'counterfactual')}`;
    return app.fetch(new Request(url, { method: 'POST', headers, body: JSON.stringify(entry) }));
  }

  it('keeping the nest moves the probability one way, erasing it the other; nothing erased changes nothing', async () => {
    const answer = async (entry: object) => (await (await ask(entry)).json()) as CounterfactualView;
    const nothing = await answer({ mode: 'erase', rings: [] });
    expect([nothing.patches, nothing.kept]).toEqual([run.patches.length, run.patches.length]);
    nothing.after.forEach((value, i) => void expect(value).toBeCloseTo(nothing.before[i]!, 5));
    const [erased, kept] = [
      await answer({ mode: 'erase', rings: [ring] }),
      await answer({ mode: 'keep', rings: [ring] }),
    ];
    expect(kept.kept).toBeGreaterThan(3);
    expect(erased.kept + kept.kept).toBe(run.patches.length);
    expect(erased.after[1]! - erased.before[1]!).toBeLessThan(-0.01);
    expect(kept.after[1]! - kept.before[1]!).toBeGreaterThan(0.01);
  });

  it.each([
    ['nothing would remain', { mode: 'keep', rings: [] }, 'No patch would remain'],
    ['another mode', { mode: 'burn', rings: [] }, 'not understood'],
    [
      'text for a place',
      {
        mode: 'keep',
        rings: [
          [
            ['a', 'b'],
            [1, 2],
            [2, 3],
          ],
        ],
      },
      'not understood',
    ],
    ['no region', {}, 'not understood'],
  ])('%s: a sentence', async (_, entry, sentence) => {
    const response = await ask(entry);
    expect([response.status, ((await response.json()) as { message: string }).message]).toEqual([
      400,
      expect.stringContaining(sentence),
    ]);
  });

  it('a model that is not the one of the run is refused', async () => {
    const device = await openDevice('wasm', { threads: 1 });
    const other = join(run.folder, '../other');
    const { parameters } = createRandomModel(device, NEEDLE_MODEL, { seed: 2 });
    await saveModel(other, NEEDLE_MODEL, parameters);
    await device.close();
    const wrong = await createViewerApp(run.folder, { device: 'wasm', model: other });
    const headers = { 'x-lamina': '1', 'content-type': 'application/json' };
    const url = `http://127.0.0.1:7777/${slideUrl('needle', 'counterfactual')}`;
    const body = JSON.stringify({ mode: 'erase', rings: [ring] });
    const response = await wrong.fetch(new Request(url, { method: 'POST', headers, body }));
    expect(await response.json()).toMatchObject({ code: 'model-mismatch' });
    await wrong.close();
  });
});
