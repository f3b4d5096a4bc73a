/** `lamina demo`: synthetic slides with known truth, a model cross-validated on most of them, a run over the others and the viewer, all in `lamina-demo`. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { formatTable, parseTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import { evaluate, type ModelEvaluation } from '../mil/evaluation.ts';
import { readPredictions } from '../mil/predictions.ts';
import { runBatch } from '../run/batch.ts';
import { openLine } from '../run/line.ts';
import { findSlides } from '../run/slide-inputs.ts';
import { plainTiling } from '../run/survey.ts';
import { writeWhole } from '../run/whole-file.ts';
import { readCohort } from '../train/cohort.ts';
import { type TrainingResult, trainCohort } from '../train/training-run.ts';
import { type ServedViewer, serveViewer } from '../viewer/server.ts';
import { runAndPrint } from './batch.ts';
import { runWithArtefacts } from './demo-artefacts.ts';
import { interruptSignal, untilInterrupted } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags, lineOptions, parsePort } from './options.ts';
import { printLine } from './print.ts';
import { showProgress } from './progress.ts';
import { DEFAULT_PORT } from './view.ts';

type Flags = DeviceFlags & {
  readonly port: number;
  readonly serve: boolean;
  readonly artefacts?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
};

const FOLDER = 'lamina-demo';
const SEED = 1;
/** Small slides, so that there are enough of them for a cross-validation in the time that a demo has. */
const COHORT = { slides: 24, seed: SEED, widthPx: 3000, heightPx: 2250 };
const CHANGES = { width: 64, attention: 64, epochs: 20, lr: 5e-4, validationShare: 0, cosine: 'steps' };
const FOLDS = 4;

export function configure(command: Command): void {
  addDeviceOptions(command)
    .option('--port <n>', 'port on 127.0.0.1; the next free one is taken if it is in use', parsePort, DEFAULT_PORT)
    .option('--no-serve', 'end after the table')
    .addOption(
      new Option(
        '--artefacts',
        'run the held-out slides again with pen, out of focus, in other colours and without tissue, and say what that costs',
      ).conflicts('json'),
    )
    .option('--json', 'print one JSON object')
    .action(async () => {
      const flags = command.optsWithGlobals<Flags>();
      const signal = interruptSignal();
      const tables = await ensureSlides(join(FOLDER, 'slides'), signal);
      const trained = await train(tables.training, flags, signal);
      const run = join(FOLDER, 'run');
      const line = await openLine(lineOptions(flags, trained.model));
      try {
        const tiling = plainTiling(line.patchPx, line.patchMpp);
        await runAndPrint([tables.heldOut], line, tiling, { ...flags, out: run }, signal);
        if (!flags.json) {
          printLine(`Cross-validated ${aucSentence(trained.evaluation)} (${FOLDS} folds by patient)`);
          printLine(`Held out ${aucSentence(await evaluateRun(run))} (slides that no fold has seen)`);
        }
        if (flags.artefacts) await runWithArtefacts(join(FOLDER, 'artefacts'), tables.heldOut, COHORT, line, signal);
      } finally {
        await line.close();
      }
      if (flags.serve) await serve(run, flags.port, signal);
    });
}

interface Tables {
  readonly training: string;
  readonly heldOut: string;
}

/** The manifests are written last: where they are, the slides are whole. */
async function ensureSlides(folder: string, signal: AbortSignal): Promise<Tables> {
  const tables = { training: join(folder, 'training.csv'), heldOut: join(folder, 'held-out.csv') };
  if (existsSync(tables.heldOut)) return tables;
  const { manifest } = await writeSyntheticCohort(folder, {
    ...COHORT,
    onSlide: ({ id, label }) => {
      signal.throwIfAborted();
      process.stderr.write(`wrote ${join(folder, id)}.tif (${label})\n`);
    },
  });
  const { columns, rows } = parseTable(manifest, await readFile(manifest, 'utf8'));
  const ofSplit = (name: string) =>
    formatTable(
      columns,
      rows.filter(({ split }) => split === name),
    );
  await writeWhole(tables.training, ofSplit('train'));
  await writeWhole(tables.heldOut, ofSplit('test'));
  return tables;
}

/** A small LBMamba, cross-validated on the training slides; the models of all folds together are the one that is used. */
async function train(table: string, flags: Flags, signal: AbortSignal): Promise<TrainingResult> {
  const bags = join(FOLDER, 'bags');
  const line = await openLine(lineOptions(flags, null));
  try {
    await runBatch(await findSlides([table]), line, {
      out: bags,
      mpp: null,
      tiling: plainTiling(line.patchPx, line.patchMpp),
      batchSize: 64,
      dtype: 'f16',
      keepBags: true,
      live: true,
      retries: 0,
      failFast: true,
      asked: {},
      signal,
      onEvent: showProgress(flags.verbose ?? false),
    });
  } finally {
    await line.close();
  }
  return trainCohort({
    cohort: await readCohort(table),
    bags,
    out: FOLDER,
    recipe: 'lamina',
    changes: CHANGES,
    target: {},
    split: { kind: 'k-fold', folds: FOLDS, testShare: 0 },
    seed: SEED,
    device: flags.device,
    threads: flags.threads ?? availableParallelism(),
    signal,
    onEvent: (event) => {
      if (event.kind !== 'fold' || event.former) return;
      process.stderr.write(`trained fold ${event.fold + 1}/${FOLDS}, ${event.done.seconds.toFixed(1)} s\n`);
    },
  });
}

async function evaluateRun(run: string): Promise<ModelEvaluation> {
  const summary = join(run, 'summary.csv');
  const predictions = readPredictions(summary, await readFile(summary, 'utf8'));
  return evaluate([{ name: 'demo', predictions }]).models[0]!;
}

function aucSentence(evaluation: ModelEvaluation | null): string {
  const { cases, figures } = evaluation!.slides;
  const { value, low, high } = figures.auc!;
  const [auc, from, to] = [value, low, high].map((number) => number?.toFixed(3) ?? 'undefined');
  // What resampling makes of a handful of slides without an error is not certainty.
  const caveat = low === high ? '; so few slides without an error say no more' : '';
  return `AUC of ${cases} slides: ${auc}, 95 % interval ${from} to ${to}${caveat}`;
}

async function serve(run: string, wanted: number, signal: AbortSignal): Promise<void> {
  const server = await serveOnFreePort(run, wanted);
  if (wanted !== 0 && !server.url.includes(`:${wanted}/`))
    printLine(`Port ${wanted} is in use, so another one was taken.`);
  printLine(`Viewer at ${server.url} (Ctrl-C ends it)`);
  await untilInterrupted(signal);
  await server.close();
}

async function serveOnFreePort(run: string, wanted: number): Promise<ServedViewer> {
  for (let port = wanted; ; port++) {
    try {
      return await serveViewer(run, { port });
    } catch (error) {
      const inUse = error instanceof UserError && error.code === 'port-in-use';
      if (!inUse || port >= Math.min(wanted + 100, 65535)) throw error;
    }
  }
}
