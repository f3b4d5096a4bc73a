/** `lamina run`: the whole line for a batch, from slides to predictions and heatmaps. */
import { type Command, Option } from 'commander';
import { blockTypes } from '../mil/mamba-block.ts';
import { openLine } from '../run/line.ts';
import { type RunFlags, runAndPrint } from './batch.ts';
import { interruptSignal } from './interrupt.ts';
import {
  addBatchOptions,
  addDeviceOptions,
  addExplainOption,
  addExtractOptions,
  type DeviceFlags,
  type ExtractFlags,
  lineOptions,
  tilingOptions,
} from './options.ts';
import { showDownload } from './progress.ts';

type Flags = ExtractFlags & DeviceFlags & RunFlags & { readonly model: string };

export function configure(command: Command): void {
  addDeviceOptions(addExplainOption(addBatchOptions(addExtractOptions(command))))
    .argument('<slides...>', 'files, folders, patterns, addresses or manifests (CSV)')
    .requiredOption('--model <folder>', 'model folder, or a PyTorch checkpoint of MambaMIL')
    .addOption(new Option('--model-type <type>', 'layer type of a checkpoint without a card').choices(blockTypes))
    .option('--no-keep-bags', 'keep no features: they go straight to the model, and only scores stay')
    .option('--no-live', 'keep nothing for a viewer to watch while slides are under way')
    .requiredOption('--out <folder>', 'the run folder; started again, a run goes on where it stopped')
    .option('--json', 'print one JSON object')
    .action(async (slides: string[]) => {
      const flags = command.optsWithGlobals<Flags>();
      const line = await openLine(lineOptions(flags, flags.model), showDownload());
      try {
        await runAndPrint(slides, line, tilingOptions(flags, line), flags, interruptSignal());
      } finally {
        await line.close();
      }
    });
}
