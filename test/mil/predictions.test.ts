import { describe, expect, it } from 'vitest';
import { evaluate, evaluationDefaults } from '../../src/mil/evaluation.ts';
import { byPatient, type ClassPredictions, readPredictions, readTruth } from '../../src/mil/predictions.ts';

const HEAD = 'slide,patient,label,fold,probability_a,probability_b\n';
const read = (rows: string, options = {}) => readPredictions('p.csv', HEAD + rows, options) as ClassPredictions;

describe('a table of predictions', () => {
  it('is read as it is written, with what is missing left out and said', () => {
    const found = read('s1,p1,a,0,0.75,0.25\ns2,,b,0,0.5,0.5\ns3,p3,,0,0.5,0.5\ns4,p4,a,0,,\n');
    expect(found.classes).toEqual(['a', 'b']);
    expect(found.cases).toEqual([
      { slide: 's1', patient: 'p1', fold: '0', label: 0, probabilities: [0.75, 0.25] },
      { slide: 's2', patient: 's2', fold: '0', label: 1, probabilities: [0.5, 0.5] },
    ]);
    expect(found.warnings).toEqual([
      'p.csv: s4 have no prediction (failed, or without tissue) and are left out.',
      'p.csv: s3 have no label and are left out.',
    ]);
  });

  it.each([
    ['NaN', 's1,p,a,0,NaN,0.5\n', 'bad-predictions', /s1 has NaN/],
    ['an empty cell', 's1,p,a,0,0.5,\n', 'bad-predictions', /s1/],
    ['probabilities that add up to 1.4', 's1,p,a,0,0.7,0.7\n', 'bad-predictions', /add up to 1/],
    ['a label that is no class', 's1,p,c,0,0.5,0.5\n', 'unknown-label', /s1 has the label "c".*a, b/],
    ['a slide twice', 's1,p,a,0,1,0\ns1,p,a,0,1,0\n', 'bad-predictions', /s1 is there more than once/],
    ['no label at all', 's1,p,,0,1,0\n', 'no-labels', /--labels/],
    ['nothing', '', 'no-labels', /no predicted slide/],
  ])('with %s is refused', (_, rows, code, message) => {
    expect(() => read(rows)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('without the columns is refused with those that are there', () => {
    expect(() => readPredictions('x.csv', 'slide,score\na,1\n')).toThrow(/slide, score/);
    expect(() => readTruth('y.csv', 'a,b\n')).toThrow(/no column named slide/);
    expect(() => readTruth('y.csv', 'slide,label\nx.svs,a\nx,b\n')).toThrow(/x is there twice/);
  });

  it('may test a slide in several folds, and says so', () => {
    expect(read('s1,p,a,0,1,0\ns1,p,a,1,0.5,0.5\n').warnings[0]).toMatch(/1 slides were tested in several folds/);
  });

  it('takes labels and patients of another table, by the name of the slide', () => {
    const truth = readTruth('cohort.csv', 'slide,patient,label\nfolder/s1.svs,x,b\n');
    const { cases, warnings } = read('s1,p,a,0,1,0\ns2,p,a,0,1,0\n', { truth });
    expect(cases).toMatchObject([{ slide: 's1', patient: 'x', label: 1 }]);
    expect(warnings[0]).toMatch(/s2 are not in the table of labels/);
  });

  it('keeps its own predictions, whatever else the table of labels holds', () => {
    const labels = `${HEAD}s1,x,b,9,0.25,0.75\n`;
    const { cases } = read('s1,p,a,0,1,0\n', { truth: readTruth('cohort.csv', labels) });
    expect(cases).toEqual([{ slide: 's1', patient: 'x', fold: '0', label: 1, probabilities: [1, 0] }]);
    const times = readTruth('cohort.csv', 'slide,time,event,risk\ns1,3,1,9\n');
    expect(readPredictions('s.csv', 'slide,risk\ns1,-2\n', { truth: times }).cases).toMatchObject([
      { time: 3, event: true, risk: -2 },
    ]);
  });

  it('of survival has times, events and risks', () => {
    const table = (row: string) => readPredictions('s.csv', `slide,patient,time,event,risk\n${row}\n`);
    expect(table('s1,p,3.5,1,-2').cases).toEqual([
      { slide: 's1', patient: 'p', fold: null, time: 3.5, event: true, risk: -2 },
    ]);
    expect(table('s1,p,3.5,0,-2').warnings[0]).toMatch(/nobody had the event/);
    for (const row of ['s1,p,-1,1,0', 's1,p,1,2,0', 's1,p,1,1,x']) expect(() => table(row)).toThrow(/s1 has/);
  });
});

describe('patients', () => {
  it('have the mean of their slides; those with mixed labels are left out and named', () => {
    const found = byPatient(read('s1,p,a,0,1,0\ns2,p,a,1,0.5,0.5\ns3,q,a,0,1,0\ns4,q,b,0,1,0\n'));
    expect(found.cases).toEqual([{ slide: 's1 s2', patient: 'p', fold: null, label: 0, probabilities: [0.75, 0.25] }]);
    expect(found.warnings).toEqual(['Patients q have slides of different labels and are left out at patient level.']);
  });
});

describe('an evaluation', () => {
  const options = { ...evaluationDefaults, resamples: 200 };
  const of = (rows: string) => evaluate([{ name: 'm', predictions: read(rows) }], options).models[0]!;

  it('of one class has no AUC, but an accuracy', () => {
    const { slides, pAgainstChance } = of('s1,p,a,,1,0\ns2,q,a,,0.2,0.8\n');
    expect(slides.figures.auc).toEqual({ value: null, low: null, high: null, defined: 0 });
    expect(slides.figures.accuracy!.value).toBe(0.5);
    expect(slides.classes[1]!.curve).toEqual([]);
    expect(pAgainstChance).toBeNull();
  });

  it('of one slide has figures and no intervals', () => {
    const { models, warnings } = evaluate([{ name: 'm', predictions: read('s1,p,a,,0.9,0.1\n') }], options);
    const { slides, patients, folds } = models[0]!;
    expect(slides.figures.accuracy).toMatchObject({ value: 1, low: null, high: null });
    expect(warnings).toContain('m: all slides are of one patient; there are no intervals.');
    expect([patients, folds]).toEqual([null, null]);
  });

  it('names patients of mixed labels, who count at the level of slides only', () => {
    const predictions = read('s1,p,a,,0.9,0.1\ns2,p,b,,0.2,0.8\ns3,q,a,,0.6,0.4\ns4,r,b,,0.3,0.7\n');
    const { models, warnings } = evaluate([{ name: 'm', predictions }], options);
    expect(warnings).toContain('Patients p have slides of different labels and are left out at patient level.');
    expect([models[0]!.slides.cases, models[0]!.patients!.cases]).toEqual([4, 2]);
  });

  it('of ties only is a coin', () => {
    const rows = Array.from({ length: 20 }, (_, i) => `s${i},p${i},${i % 2 ? 'a' : 'b'},${i % 4},0.5,0.5\n`).join('');
    const { slides, folds, pAgainstChance } = of(rows);
    expect(slides.figures.auc).toMatchObject({ value: 0.5, low: 0.5, high: 0.5 });
    expect(folds!.mean.auc).toBeNull();
    expect(pAgainstChance).toBe(1);
  });

  it('finds which of two models is better on the patients that both have', () => {
    const rows = (noise: number) =>
      Array.from({ length: 60 }, (_, i) => {
        const p = 0.5 + 0.4 * (i % 2 ? 1 : -1) * ((i * 7) % 10 < noise ? -1 : 1) * (0.5 + ((i * 13) % 29) / 60);
        return `s${i},p${i},${i % 2 ? 'b' : 'a'},,${1 - p},${p}\n`;
      });
    const [good, bad] = [rows(0).join(''), rows(4).slice(10).join('')];
    const [comparison] = evaluate(
      [
        { name: 'good', predictions: read(good) },
        { name: 'bad', predictions: read(bad) },
      ],
      options,
    ).comparisons;
    expect(comparison).toMatchObject({ first: 'good', second: 'bad', patients: 50, figure: 'auc' });
    expect(comparison!.difference).toBeGreaterThan(0.2);
    expect(comparison!.permutationP).toBeLessThan(0.02);
    expect(comparison!.delong[0]!.difference).toBeCloseTo(comparison!.difference!, 12);
    expect(comparison!.delong[0]!.p).toBeLessThan(0.01);
    const self = evaluate(
      [
        { name: 'one', predictions: read(good) },
        { name: 'two', predictions: read(good) },
      ],
      options,
    ).comparisons[0]!;
    expect(self).toMatchObject({ difference: 0, permutationP: 1, delong: [] });
  });

  it('names the patients that a comparison leaves out', () => {
    const compared = (first: string, second: string) =>
      evaluate(
        [
          { name: 'one', predictions: read(first) },
          { name: 'two', predictions: read(second) },
        ],
        options,
      );
    const rows = (names: string, label: (i: number) => string) =>
      [...names].map((name, i) => `s${name},p${name},${label(i)},,${i % 2},${1 - (i % 2)}\n`).join('');
    const right = (i: number) => (i % 2 ? 'a' : 'b');
    const apart = compared(rows('0123', right), rows('4567', right));
    expect(apart.comparisons[0]).toMatchObject({ patients: 0, difference: null, permutationP: null });
    expect(apart.warnings).toEqual([
      'one - two: 4 of the patients (p0; p1; p2; p3) are only in one and are left out.',
      'one - two: 4 of the patients (p4; p5; p6; p7) are only in two and are left out.',
    ]);
    const otherwise = compared(
      rows('0123', right),
      rows('0123', (i) => (i < 2 ? right(i + 1) : right(i))),
    );
    expect(otherwise.comparisons[0]!.patients).toBe(2);
    expect(otherwise.warnings).toEqual([
      'one - two: 2 of the patients (p0; p1) have different labels in the two tables and are left out.',
    ]);
    expect(compared(rows('0123', right), rows('0123', right)).warnings).toEqual([]);
  });

  it('scales each case by a temperature of other patients, also when a patient is tested in several folds', () => {
    // The model is always sure. It is right of all patients but p0, who is tested in both folds: whoever is fitted with p0 is milder.
    const rows = (fold: number) =>
      Array.from(
        { length: 20 },
        (_, i) => `s${i},p${i},${i === 0 || i % 2 ? 'a' : 'b'},${fold},${i % 2},${1 - (i % 2)}\n`,
      );
    const { calibration, figures } = of([...rows(0), ...rows(1)].join('')).slides;
    // Without p0 all cases are right, so its two are made as sure, and are as wrong, as they can be; those fitted with it become milder.
    expect(figures.brier!.value).toBeCloseTo(2 / 40, 9);
    expect(calibration!.scaled.logLoss).toBeNull();
    expect(calibration!.scaled.brier).toBeGreaterThan(2 / 40);
  });

  it('of one patient has nobody to fit a temperature to', () => {
    const rows = [0, 1, 2, 3].map((i) => `s${i},p,${i % 2 ? 'a' : 'b'},,${i % 2 ? 0.6 : 0.3},${i % 2 ? 0.4 : 0.7}\n`);
    const { calibration } = of(rows.join('')).slides;
    expect(calibration!.scaled).toEqual({ ece: null, brier: null, logLoss: null });
    expect(calibration!.temperature).toBeGreaterThan(0);
  });

  it('has no F1 of a class that is neither there nor predicted', () => {
    const rows = Array.from(
      { length: 12 },
      (_, i) => `s${i},${i % 2 ? 'a' : 'b'},${i % 2 ? 0.6 : 0.3},${i % 2 ? 0.3 : 0.6},0.1\n`,
    );
    const predictions = readPredictions(
      'm.csv',
      `slide,label,probability_a,probability_b,probability_c\n${rows.join('')}`,
    );
    const { classes, figures } = evaluate([{ name: 'm', predictions }], options).models[0]!.slides;
    expect(classes[2]!.figures.f1).toEqual({ value: null, low: null, high: null, defined: 0 });
    expect([classes[0]!.figures.f1!.value, figures.f1Macro!.value]).toEqual([1, 1]);
  });

  it('of grades says when their order is that of the alphabet', () => {
    const graded = (names: readonly string[], ordered: boolean) => {
      const table = `slide,label,${names.map((name) => `probability_${name}`)}\n${names.map((name, i) => `s${i},${name},${names.map((_, k) => Number(k === i))}\n`).join('')}`;
      return evaluate([{ name: 'm', predictions: readPredictions('g.csv', table) }], { ...options, ordered }).warnings;
    };
    const metastases = ['itc', 'macro', 'micro', 'negative'];
    expect(graded(metastases, true)).toEqual([expect.stringMatching(/itc, macro, micro, negative.*--classes/)]);
    expect(graded(metastases, false)).toEqual([]);
    expect(graded(['negative', 'itc', 'micro', 'macro'], true)).toEqual([]);
    expect(graded(['0', '1', '2'], true)).toEqual([]);
  });

  it('of survival names the slides whose risk disagrees with the most others', () => {
    // Risks fall with time, but for s1, who dies early at the lowest risk, and s4, who outlives all at the second highest.
    const table = 'slide,time,event,risk\ns0,1,1,9\ns1,2,1,0\ns2,3,1,5\ns3,4,0,4\ns4,5,0,8\n';
    const { misjudged, worst } = evaluate([{ name: 'm', predictions: readPredictions('s.csv', table) }], options)
      .models[0]!;
    expect(worst).toEqual([]);
    expect(misjudged.map(({ slide, discordant, comparable }) => [slide, discordant, comparable])).toEqual([
      ['s1', 3, 4],
      ['s4', 2, 3],
      ['s2', 2, 4],
      ['s3', 1, 3],
    ]);
  });

  it('refuses models of other classes', () => {
    const other = readPredictions('o.csv', 'slide,label,probability_x,probability_y\ns1,x,1,0\n');
    const one = { name: 'one', predictions: read('s1,p,a,,1,0\n') };
    expect(() => evaluate([one, { name: 'two', predictions: other }], options)).toThrow(/a, b.*x, y/);
  });
});
