/**
 * Tables of predictions (CSV), as `lamina train` and `lamina run` write them:
 *
 *     slide,patient,label,fold,probability_<class>…        classification
 *     slide,patient,time,event,fold,risk                   survival; event is 1 or 0
 *
 * `patient` and `fold` may be missing; a slide without a patient is one of its own. Other columns are ignored. What cannot be
 * evaluated is refused with its rows named, or left out and said so in `warnings`.
 */
import { type CsvRow, parseTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import { listed } from '../listed.ts';
import { slideName } from '../slide-name.ts';

interface CaseOrigin {
  readonly slide: string;
  readonly patient: string;
  /** Of a cross-validation; null when the table has none. */
  readonly fold: string | null;
}

export interface ClassCase extends CaseOrigin {
  /** Index of the true class. */
  readonly label: number;
  readonly probabilities: readonly number[];
}

export interface SurvivalCase extends CaseOrigin {
  readonly time: number;
  readonly event: boolean;
  /** Larger is worse. */
  readonly risk: number;
}

export interface ClassPredictions {
  readonly task: 'classification';
  readonly classes: readonly string[];
  readonly cases: readonly ClassCase[];
  readonly warnings: readonly string[];
}

export interface SurvivalPredictions {
  readonly task: 'survival';
  readonly cases: readonly SurvivalCase[];
  readonly warnings: readonly string[];
}

export type Predictions = ClassPredictions | SurvivalPredictions;

/** What is known of slides: `slide,patient,label` or `slide,patient,time,event`, by the name of the slide. */
export type TruthTable = ReadonlyMap<string, CsvRow>;

const PROBABILITY = 'probability_';
/** Probabilities written with few digits do not add up to one exactly. */
const SUM_TOLERANCE = 0.01;
/** What a table of labels may say of a slide. */
const TRUTH = ['patient', 'label', 'time', 'event'] as const;

/** @throws UserError `bad-labels`, naming the rows. */
export function readTruth(name: string, text: string): TruthTable {
  const { columns, rows } = parseTable(name, text);
  if (!columns.includes('slide')) {
    const problem = `${name}: no column named slide (found: ${columns.join(', ') || 'none'}).`;
    throw new UserError(
      'bad-labels',
      problem,
      'Let its first line be slide,patient,label or slide,patient,time,event.',
    );
  }
  const truth = new Map<string, CsvRow>();
  for (const row of rows) {
    const slide = slideName(row.slide!);
    if (truth.has(slide)) {
      throw new UserError('bad-labels', `${name}: slide ${slide} is there twice.`, 'Keep one of its rows.');
    }
    truth.set(slide, row);
  }
  return truth;
}

export interface ReadOptions {
  /** Takes the place of what the table says of patient, label, time and event; slides that it lacks are left out. */
  readonly truth?: TruthTable | null;
}

/**
 * @param name the file, for messages.
 * @throws UserError `bad-predictions` (no such columns, numbers that are none, a slide twice), `unknown-label`, `no-labels`.
 */
export function readPredictions(name: string, text: string, options: ReadOptions = {}): Predictions {
  const { columns, rows } = parseTable(name, text);
  const classes = columns.filter((column) => column.startsWith(PROBABILITY)).map((c) => c.slice(PROBABILITY.length));
  const survival = columns.includes('risk');
  if (!columns.includes('slide') || (classes.length < 2 && !survival)) {
    const problem = `${name}: it has the columns ${columns.join(', ') || '(none)'}.`;
    const hint = 'A table of predictions has slide and probability_<class> for each class, or slide and risk.';
    throw bad(problem, hint);
  }
  const warnings: string[] = [];
  const known = join(name, rows, options.truth ?? null, warnings);
  const predicted = leaveOut(known, (row) => (survival ? row.risk : row[PROBABILITY + classes[0]!]) !== '');
  warn(warnings, name, predicted.left, 'have no prediction (failed, or without tissue) and are left out');
  checkTwice(name, predicted.kept, warnings);
  return survival
    ? { task: 'survival', cases: survivalCases(name, predicted.kept, warnings), warnings }
    : { task: 'classification', classes, cases: classCases(name, predicted.kept, classes, warnings), warnings };
}

function join(name: string, rows: readonly CsvRow[], truth: TruthTable | null, warnings: string[]): readonly CsvRow[] {
  if (!truth) return rows;
  const { kept, left } = leaveOut(rows, (row) => truth.has(slideName(row.slide!)));
  warn(warnings, name, left, 'are not in the table of labels and are left out');
  return kept.map((row) => {
    const known = truth.get(slideName(row.slide!))!;
    return { ...row, ...Object.fromEntries(TRUTH.flatMap((name) => (name in known ? [[name, known[name]!]] : []))) };
  });
}

function classCases(
  name: string,
  rows: readonly CsvRow[],
  classes: readonly string[],
  warnings: string[],
): ClassCase[] {
  const labelled = leaveOut(rows, (row) => Boolean(row.label));
  warn(warnings, name, labelled.left, 'have no label and are left out');
  if (labelled.kept.length === 0) throw noLabels(name, 'label');
  const unknown = labelled.kept.filter((row) => !classes.includes(row.label!));
  if (unknown.length > 0) {
    const problem = `${name}: ${listed(unknown.map((row) => `${row.slide} has the label "${row.label}"`))}, which is none of the classes ${classes.join(', ')}.`;
    throw new UserError('unknown-label', problem, 'Correct the labels, or take the model that knows these classes.');
  }
  const cases = labelled.kept.map((row) => ({
    ...originOf(row),
    label: classes.indexOf(row.label!),
    probabilities: classes.map((label) => numberOf(row[PROBABILITY + label])),
  }));
  const wrong = cases.filter(({ probabilities }) => {
    const total = probabilities.reduce((a, b) => a + b, 0);
    return !probabilities.every((p) => p >= 0 && p <= 1) || !(Math.abs(total - 1) <= SUM_TOLERANCE);
  });
  if (wrong.length > 0) {
    const rowsWrong = wrong.map(({ slide, probabilities }) => `${slide} has ${probabilities.join(', ')}`);
    const hint = 'Predict these slides again, or take their rows out.';
    throw bad(`${name}: probabilities must lie between 0 and 1 and add up to 1; ${listed(rowsWrong)}.`, hint);
  }
  const missing = classes.filter((_, k) => !cases.some(({ label }) => label === k));
  if (missing.length > 0) {
    const effect = missing.length === classes.length - 1 ? 'AUC is undefined' : 'averages are over the other classes';
    warnings.push(`${name}: no slide is labelled ${missing.join(', ')}; ${effect}.`);
  }
  return cases;
}

function survivalCases(name: string, rows: readonly CsvRow[], warnings: string[]): SurvivalCase[] {
  const followed = leaveOut(rows, (row) => Boolean(row.time) && Boolean(row.event));
  warn(warnings, name, followed.left, 'have no time or event and are left out');
  if (followed.kept.length === 0) throw noLabels(name, 'time and event');
  const cases = followed.kept.map((row) => ({
    ...originOf(row),
    time: numberOf(row.time),
    event: row.event === '1',
    risk: numberOf(row.risk),
    eventText: row.event!,
  }));
  const wrong = cases.filter(
    ({ time, risk, eventText }) =>
      !(time >= 0 && Number.isFinite(time) && Number.isFinite(risk) && /^[01]$/.test(eventText)),
  );
  if (wrong.length > 0) {
    const rowsWrong = wrong.map(({ slide, time, risk, eventText }) => `${slide} has ${time}, ${eventText}, ${risk}`);
    const problem = `${name}: time must be a number from 0, event 0 or 1, risk a number; ${listed(rowsWrong)}.`;
    throw bad(problem, 'Correct these rows, or take them out.');
  }
  if (!cases.some(({ event }) => event)) warnings.push(`${name}: nobody had the event; the C-index is undefined.`);
  return cases.map(({ eventText: _, ...one }) => one);
}

function originOf(row: CsvRow): CaseOrigin {
  return { slide: row.slide!, patient: row.patient || row.slide!, fold: row.fold || null };
}

/** An empty cell is no zero. */
function numberOf(text: string | undefined): number {
  return text ? Number(text) : Number.NaN;
}

/** A slide may be tested in several folds, but in each only once. */
function checkTwice(name: string, rows: readonly CsvRow[], warnings: string[]): void {
  const folds = new Map<string, Set<string>>();
  const twice = new Set<string>();
  for (const { slide = '', fold = '' } of rows) {
    const seen = folds.get(slide) ?? new Set();
    folds.set(slide, seen);
    if (seen.has(fold)) twice.add(slide);
    seen.add(fold);
  }
  if (twice.size > 0) {
    const hint = 'Keep one row a slide, or number the rounds in a column named fold.';
    throw bad(`${name}: ${listed([...twice])} ${twice.size === 1 ? 'is' : 'are'} there more than once.`, hint);
  }
  const repeated = [...folds.values()].filter((seen) => seen.size > 1).length;
  if (repeated > 0) {
    warnings.push(
      `${name}: ${repeated} slides were tested in several folds; each time counts, and a patient is drawn with all of them.`,
    );
  }
}

function leaveOut(rows: readonly CsvRow[], wanted: (row: CsvRow) => boolean): { kept: CsvRow[]; left: CsvRow[] } {
  const [kept, left]: [CsvRow[], CsvRow[]] = [[], []];
  for (const row of rows) (wanted(row) ? kept : left).push(row);
  return { kept, left };
}

function warn(warnings: string[], name: string, rows: readonly CsvRow[], what: string): void {
  if (rows.length > 0) warnings.push(`${name}: ${listed(rows.map((row) => row.slide!))} ${what}.`);
}

function bad(problem: string, hint: string): UserError {
  return new UserError('bad-predictions', problem, hint);
}

function noLabels(name: string, column: string): UserError {
  const problem = `${name}: no predicted slide has a ${column}.`;
  return new UserError('no-labels', problem, 'Give a table with them: --labels COHORT.csv.');
}

/** One case a patient: the mean of its slides, and of its folds. Patients whose slides disagree on the truth are left out, and named. */
export function byPatient(predictions: ClassPredictions): ClassPredictions;
export function byPatient(predictions: SurvivalPredictions): SurvivalPredictions;
export function byPatient(predictions: Predictions): Predictions {
  if (predictions.task === 'classification') {
    const { whole, mixed } = patients(predictions.cases, (a, b) => a.label === b.label);
    const cases = whole.map((own) => ({
      ...patientOrigin(own),
      label: own[0]!.label,
      probabilities: predictions.classes.map((_, k) => average(own.map(({ probabilities }) => probabilities[k]!))),
    }));
    return { ...predictions, cases, warnings: mixedWarning(mixed, 'different labels') };
  }
  const { whole, mixed } = patients(predictions.cases, (a, b) => a.time === b.time && a.event === b.event);
  const cases = whole.map((own) => {
    const { time, event } = own[0]!;
    return { ...patientOrigin(own), time, event, risk: average(own.map(({ risk }) => risk)) };
  });
  return { ...predictions, cases, warnings: mixedWarning(mixed, 'different times or events') };
}

function patients<T extends CaseOrigin>(cases: readonly T[], agree: (a: T, b: T) => boolean) {
  const groups = new Map<string, T[]>();
  for (const one of cases) {
    const own = groups.get(one.patient);
    if (own) own.push(one);
    else groups.set(one.patient, [one]);
  }
  const all = [...groups.values()];
  const isWhole = (own: T[]) => own.every((one) => agree(one, own[0]!));
  return { whole: all.filter(isWhole), mixed: all.filter((own) => !isWhole(own)).map((own) => own[0]!.patient) };
}

function patientOrigin(own: readonly CaseOrigin[]): CaseOrigin {
  const slides = [...new Set(own.map(({ slide }) => slide))];
  return { slide: slides.join(' '), patient: own[0]!.patient, fold: own.length === 1 ? own[0]!.fold : null };
}

function mixedWarning(mixed: readonly string[], what: string): string[] {
  const names = [...new Set(mixed)];
  return names.length > 0
    ? [`Patients ${listed(names)} have slides of ${what} and are left out at patient level.`]
    : [];
}

function average(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
