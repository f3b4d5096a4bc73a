/** Bags in one CSV without a head: label, bag, features; one line an instance (MUSK, Elephant, Protein). */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import type { TrainingBag } from '../train/training-bag.ts';

export interface BagTable {
  readonly name: string;
  readonly classes: readonly string[];
  readonly bags: readonly TrainingBag[];
  readonly labels: readonly number[];
}

/** @throws UserError `bad-bag-table` naming the line. */
export async function readBagTable(path: string): Promise<BagTable> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new UserError('bad-bag-table', `${path}: cannot be read (${messageOf(cause)}).`, 'Check the path.', {
      cause,
    });
  });
  const bags = new Map<string, { label: string; rows: number[][] }>();
  const lines = text.split(/\r?\n/);
  let width = 0;
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const [label = '', id = '', ...cells] = line.split(',').map((cell) => cell.trim());
    const row = cells.map(Number);
    width ||= row.length;
    if (row.length !== width || width === 0 || !row.every(Number.isFinite)) {
      const problem = `${path}: line ${i + 1} has ${row.length} features or one that is no number; the first line has ${width}.`;
      throw new UserError('bad-bag-table', problem, 'Each line is label,bag,features, without a head.');
    }
    const bag = bags.get(id) ?? { label, rows: [] };
    bags.set(id, bag);
    bag.rows.push(row);
    if (bag.label !== label) {
      throw new UserError(
        'bad-bag-table',
        `${path}: line ${i + 1} gives bag ${id} a second label.`,
        'Correct the label.',
      );
    }
  }
  const classes = [...new Set([...bags.values()].map(({ label }) => label))].sort();
  return {
    name: basename(path).replace(/\.csv$/i, ''),
    classes,
    labels: [...bags.values()].map(({ label }) => classes.indexOf(label)),
    bags: [...bags].map(([id, { rows }]) => ({
      id,
      count: rows.length,
      dimension: width,
      features: Float32Array.from(rows.flat()),
      cells: null,
    })),
  };
}
