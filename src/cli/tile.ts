/** `lamina tile`: where the tissue of slides is, and the grid of patches over it. */
import type { Command } from 'commander';
import { gridDefaults } from '../tiling/grid.ts';
import { type RunFlags, runAndPrint } from './batch.ts';
import { interruptSignal } from './interrupt.ts';
import { addBatchOptions, addPatchOptions, type PatchFlags, tilingOptions } from './options.ts';

export function configure(command: Command): void {
  addBatchOptions(addPatchOptions(command))
    .argument('<slides...>', 'files, folders, patterns, addresses or manifests (CSV)')
    .requiredOption('--out <folder>', 'where coords.arrow, tissue.geojson and preview.png of each slide go')
    .option('--json', 'print one JSON object')
    .action(async (slides: string[]) => {
      const flags = command.optsWithGlobals<PatchFlags & RunFlags>();
      const { patchSize: patchPx = gridDefaults.patchPx, targetMpp = gridDefaults.mpp } = flags;
      const patchMpp = targetMpp === 'native' ? null : targetMpp;
      const tiling = tilingOptions(flags, { patchPx, patchMpp, order: gridDefaults.order });
      await runAndPrint(slides, { encoder: null, predictor: null }, tiling, flags, interruptSignal());
    });
}
