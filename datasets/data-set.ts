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

/**
 * The table of labels that came with the slides.
 * @param pattern of its name. @param columns that it has; of several spellings of one, the rows have the first.
 * @throws UserError `no-labels`
 */
export async function labelTable(
  folder: string,
  pattern: RegExp,
  columns: readonly (string | readonly string[])[],
): Promise<readonly CsvRow[]> {
  const rows = await labelTableIfThere(folder, pattern, columns);
  if (!rows) throw noLabels(folder, `no file of labels is there (looked for ${pattern.source})`);
  return rows;
}

/** As `labelTable`; null when there is none. */
export async function labelTableIfThere(
  folder: string,
  pattern: RegExp,
  columns: readonly (string | readonly string[])[],
): Promise<readonly CsvRow[] | null> {
  for (const file of (await filesBelow(folder, ['.csv', '.tsv'])).filter((name) => pattern.test(name))) {
    const text = await readFile(join(folder, file), 'utf8');
    const table = parseTable(file, file.endsWith('.tsv') ? commaSeparated(text) : text);
    if (BUILT.every((column, i) => table.columns[i] === column)) continue;
    const spellings = columns.map((column) => [column].flat());
    const found = spellings.map((names) => names.find((name) => table.columns.includes(name)));
    const missing = spellings.filter((_, i) => found[i] === undefined).map((names) => names.join(' or '));
    if (missing.length > 0) {
      throw noLabels(folder, `${file} has no column ${missing.join(', ')} (it has ${table.columns.join(', ')})`);
    }
    return table.rows.map((row) => ({
      ...row,
      ...Object.fromEntries(spellings.map((names, i) => [names[0]!, row[found[i]!]!])),
    }));
  }
  return null;
}

function noLabels(folder: string, problem: string): UserError {
  const hint = 'Download the labels as well; the card says where they are.';
  return new UserError('no-labels', `${folder}: ${problem}.`, hint);
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

/** How a table begins that was built here: one that lies in the folder of the download is no table of labels. */
const BUILT = ['slide', 'patient', 'label'];

/** Slides are written with their whole path, so that the table may lie anywhere. @throws UserError `no-download` without rows. */
export function builtTable(folder: string, rows: readonly TableRow[], notes: readonly string[]): BuiltTable {
  if (rows.length === 0) {
    const problem = `${folder}: none of the set's slides with a label is there${notes.length ? ` (${notes.join(' ')})` : ''}.`;
    throw new UserError('no-download', problem, 'Give the folder that the slides were downloaded to.');
  }
  const columns = [...BUILT, 'site', 'split'].filter((column) =>
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
