/** The evaluation of one or several models' predictions: figures with intervals, curves, calibration, tests. Plain data out. */
import {
  brierScore,
  expectedCalibrationError,
  fitTemperature,
  logLoss,
  type Probabilities,
  type ReliabilityBin,
  reliability,
  withTemperature,
} from './calibration.ts';
import { type Comparison, compareModels, permutationAgainstChance } from './comparison.ts';
import { type FigureOptions, figuresOf } from './figures.ts';
import { confusionMatrix, mean, predictedClasses, rankColumns, standardDeviation } from './metrics.ts';
import { byPatient, type ClassPredictions, type Predictions, type SurvivalPredictions } from './predictions.ts';
import { bootstrap, type Draws, groupRows, type Interval, quantile } from './resampling.ts';
import { atSpecificity, countScores, type OperatingPoint, operatingPoints } from './score-counts.ts';
import { kaplanMeier, type LogRank, logRank, medianSurvival, type SurvivalStep } from './survival-curve.ts';

export interface EvaluationOptions extends FigureOptions, Draws {}

export const evaluationDefaults: EvaluationOptions = { specificity: 0.95, ordered: false, resamples: 1000, seed: 0 };

/** Predictions under the name that the report gives them. */
export interface NamedPredictions {
  readonly name: string;
  readonly predictions: Predictions;
}

export interface Estimate extends Interval {
  readonly value: number | null;
}

export interface ClassEvaluation {
  readonly name: string;
  readonly cases: number;
  readonly predicted: number;
  readonly figures: Readonly<Record<string, Estimate>>;
  /** Thinned to at most 500 points; empty where the class has no cases, or only it has. */
  readonly curve: readonly OperatingPoint[];
  /** Cases of this class and of the others by its probability, in 20 bins. */
  readonly histogram: { readonly own: readonly number[]; readonly others: readonly number[] };
}

export interface Calibration {
  readonly bins: readonly ReliabilityBin[];
  /** Null where a case was given no chance. */
  readonly logLoss: number | null;
  /** Fitted to all cases, to be used from now on; at 0.05 or 20 it found no bound. */
  readonly temperature: number | null;
  /** Each case scaled by a temperature fitted without its fold (or fifth of the patients). */
  readonly scaled: { readonly ece: number | null; readonly brier: number | null; readonly logLoss: number | null };
}

export interface RiskGroup {
  readonly name: string;
  readonly cases: number;
  readonly events: number;
  readonly median: number | null;
  readonly steps: readonly SurvivalStep[];
}

/** Cut at the median of the evaluated risks: a description, not a rule for new patients. */
export interface RiskGroups {
  readonly cut: number;
  readonly groups: readonly RiskGroup[];
  readonly logRank: LogRank | null;
}

/** Cases of one kind: slides, or patients. */
export interface LevelEvaluation {
  readonly cases: number;
  readonly patients: number;
  readonly figures: Readonly<Record<string, Estimate>>;
  /** Of a classification. */
  readonly classes: readonly ClassEvaluation[];
  /** counts[label][prediction] */
  readonly confusion: readonly (readonly number[])[];
  readonly calibration: Calibration | null;
  /** Of two classes: where the sensitivity at the fixed specificity is reached. */
  readonly operatingPoint: OperatingPoint | null;
  /** Of survival. */
  readonly riskGroups: RiskGroups | null;
}

export interface FoldEvaluation {
  readonly fold: string;
  readonly cases: number;
  readonly figures: Readonly<Record<string, number | null>>;
}

export interface FoldTable {
  readonly folds: readonly FoldEvaluation[];
  /** Over the folds in which a figure is defined; the deviation has n - 1 below. */
  readonly mean: Readonly<Record<string, number | null>>;
  readonly deviation: Readonly<Record<string, number | null>>;
}

export interface WrongSlide {
  readonly slide: string;
  readonly patient: string;
  readonly fold: string | null;
  readonly label: string;
  readonly prediction: string;
  readonly probabilityOfLabel: number;
  readonly probabilityOfPrediction: number;
}

export interface ModelEvaluation {
  readonly name: string;
  readonly slides: LevelEvaluation;
  /** Null when every patient has one slide: the same as `slides`. */
  readonly patients: LevelEvaluation | null;
  readonly folds: FoldTable | null;
  /** Of shuffled truth: how often chance does as well; of AUC or C-index over patients. */
  readonly pAgainstChance: number | null;
  /** Wrong and sure of it first. */
  readonly worst: readonly WrongSlide[];
}

export interface Evaluation {
  readonly task: Predictions['task'];
  /** Of a classification; of two, the second is the positive one. */
  readonly classes: readonly string[];
  readonly options: EvaluationOptions;
  readonly models: readonly ModelEvaluation[];
  readonly comparisons: readonly Comparison[];
  readonly warnings: readonly string[];
}

const MOST_POINTS = 500;
const HISTOGRAM_BINS = 20;
const MOST_ERRORS = 20;

/** @throws UserError `different-classes` when the models cannot be laid beside each other. */
export function evaluate(
  models: readonly NamedPredictions[],
  options: EvaluationOptions = evaluationDefaults,
): Evaluation {
  const first = models[0]!.predictions;
  return {
    task: first.task,
    classes: first.task === 'classification' ? first.classes : [],
    options,
    comparisons: compareModels(models, options),
    models: models.map(({ name, predictions }) => evaluateModel(name, predictions, options)),
    warnings: [...new Set(models.flatMap(warningsOf))],
  };
}

function warningsOf({ name, predictions }: NamedPredictions): string[] {
  const patients = predictions.task === 'classification' ? byPatient(predictions) : byPatient(predictions);
  const one = new Set(predictions.cases.map(({ patient }) => patient)).size < 2;
  const lonely = one ? [`${name}: all slides are of one patient; there are no intervals.`] : [];
  return [...predictions.warnings, ...patients.warnings, ...lonely];
}

function evaluateModel(name: string, predictions: Predictions, options: EvaluationOptions): ModelEvaluation {
  const patients = predictions.task === 'classification' ? byPatient(predictions) : byPatient(predictions);
  const same = patients.cases.length === predictions.cases.length;
  return {
    name,
    slides: evaluateLevel(predictions, options),
    patients: same || patients.cases.length === 0 ? null : evaluateLevel(patients, options),
    folds: foldTable(predictions, options),
    pAgainstChance: permutationAgainstChance(patients, options),
    worst: predictions.task === 'classification' ? worstOf(predictions) : [],
  };
}

function evaluateLevel(predictions: Predictions, options: EvaluationOptions): LevelEvaluation {
  const groups = groupRows(predictions.cases.map(({ patient }) => patient));
  const figures = figuresOf(predictions, options);
  const intervals = bootstrap(groups, figures, options);
  const estimates = [...figures(null)].map(([name, value]) => [name, { value, ...intervals.get(name)! }] as const);
  const of = (wanted: (name: string) => boolean) => estimates.filter(([name]) => wanted(name));
  const common = {
    cases: predictions.cases.length,
    patients: groups.count,
    figures: Object.fromEntries(of((name) => !name.includes(':'))),
  };
  if (predictions.task === 'survival') {
    const none = { classes: [], confusion: [], calibration: null, operatingPoint: null };
    return { ...common, ...none, riskGroups: riskGroups(predictions) };
  }
  const { classes, cases } = predictions;
  const labels = cases.map(({ label }) => label);
  const probabilities = cases.map((one) => one.probabilities);
  const confusion = confusionMatrix(labels, predictedClasses(probabilities), classes.length);
  const counts = rankColumns(probabilities).map((ranked, k) => countScores(ranked, (row) => labels[row] === k));
  return {
    ...common,
    classes: classes.map((name, k) => ({
      name,
      cases: confusion[k]!.reduce((a, b) => a + b, 0),
      predicted: confusion.reduce((sum, row) => sum + row[k]!, 0),
      figures: Object.fromEntries(
        of((figure) => figure.endsWith(`:${name}`) && figure.indexOf(':') === figure.length - name.length - 1).map(
          ([figure, estimate]) => [figure.slice(0, figure.indexOf(':')), estimate],
        ),
      ),
      curve: thinned(operatingPoints(counts[k]!)),
      histogram: histogram(predictions, k),
    })),
    confusion,
    calibration: calibrate(predictions, options.seed),
    operatingPoint: classes.length === 2 ? atSpecificity(counts[1]!, options.specificity) : null,
    riskGroups: null,
  };
}

function thinned(points: readonly OperatingPoint[]): readonly OperatingPoint[] {
  if (points.length <= MOST_POINTS) return points;
  const step = (points.length - 1) / (MOST_POINTS - 1);
  return Array.from({ length: MOST_POINTS }, (_, i) => points[Math.round(i * step)]!);
}

function histogram({ cases }: ClassPredictions, k: number): ClassEvaluation['histogram'] {
  const [own, others] = [new Array<number>(HISTOGRAM_BINS).fill(0), new Array<number>(HISTOGRAM_BINS).fill(0)];
  for (const { label, probabilities } of cases) {
    const bin = Math.min(HISTOGRAM_BINS - 1, Math.floor(probabilities[k]! * HISTOGRAM_BINS));
    (label === k ? own : others)[bin]!++;
  }
  return { own, others };
}

const FITS = 5;

function calibrate(predictions: ClassPredictions, seed: number): Calibration {
  const { cases } = predictions;
  const all = probabilitiesOf(cases);
  const parts = partsOf(predictions, seed);
  const scaled = cases.map(({ probabilities }) => probabilities);
  for (const part of new Set(parts)) {
    const temperature = fitTemperature(probabilitiesOf(cases.filter((_, i) => parts[i] !== part)));
    if (temperature === null) continue;
    for (const [i, one] of cases.entries()) {
      if (parts[i] === part) scaled[i] = withTemperature([one.probabilities], temperature)[0]!;
    }
  }
  const after = { labels: all.labels, probabilities: scaled };
  const bins = reliability(all);
  return {
    bins,
    logLoss: finite(logLoss(all)),
    temperature: fitTemperature(all),
    scaled: {
      ece: expectedCalibrationError(reliability(after)),
      brier: brierScore(after),
      logLoss: finite(logLoss(after)),
    },
  };
}

/** The folds where there are some; otherwise fifths of the patients. */
function partsOf({ cases }: ClassPredictions, seed: number): string[] {
  const folds = new Set(cases.map(({ fold }) => fold));
  if (folds.size > 1 && !folds.has(null)) return cases.map(({ fold }) => fold!);
  const { of } = groupRows(cases.map(({ patient }) => patient));
  return cases.map((_, i) => String((of[i]! + seed) % FITS));
}

function probabilitiesOf(cases: ClassPredictions['cases']): Probabilities {
  return { labels: cases.map(({ label }) => label), probabilities: cases.map((one) => one.probabilities) };
}

function finite(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}

function riskGroups({ cases }: SurvivalPredictions): RiskGroups | null {
  const cut = quantile(Float64Array.from(cases, ({ risk }) => risk).sort(), 0.5);
  const isHigh = cases.map(({ risk }) => risk > cut);
  const group = (name: string, high: boolean): RiskGroup => {
    const own = cases.filter((_, i) => isHigh[i] === high);
    const steps = kaplanMeier(
      own.map(({ time }) => time),
      own.map(({ event }) => event),
    );
    const events = own.filter(({ event }) => event).length;
    return { name, cases: own.length, events, median: medianSurvival(steps), steps };
  };
  const [times, events] = [cases.map(({ time }) => time), cases.map(({ event }) => event)];
  return { cut, groups: [group('low risk', false), group('high risk', true)], logRank: logRank(times, events, isHigh) };
}

function foldTable(predictions: Predictions, options: EvaluationOptions): FoldTable | null {
  const { cases } = predictions;
  const names = [...new Set(cases.map(({ fold }) => fold))];
  if (names.length < 2 || names.includes(null)) return null;
  const folds = (names as string[])
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((fold) => {
      const own = { ...predictions, cases: cases.filter((one) => one.fold === fold) } as Predictions;
      const figures = [...figuresOf(own, options)(null)].filter(([name]) => !name.includes(':'));
      return { fold, cases: own.cases.length, figures: Object.fromEntries(figures) };
    });
  const over = (of: (values: number[]) => number | null) =>
    Object.fromEntries(
      Object.keys(folds[0]!.figures).map((name) => [
        name,
        of(folds.map(({ figures }) => figures[name]!).filter((value) => value !== null)),
      ]),
    );
  return { folds, mean: over(mean), deviation: over(standardDeviation) };
}

function worstOf({ classes, cases }: ClassPredictions): WrongSlide[] {
  const predicted = predictedClasses(cases.map(({ probabilities }) => probabilities));
  return cases
    .flatMap(({ slide, patient, fold, label, probabilities }, i) => {
      const prediction = predicted[i]!;
      if (prediction === label) return [];
      return {
        slide,
        patient,
        fold,
        label: classes[label]!,
        prediction: classes[prediction]!,
        probabilityOfLabel: probabilities[label]!,
        probabilityOfPrediction: probabilities[prediction]!,
      };
    })
    .sort(
      (a, b) => a.probabilityOfLabel - b.probabilityOfLabel || b.probabilityOfPrediction - a.probabilityOfPrediction,
    )
    .slice(0, MOST_ERRORS);
}
