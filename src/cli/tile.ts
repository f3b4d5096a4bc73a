/** `lamina tile`: where the tissue of slides is, and the grid of patches over it. */
import type { Command } from 'commander';
import { gridDefaults } from '../tiling/grid.ts';
import { type BatchFlags, runAndPrint } from './batch.ts';
import { interruptSignal } from './interrupt.ts';
import { addPatchOptions, type PatchFlags, tilingOptions } from './options.ts';

export function configure(command: Command): void {
  addPatchOptions(command)
    .argument('<slides...>', 'files, folders, patterns, addresses or manifests (CSV)')
    .requiredOption('--out <folder>', 'where coords.arrow, tissue.geojson and preview.png of each slide go')
    .option('--json', 'print one JSON object')
    .action(async (slides: string[]) => {
      const flags = command.optsWithGlobals<PatchFlags & BatchFlags>();
      const { patchSize: patchPx = gridDefaults.patchPx, targetMpp = gridDefaults.mpp } = flags;
      const patchMpp = targetMpp === 'native' ? null : targetMpp;
      const tiling = tilingOptions(flags, { patchPx, patchMpp, order: gridDefaults.order });
      await runAndPrint(slides, { encoder: null, predictor: null }, tiling, flags, interruptSignal());
    });
}
