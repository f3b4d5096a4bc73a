/**
 * A search over a declared grid of recipe fields: every combination is trained on the first split, and judged by its validation
 * rows. The test rows choose nothing: they are not even predicted until the recipe stands.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatTable } from '../csv.ts';
import { messageOf, UserError } from '../errors.ts';
import { makeFolder, writeWhole } from '../run/whole-file.ts';
import { runFolds } from './fold-runner.ts';
import { planTraining, type TrainingOptions } from './training-run.ts';

/** Values to try, by the recipe's fields. */
export type Grid = Readonly<Record<string, readonly unknown[]>>;

const MOST = 256;

/** @throws UserError `bad-grid` */
export async function readGrid(path: string): Promise<Grid> {
  const wrong = (problem: string) =>
    new UserError(
      'bad-grid',
      `${path}: ${problem}.`,
      'Write a list for each field, as in {"lr":[1e-4,5e-4],"width":[64,128]}.',
    );
  const text = await readFile(path, 'utf8').catch((error) => {
    throw wrong(messageOf(error));
  });
  let grid: unknown;
  try {
    grid = JSON.parse(text);
  } catch (error) {
    throw wrong(messageOf(error));
  }
  const lists = typeof grid === 'object' && grid !== null && !Array.isArray(grid) ? Object.entries(grid) : [];
  const empty = lists.find(([, values]) => !Array.isArray(values) || values.length === 0);
  if (lists.length === 0 || empty) throw wrong(empty ? `"${empty[0]}" has no list of values` : 'it names no field');
  const points = combinations(grid as Grid).length;
  if (points > MOST) throw wrong(`it has ${points} combinations, more than ${MOST}`);
  return grid as Grid;
}

/** Every choice of one value a field; the last field varies fastest. */
export function combinations(grid: Grid): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (points, [field, values]) => points.flatMap((point) => values.map((value) => ({ ...point, [field]: value }))),
    [{}],
  );
}

/**
 * Writes `search.csv` into the folder of the training. @returns the options with the best combination in its changes.
 * @throws UserError as `trainCohort`; `no-validation`.
 */
export async function searchRecipe(
  options: TrainingOptions,
  grid: Grid,
  say: (line: string) => void,
): Promise<TrainingOptions> {
  const points = combinations(grid);
  const plans = [];
  for (const point of points) plans.push(await planTraining({ ...options, changes: { ...options.changes, ...point } }));
  const { files, facts, targets, folds } = plans[0]!;
  const fold = { ...folds[0]!, test: [] };
  if (fold.validation.length === 0) {
    throw new UserError('no-validation', 'A search needs validation rows.', 'Set validationShare above 0.');
  }
  const { device, threads, signal, seed } = options;
  const cacheBytes = Math.min(...plans.map(({ memory }) => memory.cacheBytes));
  const runs = plans.map(({ recipe, memory: { mostPatches } }) => {
    const { task, classes, targets: values } = targets;
    return { task, classes, recipe, seed, fold, targets: values, cacheBytes, mostPatches, checkpoint: null };
  });
  const source = { kind: 'files' as const, dimension: facts.dimension, files };
  const outcomes = await runFolds(source, runs, {
    device,
    atOnce: Math.min(...plans.map(({ memory }) => memory.foldsAtOnce)),
    ...(threads === undefined ? {} : { threads }),
    ...(signal ? { signal } : {}),
    onDone: (run, { bestEpoch }) => say(`tried ${JSON.stringify(points[run])}: best at epoch ${bestEpoch}`),
  });
  const rows = outcomes.map(({ history, bestEpoch, seconds }, i) => {
    const { validationLoss, validationScore } = history[bestEpoch - 1]!;
    return { ...written(points[i]!), validationLoss, validationScore, epoch: bestEpoch, seconds };
  });
  // Losses of the same rows; scores of few rows tie often.
  const best = rows.reduce((a, row, i) => (row.validationLoss! < rows[a]!.validationLoss! ? i : a), 0);
  await makeFolder(options.out);
  await writeWhole(join(options.out, 'search.csv'), formatTable(Object.keys(rows[0]!), rows));
  say(`chosen: ${JSON.stringify(points[best])}`);
  return { ...options, changes: { ...options.changes, ...points[best] } };
}

function written(point: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(point).map(([field, value]) => [field, JSON.stringify(value)]));
}
