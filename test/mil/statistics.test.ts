/**
 * Statistics against sources that share no code with them: definitions by brute force, cases small enough for paper, and numbers
 * of scipy 1.17 on the leukaemia trial of Freireich et al. (1963), the data of every textbook on survival.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  brierScore,
  expectedCalibrationError,
  fitTemperature,
  logLoss,
  reliability,
  withTemperature,
} from '../../src/mil/calibration.ts';
import { delong, delongTest } from '../../src/mil/delong.ts';
import { chiSquaredTail, normalTwoSided } from '../../src/mil/distribution.ts';
import {
  auc,
  aucOfPairs,
  aucOneVsOne,
  concordance,
  confusionMatrix,
  f1Weighted,
  pairsPerCase,
  precisionPerClass,
  quadraticKappa,
  rankColumns,
  recallPerClass,
} from '../../src/mil/metrics.ts';
import { bootstrap, groupRows, permutationP, quantile } from '../../src/mil/resampling.ts';
import {
  areaUnderRoc,
  atSpecificity,
  countScores,
  operatingPoints,
  rankScores,
  stepwisePrecision,
} from '../../src/mil/score-counts.ts';
import { kaplanMeier, logRank, medianSurvival } from '../../src/mil/survival-curve.ts';
import { createRandom, integer, normal, shuffle } from '../../src/random.ts';

const relative = (got: number, expected: number) => Math.abs(got / expected - 1);

describe('tails', () => {
  it.each([
    [0.5, 1, 0.47950012218695337],
    [3.841458820694124, 1, 0.05],
    [10, 3, 0.01856613546304325],
    [40, 2, 2.0611536224385566e-9],
    [300, 1, 3.2943623833139784e-67],
    [0.01, 5, 0.9999994699729957],
  ])('of chi-squared %f with %i degrees of freedom', (x, degrees, expected) => {
    expect(relative(chiSquaredTail(x, degrees), expected)).toBeLessThan(1e-11);
  });

  it.each([
    [0.1, 0.920344325445942],
    [-1.96, 0.04999579029644087],
    [6, 1.973175290075389e-9],
    [30, 9.813427854295816e-198],
  ])('of the normal distribution beyond %f', (z, expected) => {
    expect(relative(normalTwoSided(z), expected)).toBeLessThan(1e-11);
  });

  it('of nothing are one', () => {
    expect(normalTwoSided(0)).toBe(1);
  });
});

const treated = {
  times: [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
  events: [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0].map(Boolean),
};
const placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];

describe('survival', () => {
  it('curves and intervals are those of scipy', () => {
    const steps = kaplanMeier(treated.times, treated.events);
    const at = (time: number) => steps.find((step) => step.time === time)!;
    const expected: [number, number, number, number][] = [
      [6, 0.8571428571428571, 0.6197179552659838, 0.951551747646997],
      [10, 0.7529411764705881, 0.5031995107999564, 0.8893618351692655],
      [16, 0.6274509803921567, 0.36751085598750205, 0.8049121894718412],
      [35, 0.4481792717086834, 0.18805200595923235, 0.6801426284952414],
    ];
    for (const [time, survival, low, high] of expected) {
      expect(at(time).survival).toBeCloseTo(survival, 12);
      expect(at(time).low).toBeCloseTo(low, 9);
      expect(at(time).high).toBeCloseTo(high, 9);
    }
    expect([at(6).atRisk, at(6).events, at(6).censored]).toEqual([21, 3, 1]);
    expect(medianSurvival(steps)).toBe(23);
  });

  it('of groups differs by the log-rank test as in scipy', () => {
    const times = [...treated.times, ...placebo];
    const events = [...treated.events, ...placebo.map(() => true)];
    const found = logRank(
      times,
      events,
      times.map((_, i) => i < 21),
    )!;
    expect(found.chiSquared).toBeCloseTo(16.792940989216536, 9);
    expect(relative(found.p, 4.168809109334529e-5)).toBeLessThan(1e-9);
  });

  it('of nobody, of one group, without events, says nothing', () => {
    expect(kaplanMeier([], [])).toEqual([]);
    expect(medianSurvival(kaplanMeier([1, 2], [false, false]))).toBeNull();
    expect(logRank([1, 2], [true, true], [true, true])).toBeNull();
    expect(logRank([1, 2], [false, false], [true, false])).toBeNull();
  });

  it('concordance counts the pairs of its definition, ties and all, also when cases count more than once', () => {
    const rows = fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 5 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 0, max: 3 }),
      ),
      { maxLength: 25 },
    );
    fc.assert(
      fc.property(rows, (cases) => {
        const [times, events, risks, weights] = [0, 1, 2, 3].map((k) => cases.map((row) => row[k])) as [
          number[],
          boolean[],
          number[],
          number[],
        ];
        let [concordant, discordant, tiedRisk] = [0, 0, 0];
        for (const [i, [time, event, risk, weight]] of cases.entries()) {
          for (const [j, [other, otherEvent, otherRisk, otherWeight]] of cases.entries()) {
            if (i === j || !event || !(time < other || (time === other && !otherEvent))) continue;
            if (risk > otherRisk) concordant += weight * otherWeight;
            else if (risk < otherRisk) discordant += weight * otherWeight;
            else tiedRisk += weight * otherWeight;
          }
        }
        expect(concordance(times, events, risks, weights)).toMatchObject({ concordant, discordant, tiedRisk });
        const once = concordance(times, events, risks);
        const pairs = pairsPerCase(times, events, risks);
        const total = (of: 'comparable' | 'discordant') => pairs.reduce((sum, one) => sum + one[of], 0);
        // Each pair counts with both of its cases.
        expect([total('comparable'), total('discordant')]).toEqual([2 * once.comparable, 2 * once.discordant]);
      }),
    );
  });
});

describe('scores of two sides', () => {
  const cases = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 3 })), {
    minLength: 1,
    maxLength: 25,
  });

  it('count a case of weight 3 as three cases', () => {
    fc.assert(
      fc.property(cases, (rows) => {
        const repeated = rows.flatMap((row) => new Array<typeof row>(row[2]).fill(row));
        const plain = countScores(rankScores(repeated.map((row) => row[1])), (i) => repeated[i]![0]);
        const weighted = countScores(
          rankScores(rows.map((row) => row[1])),
          (i) => rows[i]![0],
          rows.map((row) => row[2]),
        );
        for (const figure of [areaUnderRoc, stepwisePrecision]) {
          const [a, b] = [figure(plain), figure(weighted)];
          if (a === null) expect(b).toBeNull();
          else expect(b).toBeCloseTo(a, 12);
        }
        expect(operatingPoints(weighted)).toEqual(operatingPoints(plain));
      }),
    );
  });

  it('find as many positives as a specificity allows', () => {
    // Negatives 1 to 20: a specificity of 0.95 allows one false alarm, 20; of 0.9 a second, 19; of 0.99 none.
    const negatives = Array.from({ length: 20 }, (_, i) => i + 1);
    const positives = [0, 19, 19.5, 20.5, 21];
    const counts = countScores(rankScores([...negatives, ...positives]), (i) => i >= 20);
    expect(atSpecificity(counts, 0.99)).toMatchObject({ sensitivity: 2 / 5, falsePositiveRate: 0, threshold: 20.5 });
    expect(atSpecificity(counts, 0.95)).toMatchObject({ sensitivity: 3 / 5, falsePositiveRate: 0.05, threshold: 19.5 });
    expect(atSpecificity(counts, 0.9)).toMatchObject({ sensitivity: 4 / 5, falsePositiveRate: 0.1, threshold: 19 });
    expect(
      atSpecificity(
        countScores(rankScores([1, 2]), () => true),
        0.9,
      ),
    ).toBeNull();
  });

  it('of pairs of classes are the same ranked beforehand', () => {
    const random = createRandom(3);
    const labels = Array.from({ length: 30 }, () => integer(random, 3));
    const rows = labels.map(() => [random(), random(), random()]);
    expect(aucOfPairs(labels, rankColumns(rows))).toBe(aucOneVsOne(labels, rows));
  });
});

describe('tables of classes', () => {
  // 10 cases of a (8 right, 2 called b), 5 of b (all called a), c neither there nor predicted.
  const table = [
    [8, 2, 0],
    [5, 0, 0],
    [0, 0, 0],
  ];

  it('have precision and recall, null where there is nothing to share', () => {
    expect(precisionPerClass(table)).toEqual([8 / 13, 0, null]);
    expect(recallPerClass(table)).toEqual([0.8, 0, null]);
    expect(f1Weighted(table)).toBeCloseTo((10 * (16 / 23) + 5 * 0 + 0) / 15, 12);
    expect(confusionMatrix([0, 1], [1, 1], 2, [3, 0])).toEqual([
      [0, 3],
      [0, 0],
    ]);
  });

  it('of grades have a kappa: by hand', () => {
    // Found (2 + 5)/15; expected by the margins (10, 5) and (13, 2): (10 * 2 + 5 * 13) / 225.
    expect(quadraticKappa(table)).toBeCloseTo(1 - 7 / 15 / (85 / 225), 12);
    expect(
      quadraticKappa([
        [3, 0],
        [0, 0],
      ]),
    ).toBeNull();
    expect(
      quadraticKappa([
        [2, 0, 0],
        [0, 2, 0],
        [0, 0, 2],
      ]),
    ).toBe(1);
    // Errors of two grades weigh four times those of one.
    expect(
      quadraticKappa([
        [0, 0, 1],
        [0, 0, 0],
        [1, 0, 0],
      ]),
    ).toBe(-1);
  });
});

describe('calibration', () => {
  const cases = {
    labels: [1, 0, 1, 0],
    probabilities: [
      [0.1, 0.9],
      [0.8, 0.2],
      [0.6, 0.4],
      [0.35, 0.65],
    ],
  };

  it('by hand: Brier, bins and their error', () => {
    expect(brierScore(cases)).toBeCloseTo((0.01 + 0.04 + 0.36 + 0.4225) / 4, 12);
    expect(brierScore({ labels: [2], probabilities: [[0.2, 0.3, 0.5]] })).toBeCloseTo(0.04 + 0.09 + 0.25, 12);
    const bins = reliability(cases);
    expect(bins.filter(({ count }) => count > 0).map(({ high, count, accuracy }) => [high, count, accuracy])).toEqual([
      [0.6, 1, 0],
      [0.7, 1, 0],
      [0.8, 1, 1],
      [0.9, 1, 1],
    ]);
    expect(expectedCalibrationError(bins)).toBeCloseTo((0.6 + 0.65 + 0.2 + 0.1) / 4, 12);
  });

  it('finds the temperature that logits were divided by', () => {
    const random = createRandom(5);
    const labels: number[] = [];
    const probabilities = Array.from({ length: 4000 }, () => {
      const logits = [normal(random), normal(random), normal(random)].map((v) => 2 * v);
      const softmax = (t: number) =>
        logits.map((l) => Math.exp(l / t) / logits.reduce((a, b) => a + Math.exp(b / t), 0));
      const truth = softmax(1);
      const draw = random();
      labels.push(draw < truth[0]! ? 0 : draw < truth[0]! + truth[1]! ? 1 : 2);
      return softmax(0.4);
    });
    const temperature = fitTemperature({ labels, probabilities })!;
    expect(temperature).toBeGreaterThan(2.3);
    expect(temperature).toBeLessThan(2.7);
    const loss = (t: number) => logLoss({ labels, probabilities: withTemperature(probabilities, t) })!;
    expect(loss(temperature)).toBeLessThan(Math.min(loss(temperature * 1.01), loss(temperature / 1.01)));
  });

  it('takes probabilities of zero and cases that can be told apart', () => {
    expect(
      fitTemperature({
        labels: [0, 1],
        probabilities: [
          [1, 0],
          [0, 1],
        ],
      }),
    ).toBeCloseTo(0.05, 3);
    expect(
      fitTemperature({
        labels: [1, 0],
        probabilities: [
          [1, 0],
          [0, 1],
        ],
      }),
    ).toBeCloseTo(20, 3);
    expect(fitTemperature({ labels: [], probabilities: [] })).toBeNull();
    expect(withTemperature([[1, 0]], 2)[0]!.every(Number.isFinite)).toBe(true);
  });
});

describe('the bootstrap', () => {
  it('draws patients, not slides: ten slides of one patient say no more than one', () => {
    const random = createRandom(1);
    const values = Array.from({ length: 40 }, () => normal(random));
    const width = (slides: number) => {
      const rows = values.flatMap((v, patient) => new Array<[string, number]>(slides).fill([`p${patient}`, v]));
      const mean = (weights: Uint16Array) => {
        let [total, count] = [0, 0];
        rows.forEach(([, v], i) => {
          total += weights[i]! * v;
          count += weights[i]!;
        });
        return new Map([['mean', total / count]]);
      };
      const { low, high } = bootstrap(groupRows(rows.map(([name]) => name)), mean, { resamples: 2000, seed: 7 }).get(
        'mean',
      )!;
      return high! - low!;
    };
    expect(width(10)).toBeCloseTo(width(1), 12);
    // The interval of a mean of 40 standard normals is 2 x 1.96 / sqrt(40) = 0.62 wide, more or less.
    expect(width(1)).toBeGreaterThan(0.45);
    expect(width(1)).toBeLessThan(0.8);
  });

  it('gives the same draws for a seed, none for one patient, and says what was not defined', () => {
    const groups = groupRows(['a', 'b', 'c', 'c']);
    expect([...groups.of]).toEqual([0, 1, 2, 2]);
    const first = (weights: Uint16Array) => new Map([['first', weights[0]! > 0 ? weights[0]! : null]]);
    const draws = { resamples: 300, seed: 4 };
    const { defined } = bootstrap(groups, first, draws).get('first')!;
    expect(bootstrap(groups, first, draws)).toEqual(bootstrap(groups, first, draws));
    // A row is missed by three draws with probability 8 / 27.
    expect(Math.abs(defined / 300 - 19 / 27)).toBeLessThan(0.08);
    expect(bootstrap(groupRows(['a', 'a']), first, draws).get('first')).toMatchObject({ low: null, high: null });
    expect(bootstrap(groups, () => new Map([['never', null]]), draws).get('never')).toEqual({
      low: null,
      high: null,
      defined: 0,
    });
    expect(quantile([0, 10], 0.25)).toBe(2.5);
  });
});

describe('permutation', () => {
  it('gives the exact p of a small table: by counting', () => {
    // Labels 1 1 0 0 in the order of the scores: 1 of the 6 arrangements has an AUC of 1.
    const labels = [true, true, false, false];
    const scores = [4, 3, 2, 1];
    const found = auc(labels, scores);
    const p = permutationP(found, (random) => auc(shuffle(random, [...labels]), scores), { resamples: 6000, seed: 1 })!;
    expect(Math.abs(p - 1 / 6)).toBeLessThan(0.02);
    expect(permutationP(null, () => 1, { resamples: 3, seed: 1 })).toBeNull();
    expect(permutationP(9, () => 1, { resamples: 3, seed: 1 })).toBe(1 / 4);
  });
});

describe('DeLong', () => {
  /** The definition: variance of the placements of each side, by all pairs. */
  function byPairs(positive: readonly boolean[], scores: readonly (readonly number[])[]) {
    const kernel = (a: number, b: number) => (a > b ? 1 : a === b ? 0.5 : 0);
    const at = (wanted: boolean, score: readonly number[]) => score.filter((_, i) => positive[i] === wanted);
    const average = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
    const placements = scores.map((score) => {
      const [x, y] = [at(true, score), at(false, score)];
      return {
        v10: x.map((a) => average(y.map((b) => kernel(a, b)))),
        v01: y.map((b) => average(x.map((a) => kernel(a, b)))),
      };
    });
    const covariance = (a: readonly number[], b: readonly number[]) =>
      a.reduce((sum, v, i) => sum + (v - average(a)) * (b[i]! - average(b)), 0) / (a.length - 1) / a.length;
    return placements.map((a) => placements.map((b) => covariance(a.v10, b.v10) + covariance(a.v01, b.v01)));
  }

  it('is its definition, ties and all', () => {
    const random = createRandom(11);
    const positive = Array.from({ length: 60 }, () => random() < 0.4);
    const scores = [0, 1, 2].map(() => positive.map((p) => Math.round(3 * normal(random) + (p ? 3 : 0))));
    const found = delong(positive, scores)!;
    found.aucs.forEach((value, k) => void expect(value).toBeCloseTo(auc(positive, scores[k]!)!, 12));
    const expected = byPairs(positive, scores);
    for (const [i, row] of expected.entries()) {
      for (const [j, value] of row.entries()) expect(found.covariance[i]![j]).toBeCloseTo(value, 14);
    }
    const difference = delongTest(found)!;
    const variance = expected[0]![0]! + expected[1]![1]! - 2 * expected[0]![1]!;
    expect(difference.z).toBeCloseTo((found.aucs[0]! - found.aucs[1]!) / Math.sqrt(variance), 10);
  });

  it('by hand: two positives and two negatives', () => {
    // Placements of the positives 1 and 1/2, of the negatives 1 and 1/2; each side gives a variance of (1/8) / 2.
    const { aucs, covariance } = delong([true, true, false, false], [[4, 2, 3, 1]])!;
    expect(aucs).toEqual([0.75]);
    expect(covariance[0]![0]).toBeCloseTo(0.125, 14);
  });

  it('rejects as often as it should where two scores are equally good', () => {
    const random = createRandom(2);
    let rejected = 0;
    for (let trial = 0; trial < 400; trial++) {
      const positive = Array.from({ length: 80 }, (_, i) => i < 40);
      const scores = [0, 1].map(() => positive.map((p) => normal(random) + (p ? 1 : 0)));
      if (delongTest(delong(positive, scores)!)!.p < 0.05) rejected++;
    }
    expect(rejected / 400).toBeGreaterThan(0.02);
    expect(rejected / 400).toBeLessThan(0.09);
  });

  it('says nothing of one positive, or of a score against itself', () => {
    expect(delong([true, false, false], [[1, 2, 3]])).toBeNull();
    const same = [1, 5, 2, 3];
    expect(delongTest(delong([true, true, false, false], [same, same])!)).toBeNull();
  });
});
