/** `lamina bench`: how fast kernels and models are on this machine, after a check that they are right. */
import { Argument, type Command, Option } from 'commander';
import { benchEncoders } from '../bench/encoders.ts';
import { benchKernels } from '../bench/kernels.ts';
import { machine } from '../bench/machine.ts';
import { benchModel, type ModelPart, modelParts } from '../bench/model.ts';
import type { Report, Result } from '../bench/result.ts';
import { benchViewer } from '../bench/viewer.ts';
import { interruptSignal } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags } from './options.ts';
import { dim, printFacts, printJson, printLine, printTable } from './print.ts';

interface Options extends DeviceFlags {
  readonly only?: ModelPart;
  readonly encoder?: string;
  readonly weights?: string;
  readonly peer: string;
  readonly quick?: boolean;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addDeviceOptions(
    command
      .addArgument(new Argument('<what>', 'what to measure').choices(['kernels', 'encoders', 'model', 'viewer']))
      .addOption(new Option('--only <part>', 'one part of `model`').choices(modelParts))
      .addOption(
        new Option('--peer <folder>', 'programs to compare `model` and `viewer` with')
          .default('../shared/peers')
          .env('LAMINA_PEER'),
      )
      .option('--encoder <name>', 'network that `encoders` measures beside the built-in one')
      .option('--weights <place>', 'its weights, if it is a listed one')
      .option('--quick', 'small sizes: whether everything runs, not how fast'),
  )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nLeave the machine alone meanwhile. `kernels` takes 2 minutes on two cores, `encoders` 1, `model` 10, `viewer` 2.',
    )
    .action(async (what: 'kernels' | 'encoders' | 'model' | 'viewer', { only, json, ...options }: Options) => {
      const say = (step: string) => void process.stderr.write(`${step}\n`);
      const measure = {
        kernels: () => benchKernels({ ...options, say }),
        encoders: () => benchEncoders({ ...options, say }),
        model: () => benchModel({ ...options, parts: only && [only], say, signal: interruptSignal() }),
        viewer: () => benchViewer({ ...options, say, signal: interruptSignal() }),
      };
      const report = await measure[what]();
      for (const note of report.notes) process.stderr.write(`note: ${note}\n`);
      if (json) printJson({ machine: machine(), date: new Date().toISOString(), ...report });
      else printReport(report);
    });
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
