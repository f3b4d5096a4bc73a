/**
 * A search over a declared grid of recipe fields: every combination is trained on the first split, and judged by its validation
 * rows; that split's test rows are not even predicted. The validation rows are test rows of other folds, so what is
 * cross-validated afterwards with the recipe they chose is not nested, and said to be so.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatTable, parseTable } from '../csv.ts';
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

/** A row of `search.csv`: the values of the fields as JSON, and how good they were. */
type Tried = Readonly<Record<string, string | number | null>> & {
  readonly validationLoss: number;
  readonly key: string;
};

/**
 * Writes `search.csv` into the folder of the training, a row as soon as it is known; a search that is started again takes from it
 * what was tried before. @returns the options with the best combination in its changes.
 * @throws UserError as `trainCohort`; `bad-grid`, `no-validation`.
 */
export async function searchRecipe(
  options: TrainingOptions,
  grid: Grid,
  say: (line: string) => void,
): Promise<TrainingOptions> {
  if ('validationShare' in grid) {
    const problem =
      'The grid has validationShare, which is no matter of the recipe: it says which rows judge all others.';
    throw new UserError('bad-grid', problem, 'Leave it out, and set it with --set validationShare=0.2.');
  }
  const points = combinations(grid);
  const planOf = (point: Record<string, unknown>, facts = options.facts) =>
    planTraining({ ...options, changes: { ...options.changes, ...point }, ...(facts && { facts }) });
  const plans = [await planOf(points[0]!)];
  const { files, facts, targets, folds, threadsPerFold } = plans[0]!;
  for (const point of points.slice(1)) plans.push(await planOf(point, facts));
  const fold = { ...folds[0]!, test: [] };
  if (fold.validation.length === 0) {
    throw new UserError('no-validation', 'A search needs validation rows.', 'Set validationShare above 0.');
  }
  await makeFolder(options.out);
  const path = join(options.out, 'search.csv');
  const former = await readTried(path);
  const rows = plans.map(({ key }) => former.get(key) ?? null);
  const columns = [...Object.keys(grid), 'validationLoss', 'validationScore', 'epoch', 'seconds', 'key'];
  // One after another: several folds may end at once.
  let written = Promise.resolve();
  const write = () => {
    written = written.then(() =>
      writeWhole(
        path,
        formatTable(
          columns,
          rows.flatMap((row) => row ?? []),
        ),
      ),
    );
    return written;
  };
  const tell = (i: number, when = '') =>
    say(`tried ${JSON.stringify(points[i])}: best at epoch ${rows[i]!.epoch}${when}`);
  rows.forEach((row, i) => {
    if (row) tell(i, ', before');
  });
  const open = plans.flatMap((plan, i) => (rows[i] ? [] : [{ plan, i }]));
  const { device, threads, signal, seed } = options;
  const cacheBytes = Math.min(...plans.map(({ memory }) => memory.cacheBytes));
  const runs = open.map(({ plan: { recipe, memory } }) => {
    const { task, classes, targets: values } = targets;
    const { mostPatches } = memory;
    return { task, classes, recipe, seed, fold, targets: values, cacheBytes, mostPatches, checkpoint: null };
  });
  const source = { kind: 'files' as const, dimension: facts.dimension, files };
  await runFolds(source, runs, {
    device,
    atOnce: Math.min(...plans.map(({ memory }) => memory.foldsAtOnce)),
    threadsPerFold,
    ...(threads === undefined ? {} : { threads }),
    ...(signal ? { signal } : {}),
    onDone: async (run, { history, bestEpoch, seconds }) => {
      const { plan, i } = open[run]!;
      const { validationLoss, validationScore } = history[bestEpoch - 1]!;
      const judged = { validationLoss: validationLoss!, validationScore, epoch: bestEpoch, seconds };
      rows[i] = { ...asJson(points[i]!), ...judged, key: plan.key };
      await write();
      tell(i);
    },
  });
  // Losses of the same rows; scores of few rows tie often.
  const best = rows.reduce((a, row, i) => (row!.validationLoss < rows[a]!.validationLoss ? i : a), 0);
  say(`chosen: ${JSON.stringify(points[best])}`);
  return { ...options, changes: { ...options.changes, ...points[best] }, facts, searched: grid };
}

/** Rows of a former search, by what was trained. */
async function readTried(path: string): Promise<Map<string, Tried>> {
  const text = await readFile(path, 'utf8').catch(() => null);
  const rows = text === null ? [] : parseTable(path, text).rows;
  return new Map(rows.map((row) => [row.key!, { ...row, validationLoss: Number(row.validationLoss), key: row.key! }]));
}

function asJson(point: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(point).map(([field, value]) => [field, JSON.stringify(value)]));
}
