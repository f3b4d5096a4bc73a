/** `lamina status`: how far a queue is, and what was parked, with the reason. */
import type { Command } from 'commander';
import { openQueue, queueStatus } from '../run/queue.ts';
import { addQueueOption, type QueueFlags } from './options.ts';
import { printFacts, printJson, printLine } from './print.ts';

export function configure(command: Command): void {
  addQueueOption(command)
    .option('--json', 'print one JSON object')
    .action(async (flags: QueueFlags & { readonly json?: boolean }) => {
      const { queue, close } = await openQueue(flags.queue);
      try {
        const { parked, underWay, ...counts } = await queueStatus(queue);
        if (flags.json) {
          const slides = parked.map(({ input, ...rest }) => ({ slide: input.id, source: input.source, ...rest }));
          return printJson({ ...counts, parked: slides, underWay });
        }
        printFacts({
          ...Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, `${count}`])),
          parked: `${parked.length}`,
        });
        for (const { slide, done, patches } of underWay) printLine(`${slide}: ${done}/${patches || '?'} patches`);
        for (const { input, attempts, failure } of parked) {
          const { stage, message, hint } = failure;
          printLine(`${input.id}: parked after ${attempts} attempts (${stage}). ${message} ${hint}`);
        }
      } finally {
        await close();
      }
    });
}
