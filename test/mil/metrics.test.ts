import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accuracy,
  auc,
  aucOneVsOne,
  aucOneVsRest,
  aucPerClass,
  averagePrecision,
  averageRanks,
  balancedAccuracy,
  concordance,
  confusionMatrix,
  f1Macro,
  f1PerClass,
  predictedClasses,
} from '../../src/mil/metrics.ts';

const file = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden', 'metrics.json');
const golden = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;

interface Classification {
  readonly name: string;
  readonly classes: number;
  readonly labels: number[];
  readonly probs: number[][];
  readonly expected: Record<string, unknown>;
}

interface Survival {
  readonly name: string;
  readonly time: number[];
  readonly event: number[];
  readonly risk: number[];
  readonly expected: Record<string, unknown>;
}

describe.skipIf(!golden)(`metrics${golden ? '' : ` (skipped: no ${file})`}`, () => {
  const close = (got: unknown, expected: unknown, what: string): void => {
    if (Array.isArray(expected)) {
      expect(got, what).toHaveLength(expected.length);
      for (const [i, value] of expected.entries()) close((got as unknown[])[i], value, `${what}[${i}]`);
    } else if (typeof expected === 'number') {
      expect(Math.abs((got as number) - expected), what).toBeLessThanOrEqual(golden.tolerance);
    } else expect(got, what).toBe(expected);
  };

  it.each((golden?.classification ?? []) as Classification[])(
    'of classes: $name',
    ({ classes, labels, probs, expected }) => {
      const confusion = confusionMatrix(labels, predictedClasses(probs), classes);
      const positive = labels.map((label) => label === 1);
      const ofPositive = probs.map((row) => row[1]!);
      const got: Record<string, unknown> = {
        accuracy: accuracy(confusion),
        balanced_accuracy: balancedAccuracy(confusion),
        f1_macro: f1Macro(confusion),
        f1_per_class: f1PerClass(confusion),
        confusion,
        auc: auc(positive, ofPositive),
        average_precision: averagePrecision(positive, ofPositive),
        auc_per_class_ovr: aucPerClass(labels, probs),
        auc_macro_ovr: aucOneVsRest(labels, probs),
        auc_macro_ovr_present: aucOneVsRest(labels, probs),
        auc_macro_ovo: aucOneVsOne(labels, probs),
      };
      for (const [name, value] of Object.entries(expected)) close(got[name], value, name);
    },
  );

  it.each((golden?.survival ?? []) as Survival[])('of survival: $name', ({ time, event, risk, expected }) => {
    const { cIndex, tiedRisk, ...counts } = concordance(time, event.map(Boolean), risk);
    const got: Record<string, unknown> = { ...counts, c_index: cIndex, tied_risk: tiedRisk };
    for (const [name, value] of Object.entries(expected)) close(got[name], value, name);
  });

  it('of ranks', () => {
    const { scores, expected } = golden.percentile_rank;
    close(
      averageRanks(scores).map((rank) => rank / scores.length),
      expected,
      'percentiles',
    );
  });
});

describe('what is undefined', () => {
  it('is null', () => {
    expect(auc([true, true], [0.1, 0.2])).toBeNull();
    expect(averagePrecision([false], [0.1])).toBeNull();
    expect(accuracy(confusionMatrix([], [], 2))).toBeNull();
    expect(
      aucOneVsOne(
        [0, 1],
        [
          [0.5, 0.3, 0.2],
          [0.2, 0.5, 0.3],
        ],
      ),
    ).toBeNull();
  });
});

describe('auc', () => {
  const cases = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 5 })), { minLength: 2, maxLength: 30 });

  it('is the share of pairs in the right order', () => {
    fc.assert(
      fc.property(cases, (rows) => {
        const pairs = rows.flatMap(([a, x]) =>
          rows.flatMap(([b, y]) => (a && !b ? [x > y ? 1 : x === y ? 0.5 : 0] : [])),
        );
        const got = auc(
          rows.map(([positive]) => positive),
          rows.map(([, score]) => score),
        );
        if (pairs.length === 0) expect(got).toBeNull();
        else expect(got).toBeCloseTo(pairs.reduce<number>((a, b) => a + b, 0) / pairs.length, 12);
      }),
    );
  });
});
