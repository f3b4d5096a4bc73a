/** `lamina extract`: patches of slides through an encoder into bags. */
import type { Command } from 'commander';
import { openLine } from '../run/line.ts';
import { type RunFlags, runAndPrint } from './batch.ts';
import { interruptSignal } from './interrupt.ts';
import {
  addBatchOptions,
  addDeviceOptions,
  addExtractOptions,
  type DeviceFlags,
  type ExtractFlags,
  lineOptions,
  tilingOptions,
} from './options.ts';
import { showDownload } from './progress.ts';

export function configure(command: Command): void {
  addBatchOptions(addDeviceOptions(addExtractOptions(command)))
    .argument('<slides...>', 'files, folders, patterns, addresses or manifests (CSV)')
    .requiredOption('--out <folder>', 'where the bag of each slide goes')
    .option('--json', 'print one JSON object')
    .action(async (slides: string[]) => {
      const flags = command.optsWithGlobals<ExtractFlags & DeviceFlags & RunFlags>();
      const line = await openLine(lineOptions(flags, null), showDownload());
      try {
        await runAndPrint(slides, line, tilingOptions(flags, line), flags, interruptSignal());
      } finally {
        await line.close();
      }
    });
}
