import { describe, expect, it } from 'vitest';
import { parseCohort } from '../../src/train/cohort.ts';
import { checkCohort } from '../../src/train/cohort-check.ts';
import { recipeOf } from '../../src/train/recipe.ts';
import { targetsOf, timeEdges } from '../../src/train/target.ts';

const cohort = (...lines: string[]) => parseCohort('c.csv', lines.join('\n'));
const check = async (...lines: string[]) =>
  (await checkCohort(cohort(...lines), { bags: null, hash: false })).findings.map(({ code }) => code);

describe('a cohort table', () => {
  it('names slides by their files, and takes a slide without a patient for one', () => {
    const { rows } = cohort('slide,label', 'a/b.svs,x', 'c.ome.tiff,y');
    expect(rows.map(({ id, patient, line }) => [id, patient, line])).toEqual([
      ['b', 'b', 2],
      ['c', 'c', 3],
    ]);
  });

  it.each([
    [['patient,label', 'P1,x'], /no column named slide/],
    [['slide,label'], /no rows/],
    [['', ''], /the file is empty/],
    [['slide,label,label', 'a,x,y'], /two columns named label/],
    [['slide,label', 'a,x', '', 'b,x,y'], /line 4 has 3 cells for 2 columns/],
    [['slide;label', 'a;x'], /separated by semicolons/],
    [
      ['slide,time,event', 'a.svs,-3,1', 'b.svs,5,2', ',4,1'],
      /line 2 has the time "-3"; line 4 names no slide; line 3 has the event "2"|line 2.*line 3.*line 4/,
    ],
  ])('refuses what it cannot read, naming the lines', (lines, message) => {
    expect(() => cohort(...lines)).toThrow(message);
  });
});

describe('targets', () => {
  it('are classes in the order of their names, or as given', () => {
    const table = cohort('slide,label', 'a,tumour', 'b,normal', 'c,');
    expect(targetsOf(table)).toMatchObject({ classes: ['normal', 'tumour'], targets: [{ label: 1 }, { label: 0 }] });
    expect(targetsOf(table).warnings[0]).toMatch(/line 4 \(c\) have no label/);
    expect(targetsOf(table, { classes: ['tumour', 'normal', 'other'] })).toMatchObject({
      targets: [{ label: 0 }, { label: 1 }],
    });
  });

  it('are refused for one class, and for labels that are no class', () => {
    expect(() => targetsOf(cohort('slide,label', 'a,x', 'b,x'))).toThrow(/all 2 labelled rows are x/);
    expect(() => targetsOf(cohort('slide,label', 'a,x', 'b,Y'), { classes: ['x', 'y'] })).toThrow(
      /line 3 \(b\).*\(Y\)/,
    );
    expect(() => targetsOf(cohort('slide,lable', 'a,x', 'b,y'))).toThrow(
      /no column named label \(found: slide, lable\)/,
    );
  });

  it('are refused for labels that differ only in case, naming the rows of the rarer one, unless they are classes', () => {
    const table = cohort('slide,label', 'a,low', 'b,high', 'c,High', 'd,high');
    expect(() => targetsOf(table)).toThrow(/only in case: high, High \(line 4 \(c\)\)/);
    expect(targetsOf(table, { classes: ['low', 'high', 'High'] }).targets[2]).toMatchObject({ label: 2 });
  });

  it('are time bins at the quartiles of the times with an event', () => {
    expect(timeEdges([1, 2, 3, 4, 5], 4)).toEqual([2, 3, 4]);
    const rows = [1, 2, 3, 4, 5].map((time) => `e${time},${time},1`);
    const { targets, classes } = targetsOf(cohort('slide,time,event', ...rows, 'z,100,0'));
    expect(targets.map(({ label, censored }) => [label, censored])).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
      [3, 0],
      [3, 0],
      [3, 1],
    ]);
    expect(classes).toHaveLength(4);
  });

  it('have fewer time bins where times are tied, and say so', () => {
    expect(timeEdges([1, 1, 1, 1, 1, 2, 3, 4], 4)).toEqual([2.25]);
    expect(timeEdges([1, 2, 3, 3, 3, 3, 3, 3, 9], 4)).toEqual([3]);
    const rows = [1, 1, 1, 1, 1, 2, 3, 4].map((time, i) => `e${i},${time},1`);
    const { targets, classes, warnings } = targetsOf(cohort('slide,time,event', ...rows));
    expect(classes).toEqual(['0 to 2.25', '2.25 to later']);
    expect(targets.map(({ label }) => label)).toEqual([0, 0, 0, 0, 0, 0, 1, 1]);
    expect(warnings).toEqual([expect.stringMatching(/tied: there are 2 time bins instead of 4/)]);
    const same = Array.from({ length: 40 }, (_, i) => `f${i},5,1`);
    expect(() => targetsOf(cohort('slide,time,event', ...same, 'x,6,1', 'y,7,1', 'z,8,1'))).toThrow(/one time bin/);
  });

  it('are refused for classes named twice or not at all, before anything is trained', () => {
    const table = cohort('slide,label', 'a,x', 'b,y');
    expect(() => targetsOf(table, { classes: ['x', 'y', 'x'] })).toThrow(/named twice: x\./);
    expect(() => targetsOf(table, { classes: ['x', 'y', ''] })).toThrow(/one has no name/);
  });

  it('must be the same for all slides of a patient', () => {
    const lines = ['slide,patient,time,event', 'a,P,1,1', 'b,P,2,1', 'c,Q,3,1', 'd,R,4,1', 'e,S,5,1'];
    expect(() => targetsOf(cohort(...lines))).toThrow(/differs/);
  });
});

describe('the check of a cohort', () => {
  const sound = [
    'slide,patient,label,site,split',
    ...Array.from(
      { length: 40 },
      (_, i) => `s${i},P${i},${i % 2 ? 'x' : 'y'},${i % 4 < 2 ? 'A' : 'B'},${i % 8 < 6 ? 'train' : 'test'}`,
    ),
  ];

  it('finds patients and sites in two splits', async () => {
    const codes = await check(...sound, 's90,P1,x,A,test', 's91,P1,x,A,train');
    expect(codes).toContain('patient-leak');
    expect(codes).toContain('site-leak');
    expect(await check(...sound)).not.toContain('patient-leak');
  });

  it('finds unequal classes, one class, rare ones and ones that differ in case', async () => {
    expect(await check(...sound)).not.toContain('imbalance');
    expect(await check(...sound, ...Array.from({ length: 400 }, (_, i) => `t${i},T${i},x,A,train`))).toContain(
      'imbalance',
    );
    expect(await check('slide,label', 'a,x', 'b,x')).toContain('one-class');
    expect(await check(...sound, 'z,Z,X,A,train')).toEqual(expect.arrayContaining(['near-labels', 'few-slides']));
  });

  it('finds slides named twice and files that are not there', async () => {
    expect(await check(...sound, 's1,P1,x,A,train')).toContain('repeated-slide');
    expect(await check(...sound)).toContain('missing-slide');
  });

  it('sees when the site says the label', async () => {
    const lines = Array.from({ length: 20 }, (_, i) => `s${i},${i % 2 ? 'x' : 'y'},${i % 2 ? 'A' : 'B'}`);
    expect(await check('slide,label,site', ...lines)).toContain('site-is-label');
  });
});

describe('a recipe', () => {
  it('is one of the published ones, changed where asked', () => {
    expect(recipeOf('mambamil', 'classification')).toMatchObject({
      model: 'srmamba',
      lr: 2e-4,
      decay: 'l2',
      init: 'original',
    });
    expect(recipeOf('mambamil', 'survival')).toMatchObject({ bagsPerStep: 32, dropout: 0.25, by: 'c-index' });
    expect(recipeOf('2dmamba', 'classification')).toMatchObject({ layers: 1, cosine: 'epochs', shuffle: false });
    expect(recipeOf('lamina', 'classification', { lr: 1e-3 }).lr).toBe(1e-3);
  });

  it.each([
    [{ learningRate: 1 }, /has no learningRate/],
    [{ model: 'mamba3' }, /Take one of/],
    [{ dropout: 1 }, /from 0 to below 1/],
    [{ epochs: 0 }, /whole number above 0/],
    [{ lr: 'fast' }, /Give a number/],
    [{ patience: 0 }, /or null/],
    [{ rowOrders: ['diagonal'] }, /row-major/],
  ])('refuses %j', (changes, message) => {
    expect(() => recipeOf('lamina', 'classification', changes)).toThrow(message);
  });
});
