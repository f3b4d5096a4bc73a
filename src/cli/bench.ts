/** `lamina bench`: how fast kernels and models are on this machine, after a check that they are right. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { benchEncoders } from '../bench/encoders.ts';
import { benchKernels } from '../bench/kernels.ts';
import { machine } from '../bench/machine.ts';
import { benchMil, type MilReport, type Spread } from '../bench/mil.ts';
import { benchModel, type ModelPart, modelParts } from '../bench/model.ts';
import { benchPipeline } from '../bench/pipeline.ts';
import type { Report, Result } from '../bench/result.ts';
import { benchTiling } from '../bench/tiling.ts';
import { benchViewer } from '../bench/viewer.ts';
import { interruptSignal } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags, parseCount } from './options.ts';
import { dim, printFacts, printJson, printLine, printTable } from './print.ts';

interface Options extends DeviceFlags {
  readonly only?: ModelPart;
  readonly encoder?: string;
  readonly weights?: string;
  readonly peer: string;
  readonly csv?: string[];
  readonly data: string;
  readonly model?: string[];
  readonly task?: string[];
  readonly seeds: number;
  readonly quick?: boolean;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addDeviceOptions(
    command
      .addArgument(
        new Argument('<what>', 'what to measure').choices([
          'kernels',
          'encoders',
          'mil',
          'model',
          'pipeline',
          'tiling',
          'viewer',
        ]),
      )
      .addOption(new Option('--only <part>', 'one part of `model`').choices(modelParts))
      .addOption(
        new Option('--peer <folder>', 'programs to compare `model`, `tiling` and `viewer` with')
          .default('../shared/peers')
          .env('LAMINA_PEER'),
      )
      .option(
        '--encoder <name>',
        'network that `encoders` measures beside the built-in one, and `pipeline` instead of it',
      )
      .option('--weights <place>', 'its weights, if it is a listed one')
      .option('--csv <file...>', 'tables of bags for `mil` (label,bag,features) instead of its own')
      .addOption(new Option('--data <folder>', 'mil/*.csv of `mil`').default('../shared/data').env('LAMINA_DATA'))
      .option('--model <name...>', 'only these models of `mil`')
      .option('--task <name...>', 'only these tasks or sets of `mil`')
      .option('--seeds <n>', 'repeats of `mil`', parseCount, 5)
      .option('--quick', 'small sizes: whether everything runs, not how fast'),
  )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nLeave the machine alone meanwhile. `kernels` takes 2 minutes on two cores, `encoders` 1, `model` 10, `pipeline` 2 (6 with a network), `tiling` 5, `viewer` 2, `mil` hours (say which with --task and --model).',
    )
    .action(
      async (
        what: 'kernels' | 'encoders' | 'mil' | 'model' | 'pipeline' | 'tiling' | 'viewer',
        { only, json, ...options }: Options,
      ) => {
        const say = (step: string) => void process.stderr.write(`${step}\n`);
        if (what === 'mil') return runMil(options, json ?? false, say);
        const measure = {
          kernels: () => benchKernels({ ...options, say }),
          encoders: () => benchEncoders({ ...options, say }),
          model: () => benchModel({ ...options, parts: only && [only], say, signal: interruptSignal() }),
          pipeline: () => onSyntheticSlides(options, say),
          tiling: () => benchTiling({ ...options, data: process.env.LAMINA_DATA, say, signal: interruptSignal() }),
          viewer: () => benchViewer({ ...options, say, signal: interruptSignal() }),
        };
        const report = await measure[what]();
        for (const note of report.notes) process.stderr.write(`note: ${note}\n`);
        if (json) printJson({ machine: machine(), date: new Date().toISOString(), ...report });
        else printReport(report);
      },
    );
}

/** Slides like those of the demo, in a folder that is gone afterwards. */
async function onSyntheticSlides(options: Options, say: (step: string) => void): Promise<Report> {
  const signal = interruptSignal();
  const folder = await mkdtemp(join(tmpdir(), 'lamina-bench-slides-'));
  try {
    const size = options.quick
      ? { slides: 2, widthPx: 1536, heightPx: 1024 }
      : { slides: 12, widthPx: 12_000, heightPx: 9_000 };
    say(`${size.slides} slides are written`);
    const { slides } = await writeSyntheticCohort(folder, { seed: 1, ...size });
    return await benchPipeline({ ...options, slides: slides.map(({ path }) => path), signal, say });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runMil(
  options: Omit<Options, 'only' | 'json'>,
  json: boolean,
  say: (step: string) => void,
): Promise<void> {
  const { csv = [], model: models = [], task: tasks = [], ...rest } = options;
  const report = await benchMil({ ...rest, csv, models, tasks, say, signal: interruptSignal() });
  if (json) return printJson({ machine: machine(), date: new Date().toISOString(), ...report });
  printMil(report);
}

function printMil({ device, results, notes }: MilReport): void {
  const shown = ({ mean, low, high }: Spread) => {
    const interval = low === null || high === null ? '' : ` (${low.toFixed(3)}-${high.toFixed(3)})`;
    return mean === null ? 'undefined' : `${mean.toFixed(3)}${interval}`;
  };
  printFacts({ machine: `${machine().cpu}, ${machine().cores} cores`, device });
  printLine();
  printTable(
    results.map(({ task, model, auc, f1, accuracy, patchAuc, seconds, wall, parameters, marks }) => ({
      task,
      model,
      AUC: shown(auc),
      'F1 macro': shown(f1),
      accuracy: shown(accuracy),
      'patch AUC': patchAuc ? shown(patchAuc) : '',
      seconds: short(seconds),
      wall: short(wall),
      parameters,
      mark: marks
        .map(
          (mark) =>
            `${mark.what} ${'least' in mark ? `>= ${mark.least}` : `<= ${mark.most}`} ${mark.met ? 'met' : 'MISSED'}`,
        )
        .join(', '),
    })),
  );
  printLine();
  for (const note of notes) printLine(note);
  printLine(
    dim('Means over the seeds with 95 % intervals. seconds: of training, one seed, summed over the threads; wall: the'),
  );
  printLine(dim('same on the clock, with the start of the threads. parameters: numbers that are trained.'));
}

function printReport({ device, results }: Report): void {
  const { cpu, cores, memory, system, node } = machine();
  printFacts({ machine: `${cpu}, ${cores} cores, ${memory} GiB, ${system}, Node ${node}`, device });
  printLine();
  printTable(results.map(rowOf));
  printLine();
  printLine(
    dim('ratio: times as fast or small as the baseline. floor: times the least this device could take for the'),
  );
  printLine(dim('bytes or flops that the work must move or compute. spread: the middle round over the best one.'));
}

function rowOf({ name, value, unit, baseline, ratio, spread, floor, mark }: Result) {
  return {
    what: name,
    value: short(value),
    unit,
    baseline: baseline === null ? '' : short(baseline),
    ratio: ratio === null ? '' : short(ratio),
    floor: floor ? `${short(value / floor.value)} (${floor.by})` : '',
    spread: spread === null ? '' : `${Math.round(100 * spread)} %`,
    mark: mark ? `${'least' in mark ? `>= ${mark.least}` : `<= ${mark.most}`} ${mark.met ? 'met' : 'MISSED'}` : '',
  };
}

/** Three digits that count. */
function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
