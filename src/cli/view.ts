/** `lamina view`: opens a run in the viewer, on this machine only. */
import type { Command } from 'commander';
import { serveViewer } from '../viewer/server.ts';
import { interruptSignal, untilInterrupted } from './interrupt.ts';
import { parsePort } from './options.ts';
import { printJson, printLine } from './print.ts';

export const DEFAULT_PORT = 8321;

export function configure(command: Command): void {
  command
    .argument('<run>', 'folder that `lamina run --out` wrote')
    .option('--port <n>', 'port on 127.0.0.1; 0 takes any free one', parsePort, DEFAULT_PORT)
    .option('--json', 'print the address as one JSON object')
    .action(async (run: string, { port, json }: { port: number; json?: boolean }) => {
      const signal = interruptSignal();
      const server = await serveViewer(run, { port });
      if (json) printJson({ url: server.url });
      else printLine(`Viewer at ${server.url} (Ctrl-C ends it)`);
      await untilInterrupted(signal);
      await server.close();
    });
}
