/** `lamina submit`: the slides of a run into a queue, once everything was seen to fit. */
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { blockTypes } from '../mil/mamba-block.ts';
import { runResult } from '../run/batch.ts';
import { openLine } from '../run/line.ts';
import { openQueue, submitSlides } from '../run/queue.ts';
import { findSlides } from '../run/slide-inputs.ts';
import { requireAreasPerSlide } from '../run/survey.ts';
import { writeTables } from '../run/tables.ts';
import { makeFolder } from '../run/whole-file.ts';
import { type RunFlags, slideOptions } from './batch.ts';
import {
  addDeviceOptions,
  addExplainOption,
  addExtractOptions,
  addQueueOption,
  type DeviceFlags,
  type ExtractFlags,
  lineOptions,
  type QueueFlags,
  tilingOptions,
} from './options.ts';
import { printFacts, printJson } from './print.ts';
import { showDownload } from './progress.ts';

type Flags = ExtractFlags & DeviceFlags & RunFlags & QueueFlags & { readonly model?: string };

export function configure(command: Command): void {
  addDeviceOptions(addExplainOption(addExtractOptions(addQueueOption(command))))
    .argument(
      '<slides...>',
      'files, folders, patterns, addresses or manifests (CSV), at the same paths for all workers',
    )
    .option('--model <folder>', 'model folder or checkpoint, at the same path for all workers (default: bags only)')
    .addOption(new Option('--model-type <type>', 'layer type of a checkpoint without a card').choices(blockTypes))
    .option('--no-keep-bags', 'keep no features: they go straight to the model, and only scores stay')
    .requiredOption('--out <folder>', 'the run folder, shared by all workers')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nSaid again, it queues what is neither finished nor queued, and revives what was parked;' +
        '\nwith other options, it replaces what waits for the same run folder.',
    )
    .action(async (names: string[]) => {
      const flags = command.optsWithGlobals<Flags>();
      const { queue, close } = await openQueue(flags.queue);
      try {
        const model = flags.model === undefined ? null : resolve(flags.model);
        const options = lineOptions(flags, model);
        const line = await openLine(options, showDownload());
        try {
          const inputs = await findSlides(names);
          const out = resolve(flags.out);
          const tiling = tilingOptions(flags, line);
          await requireAreasPerSlide(tiling.mask, inputs.length);
          await requireAreasPerSlide(tiling.roi, inputs.length);
          await makeFolder(join(out, 'slides'));
          const slide = slideOptions(flags, tiling);
          const times = { startedAt: new Date().toISOString(), finishedAt: null, timings: {} };
          const { queue: _, ...asked } = flags;
          await writeTables(out, [], runResult(inputs, line, { out, ...slide, asked }, times));
          const submitted = await submitSlides(queue, inputs, line, { out, line: options, slide });
          if (flags.json) printJson({ run: out, slides: inputs.length, ...submitted });
          else printFacts(Object.fromEntries(Object.entries(submitted).map(([name, count]) => [name, `${count}`])));
        } finally {
          await line.close();
        }
      } finally {
        await close();
      }
    });
}
