/** Tests on predictions: of two models against each other (DeLong, paired permutation), of one against chance. Over patients, which are independent. */
import { UserError } from '../errors.ts';
import { listed } from '../listed.ts';
import { shuffle } from '../random.ts';
import { delong, delongTest } from './delong.ts';
import type { EvaluationOptions, NamedPredictions } from './evaluation.ts';
import { discrimination, mainFigure } from './figures.ts';
import { averageRanks } from './metrics.ts';
import { byPatient, type ClassPredictions, type Predictions, type SurvivalPredictions } from './predictions.ts';
import { permutationP } from './resampling.ts';

export interface DelongResult {
  /** The class against all others. */
  readonly name: string;
  readonly first: number;
  readonly second: number;
  readonly difference: number;
  /** 95 % interval of the difference. */
  readonly low: number;
  readonly high: number;
  readonly p: number;
}

export interface Comparison {
  readonly first: string;
  readonly second: string;
  /** Patients that both models predicted, and whose truth both tables give alike. */
  readonly patients: number;
  /** `auc` or `cIndex`. */
  readonly figure: string;
  /** Of the first minus that of the second; null where either is undefined. */
  readonly difference: number | null;
  /** Of exchanging the models' scores patient by patient, two-sided. */
  readonly permutationP: number | null;
  /** AUC by class; of two classes that of the positive one. Empty for survival. */
  readonly delong: readonly DelongResult[];
  /** Which patients of either model are left out. */
  readonly warnings: readonly string[];
}

/** Every pair, on the patients that both have. */
export function compareModels(models: readonly NamedPredictions[], options: EvaluationOptions): Comparison[] {
  return models.flatMap((first, i) => models.slice(i + 1).map((second) => compare(first, second, options)));
}

function compare(first: NamedPredictions, second: NamedPredictions, options: EvaluationOptions): Comparison {
  const names = { first: first.name, second: second.name };
  const [a, b] = [first.predictions, second.predictions];
  const warnings = leftOut(first, second);
  if (a.task === 'classification' && b.task === 'classification' && a.classes.join('\n') === b.classes.join('\n')) {
    const [own, other] = common(byPatient(a), byPatient(b));
    const delong = delongByClass(own, other);
    return { ...names, patients: own.cases.length, ...paired(own, other, options), delong, warnings };
  }
  if (a.task === 'survival' && b.task === 'survival') {
    const [own, other] = common(byPatient(a), byPatient(b));
    return { ...names, patients: own.cases.length, ...paired(own, other, options), delong: [], warnings };
  }
  const kind = ({ predictions }: NamedPredictions) =>
    predictions.task === 'survival' ? 'risks' : `probabilities of ${predictions.classes.join(', ')}`;
  const problem = `${first.name} holds ${kind(first)}, ${second.name} ${kind(second)}.`;
  throw new UserError(
    'different-classes',
    problem,
    'Evaluate them one by one, or name the classes alike and in one order.',
  );
}

type Case = Predictions['cases'][number];

/** The patient, and what is true of them. */
function truthOf(one: Case): string {
  return JSON.stringify('label' in one ? [one.patient, one.label] : [one.patient, one.time, one.event]);
}

/** The cases of both whose truth is the same, in one order. */
function common<T extends ClassPredictions | SurvivalPredictions>(a: T, b: T): [T, T] {
  const others = new Map((b.cases as readonly Case[]).map((one) => [truthOf(one), one]));
  const own = (a.cases as readonly Case[]).filter((one) => others.has(truthOf(one)));
  return [
    { ...a, cases: own },
    { ...b, cases: own.map((one) => others.get(truthOf(one))!) },
  ];
}

/** Patients whose own slides disagree are named where the model is evaluated. */
function leftOut(first: NamedPredictions, second: NamedPredictions): string[] {
  const patients = ({ predictions }: NamedPredictions) => new Set(predictions.cases.map(({ patient }) => patient));
  const of = (wanted: (patient: string) => boolean, among: ReadonlySet<string>, why: string) => {
    const names = [...among].filter(wanted);
    if (names.length === 0) return [];
    return [`${first.name} - ${second.name}: ${names.length} of the patients (${listed(names)}) ${why}.`];
  };
  const [own, others] = [patients(first), patients(second)];
  const truths = [first, second].map((model) => new Map(casesOf(model).map((one) => [one.patient, truthOf(one)])));
  const differs = (patient: string) => {
    const [a, b] = truths.map((truth) => truth.get(patient));
    return a !== undefined && b !== undefined && a !== b;
  };
  const truth = first.predictions.task === 'classification' ? 'labels' : 'times or events';
  return [
    ...of((patient) => !others.has(patient), own, `are only in ${first.name} and are left out`),
    ...of((patient) => !own.has(patient), others, `are only in ${second.name} and are left out`),
    ...of(differs, own, `have different ${truth} in the two tables and are left out`),
  ];
}

function casesOf({ predictions }: NamedPredictions): readonly Case[] {
  return predictions.task === 'classification' ? byPatient(predictions).cases : byPatient(predictions).cases;
}

/**
 * Scores become ranks first, so that models whose probabilities are of different size can be exchanged. The cases of both models
 * stand one after the other; a draw takes each case from one of them, and leaves the other to the opposite side.
 */
function paired(a: Predictions, b: Predictions, options: EvaluationOptions) {
  const figure = mainFigure[a.task];
  const both = { ...a, cases: [...ranked(a).cases, ...ranked(b).cases] } as Predictions;
  const value = discrimination(both);
  const n = a.cases.length;
  const difference = (fromFirst: (i: number) => boolean) => {
    const weights = Uint8Array.from({ length: 2 * n }, (_, i) => Number(fromFirst(i % n) === i < n));
    const [u, v] = [value(weights), value(weights.map((weight) => 1 - weight))];
    return u === null || v === null ? null : u - v;
  };
  const found = difference(() => true);
  const swap = (random: () => number) => {
    const kept = a.cases.map(() => random() < 0.5);
    const drawn = difference((i) => kept[i]!);
    return drawn === null ? null : Math.abs(drawn);
  };
  return {
    figure,
    difference: found,
    permutationP: permutationP(found === null ? null : Math.abs(found), swap, options),
  };
}

function ranked(predictions: Predictions): Predictions {
  if (predictions.task === 'survival') {
    const ranks = averageRanks(predictions.cases.map(({ risk }) => risk));
    return { ...predictions, cases: predictions.cases.map((one, i) => ({ ...one, risk: ranks[i]! })) };
  }
  const columns = predictions.classes.map((_, k) =>
    averageRanks(predictions.cases.map((one) => one.probabilities[k]!)),
  );
  const cases = predictions.cases.map((one, i) => ({ ...one, probabilities: columns.map((ranks) => ranks[i]!) }));
  return { ...predictions, cases };
}

function delongByClass(a: ClassPredictions, b: ClassPredictions): DelongResult[] {
  const wanted = a.classes.length === 2 ? [1] : a.classes.map((_, k) => k);
  return wanted.flatMap((k) => {
    const column = ({ cases }: ClassPredictions) => cases.map(({ probabilities }) => probabilities[k]!);
    const positive = a.cases.map(({ label }) => label === k);
    const found = delong(positive, [column(a), column(b)]);
    const test = found && delongTest(found);
    if (!test) return [];
    const spread = 1.959963984540054 * test.standardError;
    const { difference, p } = test;
    return {
      name: a.classes[k]!,
      first: found.aucs[0]!,
      second: found.aucs[1]!,
      difference,
      low: difference - spread,
      high: difference + spread,
      p,
    };
  });
}

/** One-sided: how often a shuffled truth is predicted at least as well. */
export function permutationAgainstChance(patients: Predictions, options: EvaluationOptions): number | null {
  const value = discrimination(patients);
  const shuffled = (random: () => number) => value(null, shuffle(random, [...patients.cases.keys()]));
  return permutationP(value(null), shuffled, options);
}
