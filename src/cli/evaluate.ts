/** `lamina evaluate`: how good predictions are, with intervals, and a report to hand on. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { messageOf, UserError } from '../errors.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import { type Evaluation, evaluate, evaluationDefaults, type NamedPredictions } from '../mil/evaluation.ts';
import type { Faithfulness } from '../mil/faithfulness.ts';
import { figureNames } from '../mil/figures.ts';
import { readPredictions, readTruth, type TruthTable } from '../mil/predictions.ts';
import type { ReportContext } from '../report/evaluation-report.ts';
import { pValue } from '../report/html.ts';
import { hashOfText, writeEvaluation } from '../report/write-evaluation.ts';
import { predictCohort } from '../run/predict-cohort.ts';
import { makeFolder, writeWhole } from '../run/whole-file.ts';
import { findBags } from '../train/bag-files.ts';
import { readCohort } from '../train/cohort.ts';
import { seenInTraining } from '../train/training-slides.ts';
import { VERSION } from '../version.ts';
import { interruptSignal } from './interrupt.ts';
import { addDeviceOptions, parseCount } from './options.ts';
import { printJson, printLine, printTable } from './print.ts';
import { DEFAULT_PORT } from './view.ts';

interface Flags {
  readonly labels?: string;
  readonly name: readonly string[];
  readonly model?: string;
  readonly bags?: string;
  readonly out?: string;
  readonly title?: string;
  readonly ordered?: boolean;
  readonly specificity: number;
  readonly resamples: number;
  readonly seed: number;
  readonly viewer: string;
  readonly device: DeviceChoice;
  readonly threads?: number;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addDeviceOptions(command)
    .argument(
      '<predictions...>',
      'tables of predictions (CSV) or the folders that hold them; with --model one table of slides',
    )
    .option('--labels <csv>', 'slide,patient,label or slide,patient,time,event, over what the predictions say')
    .option('--name <name>', 'what a table is called in the report; once for each', gather, [])
    .option('--model <folder>', 'predict the slides of the table with this model first')
    .option('--bags <folder>', 'where their bags are: a run, or a folder of <slide>.arrow')
    .option('--out <folder>', 'write report.html, evaluation.json and metrics.csv there')
    .option('--title <text>', 'headline of the report')
    .option('--ordered', 'the classes are grades, in the order of their columns: adds the quadratic kappa')
    .option('--specificity <share>', 'at which the sensitivity is read off', parseShare, evaluationDefaults.specificity)
    .option(
      '--resamples <n>',
      'draws of the bootstrap and of the permutations',
      parseCount,
      evaluationDefaults.resamples,
    )
    .option('--seed <n>', 'of these draws', parseSeed, evaluationDefaults.seed)
    .option('--viewer <url>', 'where the links of the report open slides', `http://127.0.0.1:${DEFAULT_PORT}/`)
    .option('--json', 'print the evaluation as one JSON object')
    .action(async (paths: string[]) => {
      const flags = command.optsWithGlobals<Flags>();
      const inputs = new Map<string, string>();
      const models = flags.model ? [await predicted(paths, flags, inputs)] : await tables(paths, flags, inputs);
      const { specificity, resamples, seed, ordered = false } = flags;
      const evaluation = evaluate(models, { specificity, resamples, seed, ordered });
      const context: ReportContext = {
        title: flags.title ?? `Evaluation of ${models.map(({ name }) => name).join(', ')}`,
        version: VERSION,
        runtime: `Node ${process.versions.node}`,
        createdAt: new Date().toISOString(),
        inputs: [...inputs].map(([name, hash]) => ({ name, hash })),
        viewer: flags.viewer,
        faithfulness: await readFaithfulness(paths),
      };
      if (flags.out) await writeEvaluation(resolve(flags.out), evaluation, context);
      if (flags.json) printJson({ ...context, ...evaluation });
      else print(evaluation, flags.out ?? null);
    });
}

function gather(name: string, before: readonly string[]): readonly string[] {
  return [...before, name];
}

function parseShare(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('It must be between 0 and 1, for example 0.95.');
  return value;
}

function parseSeed(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

async function tables(
  paths: readonly string[],
  flags: Flags,
  inputs: Map<string, string>,
): Promise<NamedPredictions[]> {
  const truth = flags.labels ? await readLabels(flags.labels, inputs) : null;
  const models: NamedPredictions[] = [];
  for (const [i, path] of paths.entries()) {
    const file = await tableOf(path);
    const text = await readText(file, inputs);
    if (file !== path) await hashOrigin(path, inputs);
    const name = flags.name[i] ?? nameOf(path, paths);
    models.push({ name, predictions: readPredictions(file, text, { truth }) });
  }
  const twice = models.find(({ name }, i) => models.findIndex((other) => other.name === name) < i);
  if (twice) {
    const problem = `Two tables are called ${twice.name}.`;
    throw new UserError('same-name', problem, 'Name them: --name FIRST --name SECOND.');
  }
  return models;
}

/** Runs the model over the bags of the slides of a table, and keeps the predictions beside the report. */
async function predicted(
  paths: readonly string[],
  flags: Flags,
  inputs: Map<string, string>,
): Promise<NamedPredictions> {
  if (!flags.bags || paths.length !== 1) {
    const problem = `--model ${flags.model} needs one table of slides and their bags.`;
    throw new UserError('no-bags', problem, 'Write lamina evaluate COHORT.csv --model MODEL --bags FOLDER.');
  }
  const cohort = await readCohort(paths[0]!);
  inputs.set(cohort.source, cohort.hash);
  const tests = cohort.rows.filter(({ split }) => split === 'test');
  const rows = tests.length > 0 ? tests : cohort.rows;
  const bags = await findBags(flags.bags, rows);
  const { table, model } = await predictCohort(flags.model!, bags, {
    device: flags.device,
    threads: flags.threads ?? null,
    signal: interruptSignal(),
    onProgress: (done, total) => {
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${done < total ? `${done}/${total} bags` : ''}`);
    },
  });
  inputs.set(flags.model!, model.hash);
  const truth: TruthTable = new Map(
    rows.map(({ id, patient, label, time, event }) => [
      id,
      { slide: id, patient, label: label ?? '', time: `${time ?? ''}`, event: `${event ?? ''}` },
    ]),
  );
  const name = flags.name[0] ?? model.name;
  const found = readPredictions(name, table, { truth });
  const warnings = [...found.warnings];
  if (rows.length < cohort.rows.length) {
    warnings.push(
      `${cohort.source}: ${rows.length} of ${cohort.rows.length} slides are of the split test; the others are left out.`,
    );
  }
  const seen = await seenInTraining(flags.model!, bags);
  if (seen.length > 0) {
    const [first, more] = [seen.slice(0, 5).map(({ id }) => id), seen.length > 5 ? ', …' : ''];
    warnings.push(
      `${name} was trained on ${seen.length} of these ${rows.length} slides (${first.join(', ')}${more}); its figures say how well it remembers them, not how well it predicts.`,
    );
  } else if (model.trainingDataHash === cohort.hash && rows.length === cohort.rows.length) {
    warnings.push(
      `${name} was trained on this very table; its figures say how well it remembers, not how well it predicts.`,
    );
  }
  const predictions = { ...found, warnings };
  if (flags.out) {
    await makeFolder(resolve(flags.out));
    await writeWhole(join(resolve(flags.out), 'predictions.csv'), table);
  }
  return { name, predictions };
}

async function readLabels(path: string, inputs: Map<string, string>): Promise<TruthTable> {
  return readTruth(path, await readText(path, inputs));
}

async function readText(path: string, inputs: Map<string, string>): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new UserError('no-predictions', `${path}: cannot be read (${messageOf(cause)}).`, 'Check the path.', {
      cause,
    });
  });
  inputs.set(path, hashOfText(text));
  return text;
}

/** A folder of training holds `predictions.csv`, a run `summary.csv`. */
async function tableOf(path: string): Promise<string> {
  if (!(await stat(path).catch(() => null))?.isDirectory()) return path;
  for (const name of ['predictions.csv', 'summary.csv']) {
    if (await stat(join(path, name)).catch(() => null)) return join(path, name);
  }
  const problem = `${path} holds neither predictions.csv nor summary.csv.`;
  throw new UserError('no-predictions', problem, 'Name the table itself, or a folder that lamina run or train wrote.');
}

/** How the predictions of a folder were made is written in it: which model, which table, which version. */
async function hashOrigin(folder: string, inputs: Map<string, string>): Promise<void> {
  for (const name of ['train.json', 'run.json']) {
    const text = await readFile(join(folder, name)).catch(() => null);
    if (text) inputs.set(join(folder, name), hashOfText(text));
  }
}

/** The file's name, or the folder's where several files have the same. */
function nameOf(path: string, paths: readonly string[]): string {
  const name = basename(path, extname(path));
  const shared = paths.filter((other) => basename(other, extname(other)) === name).length > 1;
  return shared ? basename(dirname(resolve(path))) : name;
}

/** What `lamina explain` left in a run that is evaluated. */
async function readFaithfulness(paths: readonly string[]): Promise<Faithfulness | null> {
  for (const path of paths) {
    const text = await readFile(join(path, 'faithfulness.json'), 'utf8').catch(() => null);
    if (text !== null) return JSON.parse(text) as Faithfulness;
  }
  return null;
}

function print({ models, comparisons, warnings, options, classes }: Evaluation, out: string | null): void {
  const columns = models.flatMap((model) => {
    const prefix = models.length > 1 ? `${model.name} ` : '';
    return [
      { name: `${prefix}slides`, level: model.slides },
      ...(model.patients ? [{ name: `${prefix}patients`, level: model.patients }] : []),
    ];
  });
  const text = (value: number | null) => (value === null ? '-' : value.toFixed(3));
  const rows = Object.keys(figureNames)
    .filter((name) => name in columns[0]!.level.figures)
    .map((figure) => ({
      figure:
        figure === 'sensitivityAtSpecificity'
          ? `Sensitivity at specificity ${options.specificity}`
          : figureNames[figure]!,
      ...Object.fromEntries(
        columns.map(({ name, level }) => {
          const { value, low, high } = level.figures[figure]!;
          return [name, low === null ? text(value) : `${text(value)} (${text(low)} to ${text(high)})`];
        }),
      ),
    }));
  printTable([
    { figure: 'Cases', ...Object.fromEntries(columns.map(({ name, level }) => [name, `${level.cases}`])) },
    ...rows,
  ]);
  if (options.ordered && classes.length > 0) printLine(`Grades, in this order: ${classes.join(', ')}`);
  for (const { first, second, figure, difference, permutationP, delong, patients } of comparisons) {
    const p = delong
      .map((test) => `, DeLong p ${pValue(test.p)}${delong.length > 1 ? ` (${test.name})` : ''}`)
      .join('');
    printLine(
      `${first} - ${second}: ${figureNames[figure]} ${text(difference)} on ${patients} patients, permutation p ${pValue(permutationP)}${p}`,
    );
  }
  for (const warning of warnings) process.stderr.write(`${warning}\n`);
  if (out) printLine(`Report: ${join(out, 'report.html')}`);
}
