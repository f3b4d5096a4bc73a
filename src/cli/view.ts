/** `lamina view`: opens a run in the viewer, on this machine only unless told otherwise. */
import { type Command, Option } from 'commander';
import { type DeviceChoice, deviceChoices } from '../kernels/open-device.ts';
import { serveViewer } from '../viewer/server.ts';
import { interruptSignal, untilInterrupted } from './interrupt.ts';
import { parsePort } from './options.ts';
import { printJson, printLine } from './print.ts';

export const DEFAULT_PORT = 8321;

interface Flags {
  readonly port: number;
  readonly host: string;
  readonly accounts?: string;
  readonly database?: string;
  readonly against?: string;
  readonly model?: string;
  readonly device: DeviceChoice;
  readonly showLabels?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

export function configure(command: Command): void {
  command
    .argument('<run>', 'folder that `lamina run --out` wrote')
    .option('--port <n>', 'port; 0 takes any free one', parsePort, DEFAULT_PORT)
    .addOption(
      new Option('--host <address>', 'address to listen on; any but this machine’s own asks for a token or an account')
        .default('127.0.0.1')
        .env('LAMINA_HOST'),
    )
    .addOption(
      new Option('--accounts <file>', 'users with passwords, made by `lamina user add`').env('LAMINA_ACCOUNTS'),
    )
    .addOption(
      new Option('--database <url>', 'where reviews are kept: file:PATH or a libSQL server (default: in the run)').env(
        'LAMINA_DATABASE',
      ),
    )
    .option('--against <run>', 'another run of these slides, whose heatmaps can be laid over those of this one')
    .option('--model <folder>', 'model for questions about a slide, when it is not where the run says')
    .addOption(new Option('--device <kind>', 'where the model is asked').choices(deviceChoices).default('auto'))
    .option('--show-labels', 'show label and macro images, which may bear names')
    .option('--json', 'print the address as one JSON object')
    .addHelpText(
      'after',
      '\nLAMINA_VIEWER_TOKEN is the token that opens the viewer; without it one is made and printed.',
    )
    .action(async (run: string) => {
      const { verbose, json, ...flags } = command.optsWithGlobals<Flags>();
      const signal = interruptSignal();
      const server = await serveViewer(run, {
        ...flags,
        token: process.env.LAMINA_VIEWER_TOKEN,
        databaseToken: process.env.LAMINA_DATABASE_TOKEN,
        onProblem: ({ route, status, code, message }) => {
          if (verbose || status >= 500) process.stderr.write(`${route} ${status} ${verbose ? message : code}\n`);
        },
      });
      const given = process.env.LAMINA_VIEWER_TOKEN !== undefined;
      const address = server.token === null || given ? server.url : `${server.url}?token=${server.token}`;
      if (json) printJson({ url: address });
      else printLine(`Viewer at ${address} (Ctrl-C ends it)`);
      await untilInterrupted(signal);
      await server.close();
    });
}
