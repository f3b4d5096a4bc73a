/** A public data set: a card that says what it is, and a builder that turns a download folder into a table of slides. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type CsvRow, formatTable, parseTable } from '../src/csv.ts';
import { messageOf, UserError } from '../src/errors.ts';

export interface PublishedFigure {
  readonly model: string;
  /** Features, magnification, protocol: what has to be alike to compare. */
  readonly setting: string;
  readonly figure: string;
  readonly source: string;
}

export interface DataSetCard {
  readonly name: string;
  readonly task: string;
  readonly classes: readonly string[];
  /** Counts, in words. */
  readonly slides: string;
  readonly licence: string;
  readonly access: string;
  readonly officialSplit: string;
  /** Which slides belong to one patient. */
  readonly patientRule: string;
  /** Used in papers. */
  readonly metrics: readonly string[];
  /** Only what its source says; often empty. */
  readonly published: readonly PublishedFigure[];
  readonly sources: readonly string[];
  readonly notes: readonly string[];
}

export interface BuiltTable {
  readonly csv: string;
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

export interface DataSet {
  readonly card: DataSetCard;
  /** @throws UserError when the folder lacks the slides or their labels. */
  build(folder: string): Promise<BuiltTable>;
}

export interface TableRow {
  /** Relative to the folder of the download. */
  readonly slide: string;
  readonly patient: string;
  readonly label: string;
  readonly site?: string;
  readonly split?: string;
}

/** Every file below with one of the endings, relative, sorted, with forward slashes. */
export async function filesBelow(folder: string, endings: readonly string[]): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause) => {
    throw new UserError('no-download', `${folder}: cannot be read (${messageOf(cause)}).`, 'Check the path.', {
      cause,
    });
  });
  return entries
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.toLowerCase().endsWith(ending)))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort();
}

/** The table of labels that came with the slides. @param pattern of its name. */
export async function labelTable(
  folder: string,
  pattern: RegExp,
  columns: readonly string[],
): Promise<readonly CsvRow[]> {
  const found = (await filesBelow(folder, ['.csv', '.tsv'])).find((file) => pattern.test(file));
  const wrong = (problem: string) =>
    new UserError('no-labels', `${folder}: ${problem}.`, 'Download the labels as well; the card says where they are.');
  if (!found) throw wrong(`no file of labels is there (looked for ${pattern.source})`);
  const text = await readFile(join(folder, found), 'utf8');
  const table = parseTable(found, found.endsWith('.tsv') ? commaSeparated(text) : text);
  const missing = columns.filter((column) => !table.columns.includes(column));
  if (missing.length > 0)
    throw wrong(`${found} has no column ${missing.join(', ')} (it has ${table.columns.join(', ')})`);
  return table.rows;
}

/** Tab-separated cells may hold commas. */
function commaSeparated(text: string): string {
  const cells = (line: string) => line.split('\t').map((cell) => `"${cell.replaceAll('"', '""')}"`);
  return text
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => cells(line).join(','))
    .join('\n');
}

/** Slides are written with their whole path, so that the table may lie anywhere. @throws UserError `no-download` without rows. */
export function builtTable(folder: string, rows: readonly TableRow[], notes: readonly string[]): BuiltTable {
  if (rows.length === 0) {
    const problem = `${folder}: none of the set's slides with a label is there${notes.length ? ` (${notes.join(' ')})` : ''}.`;
    throw new UserError('no-download', problem, 'Give the folder that the slides were downloaded to.');
  }
  const columns = ['slide', 'patient', 'label', 'site', 'split'].filter((column) =>
    rows.some((row) => row[column as keyof TableRow] !== undefined),
  );
  const written = rows.map((row) => ({ ...row, slide: join(folder, row.slide) }));
  return { csv: formatTable(columns, written), notes };
}

export function leftOut(count: number, why: string): string[] {
  return count === 0 ? [] : [`${count} slides ${why} and are left out.`];
}

/** File name without folders and ending. */
export function stem(path: string): string {
  return path
    .split('/')
    .at(-1)!
    .replace(/\.[^.]*$/, '');
}
