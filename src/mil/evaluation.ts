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
import {
  confusionMatrix,
  mean,
  type PairCounts,
  pairsPerCase,
  predictedClasses,
  rankColumns,
  standardDeviation,
} from './metrics.ts';
import {
  byPatient,
  type ClassPredictions,
  type Predictions,
  type SurvivalCase,
  type SurvivalPredictions,
} from './predictions.ts';
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
  /** Each case scaled by a temperature fitted to the other four fifths of the patients; null of one patient, who leaves nobody to fit to. */
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

/** A slide whose risk does not go with the time. */
export interface MisjudgedSlide extends SurvivalCase, PairCounts {}

export interface ModelEvaluation {
  readonly name: string;
  readonly slides: LevelEvaluation;
  /** Null when every patient has one slide: the same as `slides`. */
  readonly patients: LevelEvaluation | null;
  readonly folds: FoldTable | null;
  /** Of shuffled truth: how often chance does as well; of AUC or C-index over patients. */
  readonly pAgainstChance: number | null;
  /** Of a classification; wrong and sure of it first. */
  readonly worst: readonly WrongSlide[];
  /** Of survival; those that are in the most discordant pairs first. */
  readonly misjudged: readonly MisjudgedSlide[];
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
  const classes = first.task === 'classification' ? first.classes : [];
  const comparisons = compareModels(models, options);
  const found = [
    ...models.flatMap(warningsOf),
    ...comparisons.flatMap(({ warnings }) => warnings),
    ...(options.ordered ? orderWarnings(classes) : []),
  ];
  return {
    task: first.task,
    classes,
    options,
    comparisons,
    models: models.map(({ name, predictions }) => evaluateModel(name, predictions, options)),
    warnings: [...new Set(found)],
  };
}

/** Training sorts the names of classes unless it is told their order; grades that differ in a number only sort rightly. */
function orderWarnings(classes: readonly string[]): string[] {
  const isSorted = classes.every((name, i) => i === 0 || classes[i - 1]! < name);
  const isNumbered = new Set(classes.map((name) => name.replace(/\d+/g, ''))).size === 1;
  if (classes.length < 3 || !isSorted || isNumbered) return [];
  return [
    `The grades are taken in the order ${classes.join(', ')}, which is that of the alphabet. If theirs is another, kappa is wrong: train with --classes, or put the columns probability_… into their order.`,
  ];
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
    misjudged: predictions.task === 'survival' ? misjudgedOf(predictions) : [],
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
    calibration: calibrate(predictions),
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

function calibrate({ cases }: ClassPredictions): Calibration {
  const all = probabilitiesOf(cases);
  const scaled = scaledByOthers(cases);
  return {
    bins: reliability(all),
    logLoss: finite(logLoss(all)),
    temperature: fitTemperature(all),
    scaled: {
      ece: scaled && expectedCalibrationError(reliability(scaled)),
      brier: scaled && brierScore(scaled),
      logLoss: scaled && finite(logLoss(scaled)),
    },
  };
}

const FIFTHS = 5;

/** By patients and not by folds: repeats of a split test one patient in several. Null where there are no others. */
function scaledByOthers(cases: ClassPredictions['cases']): Probabilities | null {
  const { of, count } = groupRows(cases.map(({ patient }) => patient));
  if (count < 2) return null;
  const temperatures = Array.from({ length: Math.min(FIFTHS, count) }, (_, fifth) =>
    fitTemperature(probabilitiesOf(cases.filter((_, i) => of[i]! % FIFTHS !== fifth))),
  );
  const { labels, probabilities } = probabilitiesOf(cases);
  return {
    labels,
    probabilities: probabilities.map((row, i) => withTemperature([row], temperatures[of[i]! % FIFTHS]!)[0]!),
  };
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

function misjudgedOf({ cases }: SurvivalPredictions): MisjudgedSlide[] {
  const pairs = pairsPerCase(
    cases.map(({ time }) => time),
    cases.map(({ event }) => event),
    cases.map(({ risk }) => risk),
  );
  return cases
    .map((one, i) => ({ ...one, ...pairs[i]! }))
    .filter(({ discordant }) => discordant > 0)
    .sort((a, b) => b.discordant - a.discordant || a.comparable - b.comparable)
    .slice(0, MOST_ERRORS);
}
