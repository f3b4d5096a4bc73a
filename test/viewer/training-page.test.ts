import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServedTraining, serveTraining, type TrainingView, trainingPage } from '../../src/viewer/training-page.ts';

const epochs = [1, 2, 3].map((epoch) => ({
  epoch,
  trainLoss: 1 / epoch,
  validationLoss: epoch === 1 ? null : 0.5,
  validationScore: epoch === 1 ? null : 0.7 + 0.1 * epoch,
}));
const view: TrainingView = {
  title: 'Training of <b>.csv',
  epochs: 10,
  score: 'AUC',
  folds: [
    { name: '1', status: 'training', epochs, best: null },
    { name: '2', status: 'waiting', epochs: [], best: null },
  ],
  warnings: ['3 & 4 are "rare"'],
  result: null,
};

describe('the page of a training', () => {
  let served: ServedTraining;
  let current = view;
  beforeAll(async () => void (served = await serveTraining(() => current, { port: 0 })));
  afterAll(() => served.close());

  it('draws a line for each fold and kind, writes text as text, and comes again by itself', async () => {
    const answer = await fetch(served.url);
    const html = await answer.text();
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(html).toContain('Training of &lt;b&gt;.csv');
    expect(html).toContain('3 &amp; 4 are &quot;rare&quot;');
    expect(html).toContain('http-equiv="refresh"');
    const [losses] = html.split('</figure>');
    expect(/class="c0 solid" points="([^"]*)"/.exec(losses!)![1]!.split(' ')).toHaveLength(3);
    expect(/class="c0 dashed" points="([^"]*)"/.exec(losses!)![1]!.split(' ')).toHaveLength(2);
    expect(await (await fetch(`${served.url}api/training`)).json()).toEqual(view);
  });

  it('stops coming again when all is done', () => {
    const html = trainingPage({ ...view, result: 'Done.' });
    expect(html).not.toContain('http-equiv="refresh"');
    expect(html).toContain('Done.');
  });

  it('shows what is new at each request, and answers no other name', async () => {
    current = { ...view, title: 'Later' };
    expect(await (await fetch(served.url)).text()).toContain('Later');
    const strange = await fetch(served.url, { headers: { origin: 'http://elsewhere.example' } });
    expect(strange.status).toBe(403);
  });

  it('says which port is in use', async () => {
    const port = Number(new URL(served.url).port);
    await expect(serveTraining(() => view, { port })).rejects.toThrow(`Port ${port} cannot be opened`);
  });
});
