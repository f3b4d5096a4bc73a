/** A cohort: the table of slides that a model is trained on, one row a slide (`slide,patient,label[,time,event],site,split,mpp`). */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseTable } from '../csv.ts';
import { messageOf, UserError } from '../errors.ts';
import { listed } from '../listed.ts';
import { slideName } from '../slide-name.ts';
import type { Mpp } from '../units.ts';

export interface CohortRow {
  /** Line of the file, the names being line 1. */
  readonly line: number;
  readonly slide: string;
  /** `slideName` of the slide: what a run calls it, and its bag. */
  readonly id: string;
  /** The slide itself where the table names no patient. */
  readonly patient: string;
  readonly label: string | null;
  /** Follow-up in the table's own unit. */
  readonly time: number | null;
  /** 1: the event was seen at `time`; 0: censored. */
  readonly event: 0 | 1 | null;
  readonly site: string | null;
  readonly split: string | null;
  readonly mpp: Mpp | null;
}

export interface Cohort {
  /** Path of the table. */
  readonly source: string;
  /** `sha256:…` of the table. */
  readonly hash: string;
  readonly columns: readonly string[];
  readonly rows: readonly CohortRow[];
}

export async function readCohort(path: string): Promise<Cohort> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new UserError('bad-cohort', `${path}: cannot be read (${messageOf(cause)}).`, 'Check the path.', { cause });
  });
  return parseCohort(path, text);
}

/** @throws UserError `bad-cohort` naming every row that is wrong. */
export function parseCohort(source: string, text: string): Cohort {
  if (text.trim() === '') {
    throw new UserError('bad-cohort', `${source}: the file is empty.`, 'Write a table with one row a slide.');
  }
  const { columns, rows, lines } = parseTable(source, text);
  const twice = columns.find((name, i) => name !== '' && columns.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new UserError('bad-cohort', `${source}: there are two columns named ${twice}.`, 'Name each column once.');
  }
  if (!columns.includes('slide')) {
    const found = columns.join(', ') || 'none';
    throw new UserError(
      'bad-cohort',
      `${source}: there is no column named slide (found: ${found}).`,
      'Let the first line be slide,patient,label,site,split,mpp, or slide,patient,time,event,… for survival.',
    );
  }
  if (rows.length === 0) {
    throw new UserError('bad-cohort', `${source}: the table has no rows.`, 'Add one row a slide.');
  }
  const wrong: string[] = [];
  const number = (line: number, name: string, cell: string | undefined, least: number): number | null => {
    if (!cell) return null;
    const value = Number(cell);
    if (Number.isFinite(value) && value >= least) return value;
    wrong.push(`line ${line} has the ${name} "${cell}"`);
    return null;
  };
  const parsed = rows.map((row, i): CohortRow => {
    const line = lines[i]!;
    if (!row.slide) wrong.push(`line ${line} names no slide`);
    const event = number(line, 'event', row.event, 0);
    if (event !== null && event !== 0 && event !== 1) wrong.push(`line ${line} has the event "${row.event}"`);
    const id = slideName(row.slide ?? '');
    return {
      line,
      slide: row.slide ?? '',
      id,
      patient: row.patient || id,
      label: row.label || null,
      time: number(line, 'time', row.time, 0),
      event: event as 0 | 1 | null,
      site: row.site || null,
      split: row.split || null,
      mpp: number(line, 'mpp', row.mpp, Number.MIN_VALUE),
    };
  });
  if (wrong.length > 0) throw new UserError('bad-cohort', `${source}: ${listed(wrong)}.`, 'Correct these rows.');
  return { source, hash: `sha256:${createHash('sha256').update(text).digest('hex')}`, columns, rows: parsed };
}

/** `line 4 (slide-3), line 9 (slide-8)` */
export function namedRows(rows: readonly CohortRow[], most = 5): string {
  const more = rows.length - most;
  const names = rows.slice(0, most).map(({ line, id }) => `line ${line} (${id})`);
  return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
