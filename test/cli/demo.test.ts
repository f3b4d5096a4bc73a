import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ModelCard } from '../../src/mil/model-card.ts';
import { start, tree } from './spawn.ts';

let cwd = '';
beforeAll(async () => void (cwd = await mkdtemp(join(tmpdir(), 'lamina-demo-'))));
afterAll(() => rm(cwd, { recursive: true }));

/** What the demo promises on two cores; the tests of other files may run at the same time. */
const TWO_MINUTES = 120_000;

describe('lamina demo', () => {
  it(
    'makes slides, trains a model on most of them, runs the others, and says how good it is',
    async () => {
      const { code, stdout } = await start(['demo', '--no-serve', '--device', 'wasm'], { cwd }).ended;
      expect(code).toBe(0);
      const [head, ...rows] = stdout.trimEnd().split('\n');
      const [validated, heldOut] = rows
        .splice(-2)
        .map((line) => Number(/AUC of \d+ slides: ([\d.]+), 95 %/.exec(line)?.[1]));
      expect(validated).toBeGreaterThanOrEqual(0.9);
      expect(heldOut).toBeGreaterThanOrEqual(0.9);
      expect(head).toMatch(/^slide +status +label +patches +prediction +probability +seconds$/);
      expect(rows.length).toBeGreaterThanOrEqual(4);
      for (const row of rows)
        expect(row).toMatch(/^synthetic-\d+ +done +(normal|tumour) +\d+ +(normal|tumour) +[01]\.\d{3} +[\d.]+$/);
      const card = JSON.parse(await readFile(join(cwd, 'lamina-demo/model/model.json'), 'utf8')) as ModelCard;
      expect(card).toMatchObject({ type: 'lbmamba', trained: true, members: ['fold-1', 'fold-2', 'fold-3', 'fold-4'] });
      expect((await tree(join(cwd, 'lamina-demo'))).filter((name) => name.includes('.partial'))).toEqual([]);
    },
    TWO_MINUTES,
  );

  it(
    'says what pen, blur, another stain and empty glass cost on the same slides',
    async () => {
      const args = ['demo', '--no-serve', '--artefacts', '--device', 'wasm'];
      const { code, stdout } = await start(args, { cwd }).ended;
      expect(code).toBe(0);
      const [, ...lines] = stdout.slice(stdout.indexOf('what is wrong')).trimEnd().split('\n');
      const [clean, pen, blur, stain, empty] = lines.map((line) => {
        const [name, ...numbers] = line.trim().split(/ {2,}/);
        const [slides, noTissue, patches, change, blurred, ink, auc] = numbers.map(Number);
        return { name, slides, noTissue, patches, change, blurred, ink, auc };
      });
      expect(clean).toMatchObject({ name: 'nothing', slides: 6, noTissue: 0, change: 0, blurred: 0, ink: 0 });
      expect(clean!.auc).toBeGreaterThanOrEqual(0.9);
      // A stroke across the slide hides tissue under it, and touches patches beside it; a third of the slide is out of focus.
      expect(pen!.change).toBeLessThan(-10);
      expect(pen!.ink).toBeGreaterThan(0);
      expect(blur!.blurred).toBeGreaterThan(0.15 * clean!.patches!);
      expect(blur!.patches! + blur!.blurred!).toBe(clean!.patches);
      expect(stain!.patches).toBeGreaterThan(0.9 * clean!.patches!);
      expect(stain!.auc).toBeGreaterThan(0.5);
      expect(empty).toMatchObject({ slides: 6, noTissue: 6, patches: 0, auc: Number.NaN });
      expect((await start([...args, '--json'], { cwd }).ended).code).toBe(2);
    },
    2 * TWO_MINUTES,
  );

  it(
    'uses all of it again, and takes another port when its own is in use',
    async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await new Promise((listening) => server.once('listening', listening));
      const { port } = server.address() as { port: number };
      const demo = start(['demo', '--port', `${port}`, '--device', 'wasm'], { cwd });
      const [, url] = await demo.until(/Viewer at (\S+)/);
      const slides = (await (await fetch(`${url}api/slides`)).json()) as { status: string }[];
      demo.process.kill('SIGINT');
      const { code, stdout, stderr } = await demo.ended;
      server.close();
      expect(code).toBe(0);
      expect(url).not.toContain(`:${port}/`);
      expect(stdout).toContain(`Port ${port} is in use`);
      expect(stderr).not.toContain('wrote');
      // Those that were trained on, and those that were run.
      const written = (await tree(join(cwd, 'lamina-demo/slides'))).filter((name) => name.endsWith('.tif'));
      expect(stderr.match(/finished before/g)).toHaveLength(written.length);
      expect(slides.length).toBeGreaterThanOrEqual(4);
      expect(slides.every(({ status }) => status === 'done')).toBe(true);
    },
    TWO_MINUTES,
  );
});
