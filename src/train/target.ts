/** What a model is to learn of each row of a cohort: a class, or a time with an event. */
import { UserError } from '../errors.ts';
import { listed } from '../listed.ts';
import { type Cohort, type CohortRow, namedRows } from './cohort.ts';

export type Task = 'classification' | 'survival';

/** A class, or a time bin (mambamil.md, survival head). */
export interface Target {
  /** Class of the row; of a survival model the time bin. */
  readonly label: number;
  readonly censored: 0 | 1;
  /** Follow-up; 0 of a class. */
  readonly time: number;
}

export interface Targets {
  readonly task: Task;
  /** Class names, or those of the time bins. */
  readonly classes: readonly string[];
  /** Rows that have a target, and what it is, in the order of the table. */
  readonly rows: readonly CohortRow[];
  readonly targets: readonly Target[];
  /** Whole sentences for the person. */
  readonly warnings: readonly string[];
}

export interface TargetOptions {
  /** Survival if the table has times and events and no labels, unless said. */
  readonly task?: Task;
  /** Names in the order of the logits; those of the labels, sorted, unless said. */
  readonly classes?: readonly string[];
  /** Time bins of a survival model. */
  readonly bins?: number;
}

const BINS = 4;
/** Classes are unequal when the largest has so many times the slides of the smallest. */
export const IMBALANCE = 10;

/**
 * @throws UserError `bad-classes`, `one-class`, `unknown-label`, `bad-cohort`: nothing can be learnt from this table.
 */
export function targetsOf(cohort: Cohort, options: TargetOptions = {}): Targets {
  const timed = cohort.rows.some(({ time, event }) => time !== null && event !== null);
  const labelled = cohort.rows.some(({ label }) => label !== null);
  const task = options.task ?? (timed && !labelled ? 'survival' : 'classification');
  return task === 'survival' ? survivalTargets(cohort, options.bins ?? BINS) : classTargets(cohort, options.classes);
}

function classTargets({ source, columns, rows: all }: Cohort, given: readonly string[] | undefined): Targets {
  if (given) requireNames(given);
  const rows = all.filter(({ label }) => label !== null);
  const found = [...new Set(rows.map(({ label }) => label!))].sort((a, b) =>
    a.localeCompare(b, 'en', { numeric: true }),
  );
  const classes = given ?? found;
  const strangers = rows.filter(({ label }) => !classes.includes(label!));
  if (strangers.length > 0) {
    throw new UserError(
      'unknown-label',
      `${source}: ${namedRows(strangers)} have labels that are no class (${[...new Set(strangers.map(({ label }) => label))].join(', ')}); the classes are ${classes.join(', ')}.`,
      'Correct the labels, or name all classes with --classes.',
    );
  }
  const alike = given
    ? []
    : rows.filter(({ label }) => found.some((other) => other !== label && isAlike(other, label!)));
  if (alike.length > 0) {
    throw new UserError(
      'unknown-label',
      `${source}: labels differ only in case: ${[...new Set(alike.map(({ label }) => label))].join(', ')} (${rarest(alike)}).`,
      'Write each class in one way, or name all classes with --classes.',
    );
  }
  if (found.length < 2) {
    const none = columns.includes('label')
      ? 'no row has a label'
      : `there is no column named label (found: ${columns.join(', ')})`;
    const what = found.length === 0 ? none : `all ${rows.length} labelled rows are ${found[0]}`;
    throw new UserError('one-class', `${source}: ${what}.`, 'A classifier needs slides of two classes or more.');
  }
  const absent = classes.filter((name) => !found.includes(name));
  return {
    task: 'classification',
    classes,
    rows,
    targets: rows.map(({ label }) => ({ label: classes.indexOf(label!), censored: 0, time: 0 })),
    warnings: [...left(all, rows, 'label'), ...absent.map((name) => `No row is of the class ${name}.`)],
  };
}

function requireNames(classes: readonly string[]): void {
  const twice = [...new Set(classes.filter((name, i) => classes.indexOf(name) < i))];
  const empty = classes.some((name) => name.trim() === '');
  if (twice.length === 0 && !empty) return;
  const problem = empty
    ? `Of the classes ${JSON.stringify(classes)} one has no name.`
    : `Classes are named twice: ${twice.join(', ')}.`;
  throw new UserError('bad-classes', problem, 'Name each class once with --classes.');
}

function isAlike(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** The rows of the label that fewest have: most likely those to be corrected. */
function rarest(rows: readonly CohortRow[]): string {
  const of = (label: string | null) => rows.filter((row) => row.label === label);
  return namedRows(rows.map(({ label }) => of(label)).reduce((a, b) => (b.length < a.length ? b : a)));
}

function survivalTargets({ source, rows: all }: Cohort, bins: number): Targets {
  const rows = all.filter(({ time, event }) => time !== null && event !== null);
  const events = rows.filter(({ event }) => event === 1);
  const patients = new Map(rows.map((row) => [row.patient, row]));
  const differing = rows.filter((row) => {
    const first = patients.get(row.patient)!;
    return first.time !== row.time || first.event !== row.event;
  });
  if (differing.length > 0) {
    throw new UserError(
      'bad-cohort',
      `${source}: the follow-up of ${namedRows(differing)} differs from that of another slide of the patient.`,
      'Give all slides of a patient the same time and event.',
    );
  }
  const times = [...patients.values()].filter(({ event }) => event === 1).map(({ time }) => time!);
  if (new Set(times).size < bins) {
    throw new UserError(
      'one-class',
      `${source}: ${events.length} events at ${new Set(times).size} different times do not make ${bins} time bins.`,
      'Add patients with an event, or ask for fewer time bins.',
    );
  }
  const edges = timeEdges(times, bins);
  if (edges.length === 0) {
    throw new UserError(
      'one-class',
      `${source}: so many of the ${times.length} patients with an event have it at the same time that they make one time bin.`,
      'Give times in a finer unit, or other --bins.',
    );
  }
  const starts = ['0', ...edges.map((edge) => `${Number(edge.toPrecision(4))}`), 'later'];
  const tied = `Times are tied: there are ${edges.length + 1} time bins instead of ${bins}, so that each has an event.`;
  return {
    task: 'survival',
    classes: starts.slice(1).map((end, i) => `${starts[i]} to ${end}`),
    rows,
    targets: rows.map(({ time, event }) => ({
      label: edges.filter((edge) => time! >= edge).length,
      censored: event === 1 ? 0 : 1,
      time: time!,
    })),
    warnings: [...left(all, rows, 'time and event'), ...(edges.length + 1 < bins ? [tied] : [])],
  };
}

/**
 * Inner edges: quantiles, linear between neighbours, of the times of those who had the event. Bins are closed on the left. Where
 * times are tied, edges that would leave a bin without any are left out.
 */
export function timeEdges(times: readonly number[], bins: number): number[] {
  const sorted = [...times].sort((a, b) => a - b);
  const quantiles = Array.from({ length: bins - 1 }, (_, i) => {
    const place = ((sorted.length - 1) * (i + 1)) / bins;
    const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    return low + (high - low) * (place - Math.floor(place));
  });
  const kept: number[] = [];
  for (const edge of quantiles) if (sorted.some((time) => time >= (kept.at(-1) ?? 0) && time < edge)) kept.push(edge);
  return kept;
}

function left(all: readonly CohortRow[], used: readonly CohortRow[], what: string): string[] {
  const kept = new Set(used);
  const rest = all.filter((row) => !kept.has(row));
  return rest.length === 0 ? [] : [`${listed([namedRows(rest)])} have no ${what} and are left out.`];
}
