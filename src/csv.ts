/** Comma-separated values as RFC 4180 has them: quotes, doubled quotes, commas and line breaks within quotes. */

import { UserError } from './errors.ts';

export type CsvRow = Readonly<Record<string, string>>;

interface Row {
  /** Line of the text on which it begins, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * Rows of cells. A byte-order mark and empty lines are skipped.
 *
 * @param name the file, for messages.
 * @throws UserError `bad-csv`
 */
export function parseCsv(name: string, text: string): (readonly string[])[] {
  return rowsOf(name, text).map(({ cells }) => cells);
}

function rowsOf(name: string, text: string): Row[] {
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n][^,\r\n]*|))(,|\r\n|\n|\r|$)/y;
  const unclosed = /"(?:[^"]|"")*$/y;
  cell.lastIndex = text.startsWith('\ufeff') ? 1 : 0;
  const rows: Row[] = [];
  let cells: string[] = [];
  let [line, begun] = [1, 1];
  while (cell.lastIndex < text.length) {
    unclosed.lastIndex = cell.lastIndex;
    const match = cell.exec(text);
    if (!match) {
      const what = unclosed.test(text) ? 'a quote that is opened and never closed' : 'text behind a closing quote';
      const hint = 'Close each quoted cell, and write each quote within one twice.';
      throw new UserError('bad-csv', `${name}: line ${line} has ${what}.`, hint);
    }
    line += match[0].match(/\r\n|\n|\r/g)?.length ?? 0;
    cells.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    const more = match[3] === ',';
    if (more && cell.lastIndex === text.length) cells.push('');
    if (more && cell.lastIndex < text.length) continue;
    if (cells.length > 1 || cells[0] !== '') rows.push({ line: begun, cells });
    cells = [];
    begun = line;
  }
  return rows;
}

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly CsvRow[];
  /** Line of the text on which each row begins, from 1. */
  readonly lines: readonly number[];
}

/**
 * Rows by the names of the first line; a cell that a row lacks is empty.
 *
 * @throws UserError `bad-csv` also for other separators than commas, and for rows with more cells than there are names.
 */
export function parseTable(name: string, text: string): Table {
  const [head, ...rows] = rowsOf(name, text);
  const columns = (head?.cells ?? []).map((name) => name.trim());
  const separator = columns.length === 1 ? /[;\t]/.exec(columns[0]!)?.[0] : undefined;
  if (separator) {
    const found = separator === ';' ? 'semicolons' : 'tabs';
    throw new UserError('bad-csv', `${name}: its cells are separated by ${found}.`, 'Save it with commas.');
  }
  const long = rows.filter(({ cells }) => cells.slice(columns.length).some((cell) => cell.trim() !== ''));
  if (long.length > 0) {
    const [{ line, cells }] = long as [Row];
    const others = long.length > 1 ? `, and ${long.length - 1} more rows likewise` : '';
    const problem = `${name}: line ${line} has ${cells.length} cells for ${columns.length} columns${others}.`;
    throw new UserError('bad-csv', problem, 'Put a cell that has a comma in it into quotes.');
  }
  return {
    columns,
    rows: rows.map(({ cells }) => Object.fromEntries(columns.map((name, i) => [name, cells[i]?.trim() ?? '']))),
    lines: rows.map(({ line }) => line),
  };
}

/** A table with its line of names; null is an empty cell. */
export function formatTable(
  columns: readonly string[],
  rows: readonly Readonly<Record<string, string | number | null>>[],
) {
  const lines = [columns, ...rows.map((row) => columns.map((name) => String(row[name] ?? '')))];
  return `${lines.map((line) => line.map(quoted).join(',')).join('\n')}\n`;
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
