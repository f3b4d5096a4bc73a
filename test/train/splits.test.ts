import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { parseCohort } from '../../src/train/cohort.ts';
import { type Fold, type SplitOptions, type SplitRow, splitRows } from '../../src/train/splits.ts';
import { targetsOf } from '../../src/train/target.ts';

const options: SplitOptions = { kind: 'k-fold', folds: 4, testShare: 0.25, validationShare: 0.2, seed: 3 };

/** `classes` per patient in turn, and some patients with two slides. */
function cohort(patients: number, classes = 2): SplitRow[] {
  return Array.from({ length: patients }, (_, p) =>
    Array.from({ length: p % 3 === 0 ? 2 : 1 }, () => ({
      patient: `P${p}`,
      site: `site ${p % 5}`,
      split: null,
      stratum: p % classes,
    })),
  ).flat();
}

const partsOf = ({ train, validation, test }: Fold) => [train, validation, test];

describe('splits', () => {
  it('tests every row once in k folds, and leaves none out', () => {
    const rows = cohort(40);
    const { folds } = splitRows(rows, options);
    expect(folds.flatMap(({ test }) => test).sort((a, b) => a - b)).toEqual([...rows.keys()]);
    for (const fold of folds) {
      expect(
        partsOf(fold)
          .flat()
          .sort((a, b) => a - b),
      ).toEqual([...rows.keys()]);
    }
  });

  it('never has a patient on two sides, whatever the kind and the seed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 60 }),
        fc.constantFrom('k-fold' as const, 'monte-carlo' as const, 'preserved-site' as const),
        fc.nat(1000),
        (patients, kind, seed) => {
          const rows = cohort(patients);
          for (const fold of splitRows(rows, { ...options, kind, seed }).folds) {
            const sets = partsOf(fold).map((part) => new Set(part.map((row) => rows[row]!.patient)));
            const all = sets.flatMap((set) => [...set]);
            if (new Set(all).size !== all.length) return false;
          }
          return true;
        },
      ),
      { numRuns: 60 },
    );
  });

  it('spreads classes evenly', () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ patient: `Q${i}`, site: null, split: null, stratum: i % 3 }));
    for (const { test } of splitRows(rows, options).folds) {
      const counts = [0, 1, 2].map((k) => test.filter((row) => rows[row]!.stratum === k).length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
    }
  });

  it('keeps a site on one side of the test', () => {
    const rows = cohort(40);
    for (const { train, validation, test } of splitRows(rows, { ...options, kind: 'preserved-site' }).folds) {
      const tested = new Set(test.map((row) => rows[row]!.site));
      expect([...train, ...validation].filter((row) => tested.has(rows[row]!.site))).toEqual([]);
    }
  });

  it('is the same for the same seed and another for another', () => {
    const rows = cohort(40);
    expect(splitRows(rows, options)).toEqual(splitRows(rows, options));
    expect(splitRows(rows, options).folds).not.toEqual(splitRows(rows, { ...options, seed: 4 }).folds);
  });

  it('refuses fewer patients than folds', () => {
    expect(() => splitRows(cohort(3), { ...options, folds: 5 })).toThrow(/3 patients \(P0, P1, P2\).*into 5 folds/);
  });

  it('refuses a class that only one fold has', () => {
    const rows = cohort(12).map((row) => ({ ...row, stratum: row.patient === 'P1' ? 2 : row.stratum }));
    expect(() => splitRows(rows, options)).toThrow(/class number 2.*P1/);
    expect(() => splitRows(rows, { ...options, classes: ['a', 'b', 'rare'] })).toThrow(/class rare is not.*P1/);
  });

  it('warns of a class that some test rows lack', () => {
    const rows = cohort(12).map((row) => ({ ...row, stratum: ['P1', 'P3'].includes(row.patient) ? 2 : row.stratum }));
    const { warnings } = splitRows(rows, { ...options, validationShare: 0 });
    expect(warnings.length).toBeGreaterThan(0);
    expect(warnings[0]).toMatch(/lack class number 2/);
  });

  it('refuses one fold, which would leave nothing to train on, and says what one split is', () => {
    for (const kind of ['k-fold', 'preserved-site'] as const) {
      expect(() => splitRows(cohort(12), { ...options, kind, folds: 1 })).toThrow(/2 folds or more.*monte-carlo/);
    }
  });

  it('warns when no rows are left to stop by, unless none were wanted', () => {
    const rows = Array.from({ length: 4 }, (_, i) => ({ patient: `R${i}`, site: null, split: null, stratum: i % 2 }));
    const { folds, warnings } = splitRows(rows, { ...options, folds: 2 });
    expect(folds.map(({ validation }) => validation.length)).toEqual([0, 0]);
    expect(warnings).toEqual([1, 2].map((n) => expect.stringMatching(`In fold ${n} there are no validation rows`)));
    expect(splitRows(rows, { ...options, folds: 2, validationShare: 0 }).warnings).toEqual([]);
  });

  it('takes a given split, and refuses one that leaks or is not filled in', () => {
    const given = cohort(12).map((row, i) => ({ ...row, patient: `R${i}`, split: i % 4 === 0 ? 'test' : 'train' }));
    const [fold] = splitRows(given, { ...options, kind: 'given' }).folds;
    expect(fold!.test).toEqual([...given.keys()].filter((i) => i % 4 === 0));
    expect(fold!.validation.length).toBeGreaterThan(0);
    const leaking = given.map((row) => ({ ...row, patient: 'one' }));
    expect(() => splitRows(leaking, { ...options, kind: 'given' })).toThrow(/two splits: one \(test and train\)/);
    const unfilled = given.map((row, i) => ({ ...row, split: i === 2 ? null : row.split }));
    expect(() => splitRows(unfilled, { ...options, kind: 'given' })).toThrow(/1 rows \(of patients R2\)/);
  });
});

describe('splits of a survival cohort', () => {
  const timeBins = ['0 to 10', '10 to later'];
  /** Twice the bin, one more if censored: of 20 patients one is censored early. */
  const rows = Array.from({ length: 20 }, (_, i) => ({
    patient: `P${i}`,
    site: null,
    split: null,
    stratum: i === 7 ? 1 : 2 * (i % 2),
  }));

  it('may have only one patient of a bin who is censored', () => {
    const { folds, warnings } = splitRows(rows, { ...options, timeBins });
    expect(folds).toHaveLength(4);
    expect(warnings).toEqual([]);
  });

  it('warns of a time bin without an event in training, and of test rows without any', () => {
    const few = rows.map((row, i) => ({ ...row, stratum: i < 6 ? 0 : i === 6 ? 2 : 1 + 2 * (i % 2) }));
    const { warnings } = splitRows(few, { ...options, timeBins, validationShare: 0 });
    expect(warnings).toContainEqual(
      expect.stringMatching(/training rows of fold \d have no event in the time 10 to later/),
    );
    const late = rows.map((row, i) => ({ ...row, stratum: i < 2 ? 0 : 1 }));
    const found = splitRows(late, { ...options, timeBins: ['0 to later'], validationShare: 0 }).warnings;
    expect(found).toContainEqual(expect.stringMatching(/test rows of fold \d have no event: its C-index/));
  });

  it('are refused when a training would see no event at all', () => {
    const one = rows.map((row, i) => ({ ...row, stratum: i === 3 ? 0 : 1 }));
    expect(() => splitRows(one, { ...options, timeBins })).toThrow(/no training row has an event.*only in patients P3/);
  });

  it('of ordinary cohorts are made: 100 patients, a tenth of them censored', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = createRandom(seed);
      const lines = Array.from({ length: 100 }, (_, i) => {
        const [time, end] = [30, 270].map((mean) => -Math.log(1 - random()) * mean) as [number, number];
        return `s${i},${Math.min(time, end).toFixed(2)},${Number(time <= end)}`;
      });
      const { classes, targets } = targetsOf(parseCohort('c.csv', ['slide,time,event', ...lines].join('\n')));
      const found = targets.map(({ label, censored }, i) => {
        return { patient: `P${i}`, site: null, split: null, stratum: 2 * label + censored };
      });
      expect(splitRows(found, { ...options, folds: 5, timeBins: classes }).folds).toHaveLength(5);
    }
  });
});
