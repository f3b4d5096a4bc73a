/**
 * `lamina train`: a cohort and its bags in, a folder out.
 *
 *     OUT/train.json          recipe, splits, hashes, warnings
 *     OUT/folds/<n>/fold.json history, predictions of its test rows; written when the fold is done
 *     OUT/folds/<n>/checkpoint.safetensors   while it is not
 *     OUT/model/              the models of all folds as one (an ensemble), or the model of the only fold; which slides they know
 *     OUT/predictions.csv     each slide by the model that has not seen its patient
 *     OUT/history.csv         losses and scores of every epoch
 *
 * Started again with the same arguments it goes on where it stopped; the result is the same, bit for bit, however many folds were
 * still open, however little memory is free and whatever the number of threads is now.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { formatTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import { listed } from '../listed.ts';
import { availableMemory } from '../mil/available-memory.ts';
import { evaluate, evaluationDefaults, type ModelEvaluation } from '../mil/evaluation.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { saveEnsembleCard, saveWeights } from '../mil/model-folder.ts';
import { readPredictions } from '../mil/predictions.ts';
import { makeFolder, writeJson, writeWhole } from '../run/whole-file.ts';
import { VERSION } from '../version.ts';
import { type CommonFacts, mixedOrders, requirePlaced, requireTrainable } from './bag-facts.ts';
import { type BagFile, findBags } from './bag-files.ts';
import type { Cohort } from './cohort.ts';
import { type BagLogits, hazardsOf, probabilitiesOf, riskOf } from './fold-prediction.ts';
import { runFolds, threadsOfEach } from './fold-runner.ts';
import type { EpochRecord, FoldOutcome } from './fold-training.ts';
import { type MemoryPlan, planMemory } from './memory-plan.ts';
import { configOf, type Recipe, type RecipeName, recipeOf } from './recipe.ts';
import { type Fold, givenTests, type SplitOptions, splitRows } from './splits.ts';
import { IMBALANCE, type TargetOptions, type Targets, targetsOf } from './target.ts';
import { writeTrainingSlides } from './training-slides.ts';

export interface TrainingOptions {
  readonly cohort: Cohort;
  /** Folder of the bags, or a run. */
  readonly bags: string;
  readonly out: string;
  readonly recipe: RecipeName;
  /** Fields of the recipe that are to be different. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly target: TargetOptions;
  /** `kind` null: `given` if the table names test rows, else `k-fold`. */
  readonly split: { readonly kind: SplitOptions['kind'] | null } & Pick<SplitOptions, 'folds' | 'testShare'>;
  readonly seed: number;
  readonly device: DeviceChoice;
  readonly threads?: number;
  /** Of the bags, where they have been looked at before. */
  readonly facts?: CommonFacts;
  /** The grid that the changes were chosen from. */
  readonly searched?: Readonly<Record<string, readonly unknown[]>>;
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
  readonly split: Pick<SplitOptions, 'kind' | 'folds' | 'testShare'>;
  /** Of a training that was begun in the folder, what it was begun with. */
  readonly threadsPerFold: number;
  /** What the training is, part by part, and all of it with the threads as one. */
  readonly marks: Marks;
  readonly key: string;
  readonly warnings: readonly string[];
}

/** What a training depends on; hashes, except for the version. */
interface Marks {
  readonly version: string;
  readonly table: string;
  readonly bags: string;
  readonly target: string;
  readonly recipe: string;
  readonly split: string;
  readonly seed: string;
}

/** What `train.json` says of a training that was begun. */
type Former = Partial<Pick<Plan, 'key' | 'marks' | 'threadsPerFold'>>;

/** @throws UserError for anything wrong with the table, the bags, the recipe or the folder; the signal's reason. */
export async function trainCohort(options: TrainingOptions): Promise<TrainingResult> {
  const { out, signal, onEvent } = options;
  const plan = await planTraining(options);
  const { folds, recipe, memory } = plan;
  requireOwn(out, await readFormer(out), plan);
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
  await runFolds(source, runs, {
    device,
    atOnce: memory.foldsAtOnce,
    threadsPerFold: plan.threadsPerFold,
    ...(threads === undefined ? {} : { threads }),
    ...(signal ? { signal } : {}),
    onEpoch: (run, record) => onEvent?.({ kind: 'epoch', fold: open[run]!.n, record }),
    onDone: async (run, outcome) => {
      const { n } = open[run]!;
      records[n] = await writeFold(options, plan, n, outcome);
      onEvent?.({ kind: 'fold', fold: n, done: records[n], former: false });
    },
  });
  return finish(options, plan, records);
}

export async function planTraining(options: TrainingOptions): Promise<Plan> {
  const { cohort, target, seed, bags, out, signal, threads = availableParallelism() } = options;
  const targets = targetsOf(cohort, target);
  const recipe = recipeOf(options.recipe, targets.task, options.changes);
  requireOnce(cohort.source, targets);
  const tests = givenTests(targets.rows);
  const split = { ...options.split, kind: options.split.kind ?? (tests > 0 ? 'given' : 'k-fold') };
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
  const facts = options.facts ?? (await requireTrainable(targets.rows, files, signal));
  requirePlaced(targets.rows, facts, recipe);
  const memory = await planMemory({
    device: options.device,
    recipe,
    classes: targets.classes,
    dimension: facts.dimension,
    rows: targets.rows,
    counts: facts.counts,
    folds: splits.folds.length,
    threads,
    available: availableMemory(),
  });
  const warnings = [
    ...targets.warnings,
    ...testsNamed(tests, split.kind, options.split.kind),
    ...splits.warnings,
    ...(options.searched && splits.folds.length > 1 ? [NOT_NESTED] : []),
    ...imbalance(targets),
    ...facts.warnings,
    ...mixedOrders(facts, configOf(recipe, facts.dimension, targets.classes)),
    ...memory.warnings,
  ];
  const marks: Marks = {
    version: VERSION,
    table: cohort.hash,
    bags: hashOf({ encoder: facts.encoder, files: facts.marks }),
    target: hashOf(target),
    recipe: hashOf(recipe),
    split: hashOf(split),
    seed: hashOf(seed),
  };
  const { folds } = splits;
  // Neither free memory nor the folds still to be trained may move the bits of a model.
  const { threadsPerFold = threadsOfEach(threads, Math.min(threads, folds.length)) } = (await readFormer(out)) ?? {};
  const key = hashOf({ ...marks, threadsPerFold });
  return { recipe, targets, folds, files, facts, memory, split, threadsPerFold, marks, key, warnings };
}

const NOT_NESTED =
  'The recipe was chosen by validation rows of the first fold, which are test rows of other folds: the cross-validated figures are somewhat too good. Judge the model by slides that no fold has seen.';

function testsNamed(tests: number, kind: SplitOptions['kind'], said: SplitOptions['kind'] | null): string[] {
  if (tests === 0 || said === 'given') return [];
  return said === null
    ? [
        `The column split names ${tests} test rows: they only test, and nothing is dealt out (--split k-fold would do so).`,
      ]
    : [`The column split names ${tests} test rows; --split ${kind} trains on them too.`];
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

async function readFormer(out: string): Promise<Former | null> {
  const text = await readFile(join(out, 'train.json'), 'utf8').catch(() => null);
  return text === null ? null : JSON.parse(text);
}

function requireOwn(out: string, former: Former | null, { key, marks }: Plan): void {
  if (former === null || former.key === key) return;
  const names: Readonly<Record<keyof Marks, string>> = {
    version: `version of Lamina (${former.marks?.version ?? 'an earlier one'}; this is ${VERSION})`,
    table: 'table',
    bags: 'bags (or their files are newer)',
    target: 'task, classes or time bins',
    recipe: 'recipe',
    split: 'split',
    seed: 'seed',
  };
  const parts = Object.keys(names) as (keyof Marks)[];
  const differing = parts.filter((part) => former.marks?.[part] !== marks[part]);
  throw new UserError(
    'other-training',
    `${out} holds another training: it has another ${(former.marks ? differing : ['version' as const]).map((part) => names[part]).join(', another ')}.`,
    'Choose another folder with --out, or delete this one.',
  );
}

function planRecord(plan: Plan, options: TrainingOptions) {
  const { recipe, targets, folds, facts, split, threadsPerFold, marks, key, warnings } = plan;
  const { cohort, bags, seed, device, searched } = options;
  const names = (rows: readonly number[]) => rows.map((row) => targets.rows[row]!.id);
  return {
    key,
    marks,
    threadsPerFold,
    version: VERSION,
    cohort: { source: cohort.source, hash: cohort.hash, slides: targets.rows.length },
    bags: { folder: bags, encoder: facts.encoder, dimension: facts.dimension },
    task: targets.task,
    classes: targets.classes,
    recipe: { name: options.recipe, ...recipe },
    ...(searched && { searched }),
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
  const folder = join(out, 'model', plan.folds.length === 1 ? '' : `fold-${n + 1}`);
  await saveWeights(folder, cardOf(options, plan, `fold ${n + 1}`), weights);
  await writeTrainingSlides(folder, slidesSeen(plan, [plan.folds[n]!]));
  await writeJson(join(foldFolder(out, n), 'fold.json'), record);
  return record;
}

function slidesSeen({ facts }: Plan, folds: readonly Fold[]): string[] {
  return folds.flatMap(({ train, validation }) => [...train, ...validation].map((row) => facts.slides[row]!));
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
  await writeTrainingSlides(model, slidesSeen(plan, plan.folds));
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
