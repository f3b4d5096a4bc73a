/** How results look on stdout. */

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** Rows with the same columns, as wide as their widest cell; numbers stand right. Nothing is printed for no rows. */
export function printTable(rows: readonly Readonly<Record<string, string | number>>[]): void {
  if (rows.length === 0) return;
  const columns = Object.keys(rows[0]!).map((name) => {
    const cells = rows.map((row) => String(row[name] ?? ''));
    const right = cells.every((cell) => /^(-|-?[\d.]+)$/.test(cell));
    return { name, cells, right, width: Math.max(name.length, ...cells.map((cell) => cell.length)) };
  });
  const line = (cellOf: (column: (typeof columns)[number]) => string) =>
    columns
      .map((column) => (column.right ? cellOf(column).padStart(column.width) : cellOf(column).padEnd(column.width)))
      .join('  ')
      .trimEnd();
  printLine(bold(line(({ name }) => name)));
  rows.forEach((_, i) => void printLine(line(({ cells }) => cells[i]!)));
}

/** `name  value` lines. */
export function printFacts(facts: Readonly<Record<string, string>>): void {
  const width = Math.max(...Object.keys(facts).map((name) => name.length));
  for (const [name, value] of Object.entries(facts)) printLine(`${dim(name.padEnd(width))}  ${value}`);
}

export function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export const bold = (text: string) => styled('1', text);
export const dim = (text: string) => styled('2', text);

/** `hasColors` honours NO_COLOR. */
function styled(code: string, text: string): string {
  return process.stdout.isTTY && process.stdout.hasColors() ? `\u001b[${code}m${text}\u001b[0m` : text;
}
