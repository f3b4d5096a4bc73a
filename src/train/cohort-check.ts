/** Looks over a cohort before it is trained on: leaks, duplicates, unequal classes, bags that are missing, empty or different. */
import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { hashSlide } from '../tiling/slide-hash.ts';
import { type BagFacts, readBagFacts, SCALE_TOLERANCE, TINY } from './bag-facts.ts';
import { findBag } from './bag-files.ts';
import { type Cohort, type CohortRow, namedRows } from './cohort.ts';
import { IMBALANCE } from './target.ts';

export interface Finding {
  /** `error`: training refuses, or its figures would be wrong. */
  readonly level: 'error' | 'warning';
  readonly code: string;
  readonly problem: string;
  /** What to do. */
  readonly hint: string;
}

export interface CohortSummary {
  readonly slides: number;
  readonly patients: number;
  readonly sites: number;
  /** Slides of each label. */
  readonly labels: Readonly<Record<string, number>>;
  readonly splits: Readonly<Record<string, number>>;
  /** Patients with an event, and in all; null without times. */
  readonly events: readonly [number, number] | null;
  /** Of the bags; null where none were looked at. */
  readonly patches: { readonly least: number; readonly median: number; readonly most: number } | null;
  readonly findings: readonly Finding[];
}

export interface CheckOptions {
  /** Folder of the bags, or a run; null leaves them out. */
  readonly bags: string | null;
  /** Hashes the slide files, which reads them. */
  readonly hash: boolean;
  readonly signal?: AbortSignal;
}

const FEW = 10;

export async function checkCohort(cohort: Cohort, options: CheckOptions): Promise<CohortSummary> {
  const { rows } = cohort;
  const findings = [...splitFindings(rows), ...labelFindings(rows), ...repeatedRows(rows)];
  const files = options.hash || !options.bags ? await fileFindings(cohort, options) : [];
  const bags = options.bags ? await bagFindings(rows, options.bags, options.signal) : null;
  const patients = new Map(rows.map((row) => [row.patient, row]));
  const timed = [...patients.values()].filter(({ time, event }) => time !== null && event !== null);
  return {
    slides: rows.length,
    patients: patients.size,
    sites: new Set(rows.flatMap(({ site }) => site ?? [])).size,
    labels: counts(rows.map(({ label }) => label)),
    splits: counts(rows.map(({ split }) => split)),
    events: timed.length > 0 ? [timed.filter(({ event }) => event === 1).length, timed.length] : null,
    patches: bags?.patches ?? null,
    findings: [...findings, ...files, ...(bags?.findings ?? [])],
  };
}

function splitFindings(rows: readonly CohortRow[]): Finding[] {
  const named = rows.filter(({ split }) => split !== null);
  const findings: Finding[] = [];
  const leaking = groupsWithSeveral(
    named,
    ({ patient }) => patient,
    ({ split }) => split,
  );
  if (leaking.length > 0) {
    findings.push({
      level: 'error',
      code: 'patient-leak',
      problem: `${leaking.length} patients are in two splits: ${examples(leaking)}.`,
      hint: 'Put all slides of a patient into one split, or let `lamina train` split.',
    });
  }
  const sites = groupsWithSeveral(
    named,
    ({ site }) => site,
    ({ split }) => split,
  );
  if (sites.length > 0) {
    findings.push({
      level: 'warning',
      code: 'site-leak',
      problem: `${sites.length} sites are in two splits (${examples(sites)}): a model may learn the laboratory instead of the disease.`,
      hint: 'Report figures of --split preserved-site beside the others.',
    });
  }
  const confounded = groupsWithSeveral(
    rows,
    ({ site }) => site,
    ({ label }) => label,
  );
  const labelled = new Set(rows.filter(({ label, site }) => label && site).map(({ site }) => site));
  if (labelled.size > 1 && confounded.length === 0) {
    findings.push({
      level: 'warning',
      code: 'site-is-label',
      problem: 'Every site has slides of one label only: site and label cannot be told apart.',
      hint: 'Add slides of other labels from these sites.',
    });
  }
  const without = named.length > 0 ? rows.filter(({ split }) => split === null) : [];
  if (without.length > 0) {
    const problem = `${namedRows(without)} have no split, others do.`;
    findings.push({ level: 'error', code: 'no-split', problem, hint: 'Fill in train, validation or test.' });
  }
  return findings;
}

function labelFindings(rows: readonly CohortRow[]): Finding[] {
  const labels = Object.entries(counts(rows.map(({ label }) => label)));
  const findings: Finding[] = [];
  if (labels.length === 1) {
    const problem = `All labelled slides are ${labels[0]![0]}.`;
    findings.push({ level: 'error', code: 'one-class', problem, hint: 'Add slides of a second class.' });
  }
  const [least, most] = [Math.min(...labels.map(([, n]) => n)), Math.max(...labels.map(([, n]) => n))];
  if (labels.length > 1 && most / least >= IMBALANCE) {
    findings.push({
      level: 'warning',
      code: 'imbalance',
      problem: `Classes have from ${least} to ${most} slides (${labels.map(([name, n]) => `${name} ${n}`).join(', ')}).`,
      hint: 'Train with balance=sampling or balance=weights, and judge by AUC and balanced accuracy.',
    });
  }
  const rare = labels.filter(([, n]) => n < FEW);
  if (labels.length > 1 && rare.length > 0) {
    findings.push({
      level: 'warning',
      code: 'few-slides',
      problem: `${rare.map(([name, n]) => `${name} has ${n} slides`).join(', ')}.`,
      hint: 'Ask for fewer folds than a class has patients, or merge classes.',
    });
  }
  const near = labels.filter(([a]) =>
    labels.some(([b]) => a !== b && a.toLowerCase().trim() === b.toLowerCase().trim()),
  );
  if (near.length > 0) {
    const problem = `Labels differ only in case: ${near.map(([name]) => name).join(', ')}.`;
    findings.push({ level: 'error', code: 'near-labels', problem, hint: 'Write each class in one way.' });
  }
  const unlabelled = rows.filter(({ label, time }) => label === null && time === null);
  if (unlabelled.length > 0) {
    const problem = `${namedRows(unlabelled)} have neither label nor time; they are left out.`;
    findings.push({ level: 'warning', code: 'no-label', problem, hint: 'Fill in the label, or delete the rows.' });
  }
  return findings;
}

function repeatedRows(rows: readonly CohortRow[]): Finding[] {
  const first = new Map<string, CohortRow>();
  for (const row of rows) if (!first.has(row.id)) first.set(row.id, row);
  const twice = rows.filter((row) => first.get(row.id) !== row);
  if (twice.length === 0) return [];
  const problem = `${namedRows(twice)} name slides that are in the table already.`;
  return [{ level: 'error', code: 'repeated-slide', problem, hint: 'Keep one row a slide.' }];
}

async function fileFindings({ source, rows }: Cohort, { hash, signal }: CheckOptions): Promise<Finding[]> {
  const missing: CohortRow[] = [];
  const byHash = new Map<string, CohortRow[]>();
  for (const row of rows) {
    signal?.throwIfAborted();
    if (/^https?:/i.test(row.slide)) continue;
    const path = isAbsolute(row.slide) ? row.slide : resolve(dirname(source), row.slide);
    if (!(await stat(path).catch(() => null))) missing.push(row);
    else if (hash) {
      const key = await hashSlide(path, signal);
      byHash.set(key, [...(byHash.get(key) ?? []), row]);
    }
  }
  const findings: Finding[] = [];
  if (missing.length > 0) {
    const problem = `The files of ${missing.length} of ${rows.length} slides are not there: ${namedRows(missing)}.`;
    findings.push({
      level: 'error',
      code: 'missing-slide',
      problem,
      hint: 'Slides are relative to the table. Check the paths.',
    });
  }
  return [...findings, ...duplicates(byHash)];
}

function duplicates(byHash: ReadonlyMap<string, readonly CohortRow[]>): Finding[] {
  return [...byHash.values()]
    .filter((same) => new Set(same.map(({ id }) => id)).size > 1)
    .map((same) => ({
      level: 'error',
      code: 'duplicate-slide',
      problem: `${namedRows(same)} are the same slide${new Set(same.map(({ patient }) => patient)).size > 1 ? ' under different patients' : ''}.`,
      hint: 'Keep one of them.',
    }));
}

async function bagFindings(rows: readonly CohortRow[], folder: string, signal: AbortSignal | undefined) {
  const findings: Finding[] = [];
  const add = (level: Finding['level'], code: string, problem: string, hint: string) =>
    findings.push({ level, code, problem, hint });
  const facts: { row: CohortRow; facts: BagFacts }[] = [];
  const missing: CohortRow[] = [];
  for (const row of rows) {
    signal?.throwIfAborted();
    const path = await findBag(folder, row.id);
    const found = path === null ? null : await readBagFacts({ id: row.id, path });
    if (found === null) missing.push(row);
    else if (typeof found === 'string')
      add('error', 'bad-bag', `${namedRows([row])}: ${found}`, 'Extract the slide again.');
    else facts.push({ row, facts: found });
  }
  const those = (test: (facts: BagFacts) => boolean) => facts.filter((one) => test(one.facts)).map(({ row }) => row);
  const report = (found: CohortRow[], ...[level, code, say, hint]: [Finding['level'], string, string, string]) =>
    found.length > 0 && add(level, code, `${namedRows(found)} ${say}.`, hint);
  report(missing, 'error', 'no-bag', `have no bag in ${folder}`, 'Extract them with `lamina extract`.');
  report(
    those(({ count }) => count === 0),
    'error',
    'empty-bag',
    'have empty bags',
    'Check their tissue masks, or leave them out.',
  );
  report(
    those(({ notFinite }) => notFinite !== null),
    'error',
    'not-finite',
    'have features that are no numbers',
    'Extract them again.',
  );
  const tiny = those(({ count }) => count > 0 && count < TINY);
  report(
    tiny,
    'warning',
    'tiny-bag',
    `have fewer than ${TINY} patches`,
    'Look at their thumbnails: biopsies, or failed tissue masks?',
  );
  const first = facts[0]?.facts;
  if (first) {
    const mixed = [
      ...new Set(facts.map(({ facts: { meta, dimension } }) => `${meta.encoder} (${dimension} features)`)),
    ];
    if (mixed.length > 1) {
      const strangers = those(
        ({ meta, dimension }) => meta.encoder !== first.meta.encoder || dimension !== first.dimension,
      );
      add(
        'error',
        'mixed-encoders',
        `Bags come from ${mixed.join(' and ')}; ${namedRows(strangers)} differ from the first.`,
        'Extract all slides with one encoder.',
      );
    }
    const scale = first.meta.patchMpp;
    const rescaled = those(
      ({ meta }) => scale !== null && meta.patchMpp !== null && Math.abs(meta.patchMpp / scale - 1) > SCALE_TOLERANCE,
    );
    report(
      rescaled,
      'error',
      'mixed-scales',
      `have patches of another scale than ${scale} um/px`,
      `Extract them with --patch-mpp ${scale}.`,
    );
  }
  const byHash = new Map<string, CohortRow[]>();
  for (const { row, facts: one } of facts) {
    const hash = one.meta.slideHash;
    if (hash !== null) byHash.set(hash, [...(byHash.get(hash) ?? []), row]);
  }
  findings.push(...duplicates(byHash));
  const sizes = facts.map(({ facts: { count } }) => count).sort((a, b) => a - b);
  const patches =
    sizes.length > 0 ? { least: sizes[0]!, median: sizes[sizes.length >> 1]!, most: sizes.at(-1)! } : null;
  return { findings, patches };
}

/** Groups in which a value differs: name and values. */
function groupsWithSeveral(
  rows: readonly CohortRow[],
  groupOf: (row: CohortRow) => string | null,
  valueIn: (row: CohortRow) => string | null,
): [string, string[]][] {
  const groups = new Map<string, Set<string>>();
  for (const row of rows) {
    const [group, value] = [groupOf(row), valueIn(row)];
    if (group === null || value === null) continue;
    const values: Set<string> = groups.get(group) ?? new Set();
    groups.set(group, values.add(value));
  }
  return [...groups].filter(([, values]) => values.size > 1).map(([name, values]) => [name, [...values]]);
}

function examples(groups: readonly [string, string[]][]): string {
  return groups
    .slice(0, 5)
    .map(([name, values]) => `${name} (${values.join(' and ')})`)
    .join(', ');
}

function counts(values: readonly (string | null)[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const value of values) if (value !== null) found[value] = (found[value] ?? 0) + 1;
  return found;
}
