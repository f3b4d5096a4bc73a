/** The figures of merit of a set of predictions, all at once, of cases that count as often as their weights say. */
import { brierScore, expectedCalibrationError, reliability } from './calibration.ts';
import {
  accuracy,
  aucOfPairs,
  balancedAccuracy,
  concordance,
  confusionMatrix,
  f1Macro,
  f1OfClasses,
  f1Weighted,
  meanOfDefined,
  precisionPerClass,
  predictedClasses,
  quadraticKappa,
  rankColumns,
  recallPerClass,
} from './metrics.ts';
import type { ClassPredictions, Predictions, SurvivalPredictions } from './predictions.ts';
import { areaUnderRoc, atSpecificity, countScores, type ScoreCounts, stepwisePrecision } from './score-counts.ts';

/** By name; those of one class as `recall:tumour`. Null where undefined. */
export type Figures = ReadonlyMap<string, number | null>;

export type Weights = ArrayLike<number> | null;

export interface FigureOptions {
  /** At which a sensitivity is read off, of two classes. */
  readonly specificity: number;
  /** Whether the classes are grades, whose errors have sizes: adds the quadratic kappa. */
  readonly ordered: boolean;
}

/** What the figures are called where people read them, and in which order. */
export const figureNames: Readonly<Record<string, string>> = {
  auc: 'AUC',
  aucOneVsOne: 'AUC, one against one',
  averagePrecision: 'Average precision',
  balancedAccuracy: 'Balanced accuracy',
  accuracy: 'Accuracy',
  f1Macro: 'F1, macro',
  f1Weighted: 'F1, weighted',
  sensitivityAtSpecificity: 'Sensitivity at fixed specificity',
  kappa: 'Kappa, quadratic',
  brier: 'Brier score',
  ece: 'Expected calibration error',
  cIndex: 'C-index',
};

/** The figure that tests are about, and that does not depend on a threshold: AUC (of more than two classes the mean), or C-index. */
export const mainFigure = { classification: 'auc', survival: 'cIndex' } as const;

/**
 * The main figure alone, for tests that ask for it thousands of times.
 * @param truth for each case, the case whose label (or time and event) it is given; its own if not said.
 */
export function discrimination(
  predictions: Predictions,
): (weights: Weights, truth?: ArrayLike<number>) => number | null {
  if (predictions.task === 'survival') {
    const [times, events, risks] = columnsOf(predictions);
    return (weights, truth) => {
      const given = <T>(values: readonly T[]) => (truth ? values.map((_, i) => values[truth[i]!]!) : values);
      return concordance(given(times), given(events), risks, weights).cIndex;
    };
  }
  const labels = predictions.cases.map(({ label }) => label);
  const columns = rankColumns(predictions.cases.map(({ probabilities }) => probabilities));
  const wanted = columns.length === 2 ? [1] : [...columns.keys()];
  return (weights, truth) =>
    meanOfDefined(
      wanted.map((k) => {
        const side = truth ? (row: number) => labels[truth[row]!] === k : (row: number) => labels[row] === k;
        return areaUnderRoc(countScores(columns[k]!, side, weights));
      }),
    );
}

/** Sorts and ranks once, then counts for any weights: a bootstrap asks a thousand times. */
export function figuresOf(predictions: Predictions, options: FigureOptions): (weights: Weights) => Figures {
  return predictions.task === 'classification' ? classFigures(predictions, options) : survivalFigures(predictions);
}

function classFigures({ classes, cases }: ClassPredictions, options: FigureOptions): (weights: Weights) => Figures {
  const labels = cases.map(({ label }) => label);
  const probabilities = cases.map((one) => one.probabilities);
  const predicted = predictedClasses(probabilities);
  const columns = rankColumns(probabilities);
  const binary = classes.length === 2;

  return (weights) => {
    const confusion = confusionMatrix(labels, predicted, classes.length, weights);
    const counts = columns.map((ranked, k) => countScores(ranked, (row) => labels[row] === k, weights));
    const aucs = counts.map(areaUnderRoc);
    const precisions = counts.map(stepwisePrecision);
    const positive = counts[1]!;
    const figures = new Map<string, number | null>([
      ['auc', binary ? aucs[1]! : meanOfDefined(aucs)],
      ...(binary ? [] : [['aucOneVsOne', aucOfPairs(labels, columns, weights)] as const]),
      ['averagePrecision', binary ? precisions[1]! : meanOfDefined(precisions)],
      ['balancedAccuracy', balancedAccuracy(confusion)],
      ['accuracy', accuracy(confusion)],
      ['f1Macro', f1Macro(confusion)],
      ['f1Weighted', f1Weighted(confusion)],
      ...(binary ? [['sensitivityAtSpecificity', sensitivityAt(positive, options.specificity)] as const] : []),
      ...(options.ordered ? [['kappa', quadraticKappa(confusion)] as const] : []),
      ['brier', brierScore({ labels, probabilities }, weights)],
      ['ece', expectedCalibrationError(reliability({ labels, probabilities }, weights))],
    ]);
    const perClass = {
      precision: precisionPerClass(confusion),
      recall: recallPerClass(confusion),
      f1: f1OfClasses(confusion),
      auc: aucs,
      averagePrecision: precisions,
    };
    for (const [name, values] of Object.entries(perClass)) {
      for (const [k, value] of values.entries()) figures.set(`${name}:${classes[k]}`, value);
    }
    return figures;
  };
}

function sensitivityAt(counts: ScoreCounts, specificity: number): number | null {
  return atSpecificity(counts, specificity)?.sensitivity ?? null;
}

function survivalFigures(predictions: SurvivalPredictions): (weights: Weights) => Figures {
  const [times, events, risks] = columnsOf(predictions);
  return (weights) => new Map([['cIndex', concordance(times, events, risks, weights).cIndex]]);
}

function columnsOf({ cases }: SurvivalPredictions) {
  return [cases.map(({ time }) => time), cases.map(({ event }) => event), cases.map(({ risk }) => risk)] as const;
}
