/** `lamina train`: a table of slides and their bags to models, out-of-fold predictions and their figures. */

import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { figureNames } from '../mil/figures.ts';
import { readCohort } from '../train/cohort.ts';
import { type RecipeName, recipes } from '../train/recipe.ts';
import { readGrid, searchRecipe } from '../train/search.ts';
import type { SplitOptions } from '../train/splits.ts';
import { type TrainingEvent, type TrainingOptions, type TrainingResult, trainCohort } from '../train/training-run.ts';
import { type EpochView, type FoldView, serveTraining, type TrainingView } from '../viewer/training-page.ts';
import { interruptSignal } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags, parseCount, parsePort } from './options.ts';
import { dim, printFacts, printJson, printLine, printTable } from './print.ts';

interface Flags extends DeviceFlags {
  readonly bags: string;
  readonly out: string;
  readonly recipe: RecipeName;
  readonly set: Readonly<Record<string, unknown>>;
  readonly task?: 'classification' | 'survival';
  readonly classes?: readonly string[];
  readonly bins?: number;
  readonly split?: SplitOptions['kind'];
  readonly folds: number;
  readonly testShare: number;
  readonly seed: number;
  readonly search?: string;
  readonly port?: number;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addDeviceOptions(command)
    .argument('<cohort>', 'table of slides (CSV): slide,patient,label[,time,event],site,split,mpp')
    .requiredOption('--bags <folder>', 'where their bags are: a run, or a folder of <slide>.arrow')
    .requiredOption(
      '--out <folder>',
      'models, predictions and history; started again, a training goes on where it stopped',
    )
    .addOption(new Option('--recipe <name>', 'how to train').choices(Object.keys(recipes)).default('lamina'))
    .option(
      '--set <field=value>',
      'change a field of the recipe; once for each (see docs/training.md)',
      gatherField,
      {},
    )
    .addOption(new Option('--task <task>', 'unless the table says it').choices(['classification', 'survival']))
    .option(
      '--classes <names>',
      'all classes in the order of the logits: with commas, or as a JSON array (default: the labels, sorted)',
      parseClasses,
    )
    .option('--bins <n>', 'time bins of a survival model', parseCount)
    .addOption(
      new Option(
        '--split <kind>',
        'how test slides are chosen, always by patient (default: given if the column split names test slides, else k-fold)',
      ).choices(['k-fold', 'monte-carlo', 'preserved-site', 'given']),
    )
    .option('--folds <n>', 'folds, or repeats of monte-carlo', parseCount, 5)
    .option('--test-share <share>', 'of the patients, for monte-carlo', parseShare, 0.2)
    .option('--seed <n>', 'the same seed, device and --threads give the same models, bit for bit', parseSeed, 1)
    .option(
      '--search <file>',
      'try a grid first: JSON, a list of values for each field; the validation rows of the first fold choose',
    )
    .option('--port <n>', 'show curves on 127.0.0.1 at this port (0: any)', parsePort)
    .option('--json', 'print one JSON object')
    .action(async (path: string) => {
      const flags = command.optsWithGlobals<Flags>();
      const signal = interruptSignal();
      const cohort = await readCohort(path);
      const watch = watchTraining(`Training of ${path}`);
      const page = flags.port === undefined ? null : await serveTraining(watch.view, { port: flags.port });
      if (page) process.stderr.write(`Curves at ${page.url}\n`);
      try {
        const options = { ...trainingOptions(flags), cohort, signal, onEvent: watch.hear };
        const chosen = flags.search ? await searchRecipe(options, await readGrid(flags.search), say) : options;
        const result = await trainCohort(chosen);
        watch.end(sentence(result));
        if (flags.json) printJson(plain(result));
        else print(result);
        if (watch.isSeen()) await wait(LAST_LOOK_MS);
      } finally {
        await page?.close();
      }
    });
}

function trainingOptions(flags: Flags): Omit<TrainingOptions, 'cohort'> {
  const { bags, out, recipe, set, task, classes, bins, split, folds, testShare, seed, device } = flags;
  return {
    bags,
    out: resolve(out),
    recipe,
    changes: set,
    target: {
      ...(task && { task }),
      ...(classes && { classes }),
      ...(bins && { bins }),
    },
    split: { kind: split ?? null, folds, testShare },
    seed,
    device,
    threads: flags.threads ?? availableParallelism(),
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** `lr=1e-3` is a number, `model=abmil` a text, `rowOrders=["row-major"]` a list. */
function gatherField(text: string, former: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be field=value.');
  const value = text.slice(at + 1);
  let read: unknown = value;
  try {
    read = JSON.parse(value);
  } catch {
    // A plain word is itself.
  }
  return { ...former, [text.slice(0, at)]: read };
}

/** `a,b`, or `["a, with a comma","b"]`. */
function parseClasses(text: string): readonly string[] {
  if (!text.trim().startsWith('[')) return text.split(',').map((name) => name.trim());
  let names: unknown = null;
  try {
    names = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  throw new InvalidArgumentError('It must be names with commas between them, or a JSON array of names.');
}

function parseShare(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('It must be between 0 and 1.');
  return value;
}

function parseSeed(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

const INTERVAL_MS = 200;
/** The page loads itself again every 2 s: who looks at it is to see how it ended. */
const LAST_LOOK_MS = 3000;

/** Progress on stderr, and what the live page shows. */
function watchTraining(title: string) {
  const terminal = process.stderr.isTTY;
  let shown = 0;
  let epochs = 0;
  let score = 'AUC';
  let warnings: readonly string[] = [];
  let result: string | null = null;
  let looked = Number.NEGATIVE_INFINITY;
  const folds: { name: string; status: FoldView['status']; epochs: EpochView[]; best: number | null }[] = [];
  const clear = () => terminal && process.stderr.write('\r\u001b[2K');
  const hear = (event: TrainingEvent) => {
    if (event.kind === 'begin') {
      epochs = event.recipe.epochs;
      score = event.recipe.by === 'c-index' ? 'C-index' : 'AUC';
      warnings = event.warnings;
      folds.length = 0;
      for (let n = 1; n <= event.folds; n++) folds.push({ name: `${n}`, status: 'waiting', epochs: [], best: null });
      for (const warning of warnings) say(`warning: ${warning}`);
      return;
    }
    const fold = folds[event.fold]!;
    if (event.kind === 'fold') {
      const { bestEpoch, seconds, history } = event.done;
      Object.assign(fold, { status: 'done', epochs: history, best: bestEpoch });
      clear();
      const when = event.former ? 'finished before' : `${seconds.toFixed(1)} s`;
      say(`fold ${fold.name}/${folds.length}: ${history.length} epochs, kept ${bestEpoch}, ${when}`);
      return;
    }
    fold.status = 'training';
    fold.epochs.push(event.record);
    if (!terminal || performance.now() - shown < INTERVAL_MS) return;
    shown = performance.now();
    const under = folds.filter(({ status }) => status === 'training');
    clear();
    process.stderr.write(
      under.map(({ name, epochs: done }) => `fold ${name}: ${progressOf(done, epochs)}`).join(' | '),
    );
  };
  const view = (): TrainingView => {
    looked = performance.now();
    return { title, epochs, score, folds, warnings, result };
  };
  const isSeen = () => performance.now() - looked < LAST_LOOK_MS;
  const end = (sentence: string) => {
    result = sentence;
  };
  return { hear, view, isSeen, end };
}

function progressOf(done: readonly EpochView[], epochs: number): string {
  const { trainLoss, validationLoss } = done.at(-1)!;
  const validation = validationLoss === null ? '' : `, validation ${validationLoss.toFixed(3)}`;
  return `${done.length}/${epochs}, loss ${trainLoss.toFixed(3)}${validation}`;
}

function mainFigures({ evaluation }: TrainingResult): [string, string][] {
  return Object.entries(evaluation?.slides.figures ?? {}).map(([name, { value, low, high }]) => {
    const interval = low === null || high === null ? '' : ` (95 % interval ${low.toFixed(3)} to ${high.toFixed(3)})`;
    return [figureNames[name] ?? name, value === null ? 'undefined' : `${value.toFixed(3)}${interval}`];
  });
}

function sentence(result: TrainingResult): string {
  const [main] = mainFigures(result);
  return main ? `Done: out-of-fold ${main[0]} ${main[1]}.` : 'Done.';
}

function print(result: TrainingResult): void {
  printFacts({ model: result.model, predictions: `${result.out}/predictions.csv` });
  printLine();
  printTable(mainFigures(result).map(([figure, value]) => ({ figure, value })));
  printLine(dim(`Report: lamina evaluate ${result.out}/predictions.csv --out REPORT`));
}

function plain({ out, model, evaluation, warnings }: TrainingResult) {
  return { out, model, warnings, figures: evaluation?.slides.figures ?? null, folds: evaluation?.folds ?? null };
}
