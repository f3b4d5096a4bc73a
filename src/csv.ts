/** Comma-separated values as RFC 4180 has them: quotes, doubled quotes, commas and line breaks within quotes. */

import { UserError } from './errors.ts';

export type CsvRow = Readonly<Record<string, string>>;

/**
 * Rows of cells. A byte-order mark and empty lines are skipped; a cell without its closing quote ends with the text.
 *
 * @param name the file, for messages.
 * @throws UserError `bad-csv`
 */
export function parseCsv(name: string, text: string): string[][] {
  const cell = /(?:"((?:[^"]|"")*)(?:"|$)|([^",\r\n][^,\r\n]*|))(,|\r\n|\n|\r|$)/y;
  cell.lastIndex = text.startsWith('\ufeff') ? 1 : 0;
  const rows: string[][] = [];
  let row: string[] = [];
  while (cell.lastIndex < text.length) {
    const match = cell.exec(text);
    if (!match) {
      const problem = `${name}: the row after ${rows.length} good ones has text behind a closing quote.`;
      throw new UserError('bad-csv', problem, 'Write each quote within a quoted cell twice.');
    }
    row.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    const more = match[3] === ',';
    if (more && cell.lastIndex === text.length) row.push('');
    if (more && cell.lastIndex < text.length) continue;
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  }
  return rows;
}

/** Rows by the names of the first line; a cell that a row lacks is empty. Errors as `parseCsv`. */
export function parseTable(name: string, text: string): { columns: string[]; rows: CsvRow[] } {
  const [head = [], ...lines] = parseCsv(name, text);
  const columns = head.map((name) => name.trim());
  const rows = lines.map((line) => Object.fromEntries(columns.map((name, i) => [name, line[i]?.trim() ?? ''])));
  return { columns, rows };
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
