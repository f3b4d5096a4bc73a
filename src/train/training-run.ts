/**
 * `lamina train`: a cohort and its bags in, a folder out.
 *
 *     OUT/train.json          recipe, splits, hashes, warnings
 *     OUT/folds/<n>/fold.json history, predictions of its test rows; written when the fold is done
 *     OUT/folds/<n>/checkpoint.safetensors   while it is not
 *     OUT/model/              the models of all folds as one (an ensemble), or the model of the only fold
 *     OUT/predictions.csv     each slide by the model that has not seen its patient
 *     OUT/history.csv         losses and scores of every epoch
 *
 * Started again with the same arguments it goes on where it stopped; the result is the same, bit for bit.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { formatTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import { evaluate, evaluationDefaults, type ModelEvaluation } from '../mil/evaluation.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { saveEnsembleCard, saveWeights } from '../mil/model-folder.ts';
import { readPredictions } from '../mil/predictions.ts';
import { makeFolder, writeJson, writeWhole } from '../run/whole-file.ts';
import { VERSION } from '../version.ts';
import { type CommonFacts, requireTrainable } from './bag-facts.ts';
import { type BagFile, findBags } from './bag-files.ts';
import { type Cohort, listed } from './cohort.ts';
import { type BagLogits, hazardsOf, probabilitiesOf, riskOf } from './fold-prediction.ts';
import { runFolds } from './fold-runner.ts';
import type { EpochRecord, FoldOutcome } from './fold-training.ts';
import { type MemoryPlan, planMemory } from './memory-plan.ts';
import { configOf, type Recipe, type RecipeName, recipeOf } from './recipe.ts';
import { type Fold, type SplitOptions, splitRows } from './splits.ts';
import { IMBALANCE, type TargetOptions, type Targets, targetsOf } from './target.ts';

export interface TrainingOptions {
  readonly cohort: Cohort;
  /** Folder of the bags, or a run. */
  readonly bags: string;
  readonly out: string;
  readonly recipe: RecipeName;
  /** Fields of the recipe that are to be different. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly target: TargetOptions;
  readonly split: Omit<SplitOptions, 'validationShare' | 'seed'>;
  readonly seed: number;
  readonly device: DeviceChoice;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly checkpointSeconds?: number;
  readonly onEvent?: (event: TrainingEvent) => void;
}

export type TrainingEvent =
  | { readonly kind: 'begin'; readonly folds: number; readonly recipe: Recipe; readonly warnings: readonly string[] }
  | { readonly kind: 'epoch'; readonly fold: number; readonly record: EpochRecord }
  | { readonly kind: 'fold'; readonly fold: number; readonly done: FoldRecord; readonly former: boolean };

/** `fold.json` */
export interface FoldRecord {
  readonly key: string;
  readonly bestEpoch: number;
  readonly steps: number;
  readonly seconds: number;
  readonly history: readonly EpochRecord[];
  readonly predictions: readonly BagLogits[];
}

export interface TrainingResult {
  readonly out: string;
  /** The folder to give to `lamina run --model`. */
  readonly model: string;
  /** Of the test rows of all folds, each predicted once or more; null without test rows, or of one class only. */
  readonly evaluation: ModelEvaluation | null;
  readonly warnings: readonly string[];
}

/** What is known before the first epoch. */
export interface Plan {
  readonly recipe: Recipe;
  readonly targets: Targets;
  readonly folds: readonly Fold[];
  readonly files: readonly BagFile[];
  readonly facts: CommonFacts;
  readonly memory: MemoryPlan;
  readonly key: string;
  readonly warnings: readonly string[];
}

/** @throws UserError for anything wrong with the table, the bags, the recipe or the folder; the signal's reason. */
export async function trainCohort(options: TrainingOptions): Promise<TrainingResult> {
  const { out, signal, onEvent } = options;
  const plan = await planTraining(options);
  const { folds, recipe, memory } = plan;
  await requireOwnFolder(out, plan.key);
  await makeFolder(out);
  await writeJson(join(out, 'train.json'), planRecord(plan, options));
  onEvent?.({ kind: 'begin', folds: folds.length, recipe, warnings: plan.warnings });

  const records: FoldRecord[] = [];
  for (let n = 0; n < folds.length; n++) {
    await makeFolder(foldFolder(out, n));
    const former = await readFold(out, n, plan.key);
    if (former) records[n] = former;
    if (former) onEvent?.({ kind: 'fold', fold: n, done: former, former: true });
  }
  const open = folds.flatMap((fold, n) => (records[n] ? [] : [{ fold, n }]));
  const runs = open.map(({ fold, n }) => ({
    task: plan.targets.task,
    classes: plan.targets.classes,
    recipe,
    seed: options.seed,
    fold,
    targets: plan.targets.targets,
    cacheBytes: memory.cacheBytes,
    mostPatches: memory.mostPatches,
    checkpoint: { path: join(foldFolder(out, n), 'checkpoint.safetensors'), key: `${plan.key} ${n}` },
    ...(options.checkpointSeconds === undefined ? {} : { checkpointSeconds: options.checkpointSeconds }),
  }));
  const source = { kind: 'files' as const, dimension: plan.facts.dimension, files: plan.files };
  const { device, threads } = options;
  if (runs.length > 0) {
    await runFolds(source, runs, {
      device,
      atOnce: memory.foldsAtOnce,
      ...(threads === undefined ? {} : { threads }),
      ...(signal ? { signal } : {}),
      onEpoch: (run, record) => onEvent?.({ kind: 'epoch', fold: open[run]!.n, record }),
      onDone: async (run, outcome) => {
        const { n } = open[run]!;
        records[n] = await writeFold(options, plan, n, outcome);
        onEvent?.({ kind: 'fold', fold: n, done: records[n], former: false });
      },
    });
  }
  return finish(options, plan, records);
}

export async function planTraining(options: TrainingOptions): Promise<Plan> {
  const { cohort, target, split, seed, bags } = options;
  const targets = targetsOf(cohort, target);
  const recipe = recipeOf(options.recipe, targets.task, options.changes);
  requireOnce(cohort.source, targets);
  const splits = splitRows(
    targets.rows.map(({ patient, site, split: part }, i) => ({
      patient,
      site,
      split: part,
      stratum: stratumOf(targets, i),
    })),
    { ...split, ...strataNames(targets), validationShare: recipe.validationShare, seed },
  );
  const files = await findBags(bags, targets.rows);
  const facts = await requireTrainable(targets.rows, files, options.signal);
  const memory = await planMemory({
    device: options.device,
    recipe,
    classes: targets.classes,
    dimension: facts.dimension,
    rows: targets.rows,
    counts: facts.counts,
    folds: splits.folds.length,
    threads: options.threads ?? availableParallelism(),
    available: process.availableMemory(),
  });
  const warnings = [
    ...targets.warnings,
    ...splits.warnings,
    ...imbalance(targets),
    ...facts.warnings,
    ...memory.warnings,
  ];
  const { source: _, ...table } = cohort;
  const key = hashOf({
    table: table.hash,
    counts: facts.counts,
    encoder: facts.encoder,
    recipe,
    split,
    seed,
    target,
    VERSION,
  });
  return { recipe, targets, folds: splits.folds, files, facts, memory, key, warnings };
}

/** Names of what `stratumOf` numbers. */
function strataNames({ task, classes }: Targets): Pick<SplitOptions, 'classes' | 'timeBins'> {
  return task === 'survival' ? { timeBins: classes } : { classes };
}

function stratumOf({ task, targets }: Targets, row: number): number {
  const { label, censored } = targets[row]!;
  return task === 'survival' ? 2 * label + censored : label;
}

function requireOnce(source: string, { rows }: Targets): void {
  const linesOf = new Map<string, number[]>();
  for (const { id, line } of rows) linesOf.set(id, [...(linesOf.get(id) ?? []), line]);
  const twice = [...linesOf].filter(([, lines]) => lines.length > 1);
  if (twice.length === 0) return;
  throw new UserError(
    'bad-cohort',
    `${source}: slides are there twice: ${listed(twice.map(([id, lines]) => `${id} (lines ${lines.join(', ')})`))}.`,
    'Keep one row a slide; bags are found by the name of its file, without its folder.',
  );
}

function imbalance({ task, classes, targets }: Targets): string[] {
  if (task === 'survival') return [];
  const counts = classes.map((_, k) => targets.filter(({ label }) => label === k).length);
  const [least, most] = [Math.min(...counts.filter((count) => count > 0)), Math.max(...counts)];
  if (most / least < IMBALANCE) return [];
  return [
    `Class ${classes[counts.indexOf(least)]} has ${least} slides, ${classes[counts.indexOf(most)]} has ${most}: judge by AUC and balanced accuracy, not accuracy.`,
  ];
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

async function requireOwnFolder(out: string, key: string): Promise<void> {
  const text = await readFile(join(out, 'train.json'), 'utf8').catch(() => null);
  if (text === null || JSON.parse(text).key === key) return;
  throw new UserError(
    'other-training',
    `${out} holds a training of another table, other bags or another recipe.`,
    'Choose another folder with --out, or delete this one.',
  );
}

function planRecord({ recipe, targets, folds, facts, key, warnings }: Plan, options: TrainingOptions) {
  const { cohort, bags, split, seed, device } = options;
  const names = (rows: readonly number[]) => rows.map((row) => targets.rows[row]!.id);
  return {
    key,
    version: VERSION,
    cohort: { source: cohort.source, hash: cohort.hash, slides: targets.rows.length },
    bags: { folder: bags, encoder: facts.encoder, dimension: facts.dimension },
    task: targets.task,
    classes: targets.classes,
    recipe: { name: options.recipe, ...recipe },
    split: { ...split, validationShare: recipe.validationShare },
    seed,
    device,
    warnings,
    folds: folds.map(({ train, validation, test }) => {
      return { train: names(train), validation: names(validation), test: names(test) };
    }),
  };
}

const foldFolder = (out: string, n: number) => join(out, 'folds', `${n + 1}`);

async function readFold(out: string, n: number, key: string): Promise<FoldRecord | null> {
  const text = await readFile(join(foldFolder(out, n), 'fold.json'), 'utf8').catch(() => null);
  const record = text === null ? null : (JSON.parse(text) as FoldRecord);
  return record?.key === key ? record : null;
}

async function writeFold(options: TrainingOptions, plan: Plan, n: number, outcome: FoldOutcome): Promise<FoldRecord> {
  const { out } = options;
  const { weights, bestEpoch, steps, seconds, history, predictions } = outcome;
  const record = { key: plan.key, bestEpoch, steps, seconds, history, predictions };
  const single = plan.folds.length === 1;
  await saveWeights(join(out, 'model', single ? '' : `fold-${n + 1}`), cardOf(options, plan, `fold ${n + 1}`), weights);
  await writeJson(join(foldFolder(out, n), 'fold.json'), record);
  return record;
}

function cardOf({ cohort, recipe }: TrainingOptions, plan: Plan, name: string): ModelCard {
  const { targets, facts } = plan;
  return {
    name: `${recipe}, ${name}`,
    ...configOf(plan.recipe, facts.dimension, targets.classes),
    task: targets.task,
    encoder: facts.encoder,
    patchMpp: facts.patchMpp,
    patchPx: facts.patchPx,
    order: facts.order,
    trained: true,
    trainingDataHash: cohort.hash,
    metrics: null,
    version: VERSION,
  };
}

async function finish(options: TrainingOptions, plan: Plan, records: readonly FoldRecord[]): Promise<TrainingResult> {
  const { out } = options;
  const predictions = predictionTable(plan, records);
  await writeWhole(join(out, 'predictions.csv'), predictions);
  await writeWhole(join(out, 'history.csv'), historyTable(records));
  const evaluation = evaluated(predictions);
  const metrics = evaluation
    ? Object.fromEntries(Object.entries(evaluation.slides.figures).map(([name, { value }]) => [name, value]))
    : null;
  const model = join(out, 'model');
  const members = records.length === 1 ? [] : records.map((_, n) => `fold-${n + 1}`);
  const what = records.length === 1 ? 'one split' : `mean of ${records.length} folds`;
  await saveEnsembleCard(model, { ...cardOf(options, plan, what), metrics }, members);
  await writeJson(join(out, 'evaluation.json'), { evaluation });
  return {
    out,
    model,
    evaluation,
    warnings: plan.warnings,
  };
}

function predictionTable({ targets }: Plan, records: readonly FoldRecord[]): string {
  const { task, classes } = targets;
  const rows = records.flatMap(({ predictions }, n) =>
    predictions.map(({ row, logits }) => {
      const { id, patient, label, time, event } = targets.rows[row]!;
      const origin = { slide: id, patient, fold: n + 1 };
      if (task === 'survival')
        return { ...origin, time, event, risk: riskOf(logits), hazards: hazardsOf(logits).join(' ') };
      const probabilities = probabilitiesOf(logits);
      return {
        ...origin,
        label,
        ...Object.fromEntries(classes.map((name, k) => [`probability_${name}`, probabilities[k]!])),
      };
    }),
  );
  const columns =
    task === 'survival'
      ? ['slide', 'patient', 'time', 'event', 'fold', 'risk', 'hazards']
      : ['slide', 'patient', 'label', 'fold', ...classes.map((name) => `probability_${name}`)];
  return formatTable(columns, rows);
}

function historyTable(records: readonly FoldRecord[]): string {
  const columns = [
    'fold',
    'epoch',
    'trainLoss',
    'validationLoss',
    'validationScore',
    'learningRate',
    'seconds',
    'kept',
  ];
  const rows = records.flatMap(({ history, bestEpoch }, n) =>
    history.map((record) => ({ fold: n + 1, ...record, kept: Number(record.epoch === bestEpoch) })),
  );
  return formatTable(columns, rows);
}

/** Null where there is nothing to evaluate: no test rows, or a figure that needs more than one class. */
function evaluated(table: string): ModelEvaluation | null {
  if (table.trimEnd().split('\n').length < 2) return null;
  const predictions = readPredictions('predictions.csv', table);
  return evaluate([{ name: 'model', predictions }], evaluationDefaults).models[0]!;
}
