/**
 * Splits of a cohort into training, validation and test rows. All rows of a patient are on one side, classes are spread evenly,
 * and validation rows are taken out of the training rows: the test rows of a fold choose nothing.
 */
import { UserError } from '../errors.ts';
import { createRandom, shuffle } from '../random.ts';

/** Indices of rows. */
export interface Fold {
  readonly train: readonly number[];
  /** Empty: no early stopping. */
  readonly validation: readonly number[];
  readonly test: readonly number[];
}

/** What a split has to know of a row. */
export interface SplitRow {
  readonly patient: string;
  readonly site: string | null;
  readonly split: string | null;
  /** Rows of one stratum are spread evenly: the class, or twice the time bin, one more if it is censored. */
  readonly stratum: number;
}

export interface SplitOptions {
  /** `preserved-site`: no site is on both sides (Howard et al. 2021). `given`: by the column `split`. */
  readonly kind: 'k-fold' | 'monte-carlo' | 'preserved-site' | 'given';
  readonly folds: number;
  /** Of all patients, for `monte-carlo`. */
  readonly testShare: number;
  /** Of the patients that are not tested; 0: no validation. */
  readonly validationShare: number;
  readonly seed: number;
  /** What the strata are called in messages if they are classes; by number unless given. */
  readonly classes?: readonly string[];
  /** Of a survival model the names of its time bins: what has to be taught is then not each stratum but events. */
  readonly timeBins?: readonly string[];
}

export interface Splits {
  readonly folds: readonly Fold[];
  readonly warnings: readonly string[];
}

/** Rows that go together: those of a patient, or of a site. */
interface Group {
  readonly name: string;
  readonly rows: readonly number[];
  /** The rarest stratum among its rows, which is the one that has to be spread. */
  readonly stratum: number;
}

/** @throws UserError `too-few-folds`, `too-few-patients`, `split-leak`, `no-split`, `class-missing`, `no-event`. */
export function splitRows(rows: readonly SplitRow[], options: SplitOptions): Splits {
  const patients = groupsOf(rows, ({ patient }) => patient);
  const tests = testSets(rows, patients, options);
  const folds = tests.map((test, fold) => {
    if (options.kind === 'given') return givenFold(rows, patients, options);
    const tested = new Set(test);
    const rest = patients.filter((group) => !tested.has(group.rows[0]!));
    const validation = share(rest, options.validationShare, createRandom(options.seed * 7919 + fold));
    return foldOf(rest, validation, test);
  });
  const nameOf = (i: number) => (folds.length > 1 ? `fold ${i + 1}` : 'the split');
  return { folds, warnings: folds.flatMap((fold, i) => checkFold(rows, fold, nameOf(i), options)) };
}

function foldOf(rest: readonly Group[], validation: ReadonlySet<Group>, test: readonly number[]): Fold {
  const rowsOf = (groups: readonly Group[]) => groups.flatMap((group) => group.rows).sort((a, b) => a - b);
  return {
    train: rowsOf(rest.filter((group) => !validation.has(group))),
    validation: rowsOf([...validation]),
    test: [...test].sort((a, b) => a - b),
  };
}

function testSets(rows: readonly SplitRow[], patients: readonly Group[], options: SplitOptions): number[][] {
  const { kind, folds, testShare, seed } = options;
  if (kind === 'given') return [[]];
  if (kind === 'monte-carlo') {
    return Array.from({ length: folds }, (_, fold) =>
      [...share(patients, testShare, createRandom(seed * 104729 + fold))].flatMap((group) => group.rows),
    );
  }
  if (folds < 2) {
    throw new UserError(
      'too-few-folds',
      `--split ${kind} tests each patient once, which takes 2 folds or more.`,
      'Ask for --folds 2 or more, or for one split with --split monte-carlo --folds 1.',
    );
  }
  const groups =
    kind === 'preserved-site' ? groupsOf(rows, ({ site, patient }) => site ?? `patient ${patient}`) : patients;
  if (kind === 'preserved-site') requireOneSite(rows, patients);
  if (groups.length < folds) {
    const what = kind === 'preserved-site' ? 'sites' : 'patients';
    throw new UserError(
      'too-few-patients',
      `${groups.length} ${what} (${groups
        .slice(0, 5)
        .map(({ name }) => name)
        .join(', ')}${groups.length > 5 ? ', …' : ''}) cannot be split into ${folds} folds.`,
      groups.length < 2 ? `Add ${what}.` : `Ask for at most --folds ${groups.length}, or add ${what}.`,
    );
  }
  return kind === 'preserved-site' ? balancedFolds(rows, groups, folds) : dealtFolds(groups, folds, seed);
}

/** Each stratum is shuffled and dealt out in turn, going on where the last one stopped. */
function dealtFolds(groups: readonly Group[], folds: number, seed: number): number[][] {
  const sets = Array.from({ length: folds }, (): number[] => []);
  const random = createRandom(seed);
  let dealt = 0;
  for (const group of strata(groups).flatMap((members) => shuffle(random, [...members]))) {
    sets[dealt++ % folds]!.push(...group.rows);
  }
  return sets;
}

/** Large groups first, each into the fold that it leaves the most even. */
function balancedFolds(rows: readonly SplitRow[], groups: readonly Group[], folds: number): number[][] {
  const kinds = [...new Set(rows.map(({ stratum }) => stratum))];
  const wanted = kinds.map((kind) => rows.filter(({ stratum }) => stratum === kind).length / folds);
  const sets = Array.from({ length: folds }, (): number[] => []);
  const cost = (set: readonly number[]) =>
    kinds.reduce((sum, kind, k) => {
      const count = set.filter((row) => rows[row]!.stratum === kind).length;
      return sum + (count / wanted[k]! - 1) ** 2;
    }, 0);
  for (const { rows: own } of [...groups].sort((a, b) => b.rows.length - a.rows.length)) {
    const added = sets.map((set) => cost([...set, ...own]) - cost(set));
    sets[added.indexOf(Math.min(...added))]!.push(...own);
  }
  return sets;
}

/** A share of the groups of each stratum, one at least of a stratum that can spare it. */
function share(groups: readonly Group[], part: number, random: () => number): Set<Group> {
  if (part <= 0) return new Set();
  return new Set(
    strata(groups).flatMap((members) => {
      const count = Math.min(members.length - 1, Math.max(1, Math.round(part * members.length)));
      return shuffle(random, [...members]).slice(0, Math.max(0, count));
    }),
  );
}

function strata(groups: readonly Group[]): Group[][] {
  const kinds = [...new Set(groups.map(({ stratum }) => stratum))].sort((a, b) => a - b);
  return kinds.map((kind) => groups.filter(({ stratum }) => stratum === kind));
}

function groupsOf(rows: readonly SplitRow[], nameOf: (row: SplitRow) => string): Group[] {
  const counts = new Map<number, number>();
  for (const { stratum } of rows) counts.set(stratum, (counts.get(stratum) ?? 0) + 1);
  const byName = new Map<string, number[]>();
  rows.forEach((row, i) => {
    const name = nameOf(row);
    byName.set(name, [...(byName.get(name) ?? []), i]);
  });
  return [...byName].map(([name, own]) => {
    const kinds = own.map((row) => rows[row]!.stratum);
    return { name, rows: own, stratum: kinds.reduce((a, b) => (counts.get(b)! < counts.get(a)! ? b : a)) };
  });
}

const PARTS: Readonly<Record<string, keyof Fold>> = {
  train: 'train',
  training: 'train',
  val: 'validation',
  valid: 'validation',
  validation: 'validation',
  test: 'test',
};

/** How many rows the table keeps for the test. */
export function givenTests(rows: readonly Pick<SplitRow, 'split'>[]): number {
  return rows.filter((row) => partOf(row) === 'test').length;
}

function partOf({ split }: Pick<SplitRow, 'split'>): keyof Fold | null {
  return PARTS[split?.toLowerCase() ?? ''] ?? null;
}

function givenFold(rows: readonly SplitRow[], patients: readonly Group[], options: SplitOptions): Fold {
  const part = (row: number) => partOf(rows[row]!);
  const unknown = rows.flatMap((row, i) => (partOf(row) === null ? [i] : []));
  if (unknown.length > 0) {
    const values = [...new Set(unknown.map((row) => `"${rows[row]!.split ?? ''}"`))].join(', ');
    throw new UserError(
      'no-split',
      `${unknown.length} rows (of patients ${unknown
        .slice(0, 5)
        .map((row) => rows[row]!.patient)
        .join(', ')}) have the split ${values}.`,
      'Write train, validation or test into the column split, or deal the rows out with --split k-fold.',
    );
  }
  const leaking = patients.filter(({ rows: own }) => new Set(own.map(part)).size > 1);
  if (leaking.length > 0) {
    const named = leaking
      .slice(0, 5)
      .map(({ name, rows: own }) => `${name} (${[...new Set(own.map(part))].join(' and ')})`);
    throw new UserError(
      'split-leak',
      `${leaking.length} patients are in two splits: ${named.join(', ')}.`,
      'Put all slides of a patient into one split.',
    );
  }
  const groups = (name: keyof Fold) => patients.filter((group) => part(group.rows[0]!) === name);
  const validation = groups('validation');
  const chosen =
    validation.length > 0
      ? new Set(validation)
      : share(groups('train'), options.validationShare, createRandom(options.seed * 7919));
  const test = groups('test').flatMap((group) => group.rows);
  return foldOf([...groups('train'), ...validation], chosen, test);
}

function requireOneSite(rows: readonly SplitRow[], patients: readonly Group[]): void {
  const moving = patients.filter(({ rows: own }) => new Set(own.map((row) => rows[row]!.site)).size > 1);
  if (moving.length === 0) return;
  throw new UserError(
    'split-leak',
    `${moving.length} patients have slides from two sites (${moving
      .slice(0, 5)
      .map(({ name }) => name)
      .join(', ')}).`,
    'Give each patient one site, or split by patient with --split k-fold.',
  );
}

/** @throws UserError `class-missing`, `no-event` when there is nothing to learn from. @returns sentences on what the fold lacks. */
function checkFold(rows: readonly SplitRow[], fold: Fold, name: string, options: SplitOptions): string[] {
  if (fold.train.length === 0) {
    throw new UserError(
      'class-missing',
      `In ${name} no row is left for training.`,
      'Add patients, or ask for fewer folds.',
    );
  }
  const warnings = options.timeBins ? checkEvents(rows, fold, name, options) : checkClasses(rows, fold, name, options);
  if (options.validationShare > 0 && fold.validation.length === 0) {
    warnings.push(`In ${name} there are no validation rows: training does not stop early, the last epoch is kept.`);
  }
  if (fold.test.length === 0) warnings.push(`In ${name} there are no test rows.`);
  return warnings;
}

/** Every class has to be taught. */
function checkClasses(rows: readonly SplitRow[], fold: Fold, name: string, { classes }: SplitOptions): string[] {
  const classNamed = (stratum: number) => (classes ? `class ${classes[stratum]}` : `class number ${stratum}`);
  const kinds = [...new Set(rows.map(({ stratum }) => stratum))].sort((a, b) => a - b);
  const absent = (part: readonly number[]) => kinds.filter((kind) => !part.some((row) => rows[row]!.stratum === kind));
  const untaught = absent(fold.train);
  if (untaught.length > 0) {
    const patients = rows.filter(({ stratum }) => stratum === untaught[0]).map(({ patient }) => patient);
    throw new UserError(
      'class-missing',
      `In ${name} ${classNamed(untaught[0]!)} is not in the training rows: it is only in patients ${[...new Set(patients)].slice(0, 5).join(', ')}.`,
      'Add patients of this class, merge it with another, or ask for fewer folds.',
    );
  }
  const untested = fold.test.length > 0 ? absent(fold.test) : [];
  return untested.length > 0
    ? [`The test rows of ${name} lack ${untested.map(classNamed).join(', ')}: its AUC there is undefined.`]
    : [];
}

/** Follow-up can be learnt from any events; time bins without one are only less well known. */
function checkEvents(rows: readonly SplitRow[], fold: Fold, name: string, { timeBins = [] }: SplitOptions): string[] {
  const isEvent = (row: number) => rows[row]!.stratum % 2 === 0;
  const taught = new Set(fold.train.filter(isEvent).map((row) => rows[row]!.stratum / 2));
  if (taught.size === 0) {
    const patients = new Set([...rows.keys()].filter(isEvent).map((row) => rows[row]!.patient));
    throw new UserError(
      'no-event',
      `In ${name} no training row has an event, so that nothing can be learnt: events are only in patients ${[...patients].slice(0, 5).join(', ')}.`,
      'Add patients with an event, split with another --seed, or ask for fewer folds.',
    );
  }
  const empty = timeBins.filter((_, bin) => !taught.has(bin));
  return [
    ...(empty.length > 0
      ? [
          `The training rows of ${name} have no event in the time ${empty.join(', ')}; fewer time bins (--bins) may help.`,
        ]
      : []),
    ...(fold.test.length > 0 && !fold.test.some(isEvent)
      ? [`The test rows of ${name} have no event: its C-index there is undefined.`]
      : []),
  ];
}
