/** `lamina convert`: bags between tools, checkpoints between PyTorch and safetensors. */
import { type Command, Option } from 'commander';
import { UserError } from '../errors.ts';
import { convertBag, extension } from '../features/convert-bag.ts';
import type { BagFacts } from '../features/foreign-bag.ts';
import type { FeatureType } from '../features/store.ts';
import { type Hdf5Layout, hdf5Layouts } from '../features/tool-layouts.ts';
import { convertCheckpoint } from '../mil/convert-checkpoint.ts';
import { parseCount, parsePositive } from './options.ts';
import { printFacts, printJson } from './print.ts';

interface Flags {
  readonly layout: Hdf5Layout;
  readonly dtype?: FeatureType;
  readonly slideId?: string;
  readonly encoder?: string;
  readonly mpp?: number;
  readonly patchSize?: number;
  readonly targetMpp?: number;
  readonly patchLevel0?: number;
  readonly features?: string;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  command
    .argument('<in>', 'bag (.arrow, .h5, .pt) or checkpoint (.pt, .safetensors)')
    .argument('<out>', 'its name says what it becomes: .arrow, .h5 or .pt; .safetensors or .pt')
    .addOption(new Option('--layout <tool>', 'of an .h5 file').choices(hdf5Layouts).default('clam'))
    .addOption(
      new Option('--dtype <type>', 'precision of an .arrow file (default: that of the bag)').choices(['f16', 'f32']),
    )
    .option('--slide-id <id>', 'of which slide (default: what the file says, or its name)')
    .option('--encoder <id>', 'of which encoder the features are')
    .option('--mpp <um>', 'micrometres per pixel of the slide', parsePositive)
    .option('--patch-size <px>', 'side of a patch as the encoder saw it', parseCount)
    .option('--target-mpp <um>', 'micrometres per pixel of the patches', parsePositive)
    .option('--patch-level0 <px>', 'side of a patch in pixels of level 0', parsePositive)
    .option('--features <name>', 'which of several sets of features (AtlasPatch)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nCLAM, TRIDENT, STAMP and AtlasPatch files are told apart by themselves. The options say')
    .addHelpText('after', 'what a file does not: STAMP, for one, keeps places in micrometres and needs --mpp.')
    .action(async (from: string, to: string, flags: Flags) => {
      const done = isCheckpoint(from, to) ? await convertCheckpoint(from, to) : await bag(from, to, flags);
      if (flags.json) printJson({ from, to, ...done });
      else printFacts(Object.fromEntries(Object.entries(done).map(([name, value]) => [name, `${value ?? 'unknown'}`])));
    });
}

function isCheckpoint(from: string, to: string): boolean {
  return extension(from) === 'safetensors' || extension(to) === 'safetensors';
}

async function bag(from: string, to: string, flags: Flags) {
  if (from === to)
    throw new UserError('same-file', `${from}: a bag is not converted into itself.`, 'Name another file.');
  const { layout, dtype = null, json: _, patchSize, targetMpp, patchLevel0, ...rest } = flags;
  const facts: BagFacts = {
    ...rest,
    ...(patchSize !== undefined && { patchPx: patchSize }),
    ...(targetMpp !== undefined && { patchMpp: targetMpp }),
    ...(patchLevel0 !== undefined && { patchLevel0Px: patchLevel0 }),
  };
  const { meta, count, dimension, dtype: written, placed } = await convertBag(from, to, { facts, layout, dtype });
  return { ...meta, patches: count, features: dimension, type: written, places: placed };
}
