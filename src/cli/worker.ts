/** `lamina worker`: does the slides of a queue, until told to stop. */
import type { Command } from 'commander';
import { runWorker, type WorkerEvent } from '../run/queue-worker.ts';
import { SLIDES_AT_ONCE } from '../run/station.ts';
import { interruptSignal } from './interrupt.ts';
import { addQueueOption, parseCount, parsePositive, type QueueFlags } from './options.ts';
import { printJson } from './print.ts';
import { showDownload } from './progress.ts';

interface Flags extends QueueFlags {
  readonly concurrency: number;
  readonly stalledAfter: number;
  readonly untilEmpty?: boolean;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addQueueOption(command)
    .option(
      '--concurrency <n>',
      'slides on the line at a time: one opens while one is encoded',
      parseCount,
      SLIDES_AT_ONCE,
    )
    .option('--stalled-after <s>', 'give the slide of a silent worker to another after so long', parsePositive, 30)
    .option('--until-empty', 'end when the queue is empty, rather than wait for more')
    .option('--json', 'print one JSON object at the end')
    .addHelpText(
      'after',
      '\nCtrl-C or SIGTERM: it takes no more slides, finishes those under way, and ends. A second' +
        '\none ends it at once; other workers then get its slides. A slide that this machine cannot do' +
        '\n(no run folder, model or GPU, other weights, another version, a full disk) goes back to the' +
        '\nothers, and the worker ends with 1.',
    )
    .action(async ({ queue, concurrency, stalledAfter, untilEmpty = false, json }: Flags) => {
      const counts = { done: 0, skipped: 0, failures: 0, parked: 0 };
      await runWorker(queue, {
        concurrency,
        stalledAfterMs: 1000 * stalledAfter,
        untilEmpty,
        drain: interruptSignal(),
        onDownload: showDownload(),
        onEvent(event) {
          if (event.kind === 'end') counts[event.report.skipped ? 'skipped' : 'done']++;
          if (event.kind === 'failed') counts[event.parked ? 'parked' : 'failures']++;
          process.stderr.write(`${sentence(event)}\n`);
        },
      });
      if (json) printJson(counts);
    });
}

function sentence(event: WorkerEvent): string {
  if (event.kind === 'drain') return 'No more slides are taken; those under way are finished.';
  if (event.kind === 'begin') return `${event.slide}: begun`;
  if (event.kind === 'end') {
    const { skipped, patches, seconds } = event.report;
    return `${event.slide}: ${patches} patches, ${skipped ? 'finished before' : `${seconds.toFixed(1)} s`}`;
  }
  const { stage, message, hint } = event.failure;
  return `${event.slide}: ${event.parked ? 'parked' : 'failed, and tried again later'} (${stage}). ${message} ${hint}`;
}
