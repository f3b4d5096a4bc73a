/** `lamina encoders`: the patch encoders there are, and what each wants; or the stains of a picture, to be kept as a target. */
import { type Command, Option } from 'commander';
import { encoderIsHere } from '../features/encoders/locate.ts';
import { presets } from '../features/encoders/presets.ts';
import { type StainMethod, stainMethods } from '../features/stain-fit.ts';
import { stainsOfPicture } from '../features/stain-normalise.ts';
import { dim, printJson, printLine, printTable } from './print.ts';

interface Flags {
  readonly stainOf?: string;
  readonly stain: StainMethod;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  command
    .option('--stain-of <picture>', 'print the stains of a picture instead, for --stain-target of other commands')
    .addOption(new Option('--stain <method>', 'how they are found').choices(stainMethods).default('macenko'))
    .option('--json', 'print one JSON object')
    .action(async ({ stainOf, stain, json }: Flags) => {
      if (stainOf !== undefined) printJson(await stainsOfPicture(stain, stainOf));
      else if (json) printJson({ encoders: [BUILT_IN, ...(await Promise.all(presets.map(withPlace)))] });
      else await printEncoders();
    });
}

const BUILT_IN = {
  name: 'stain-texture',
  title: 'Stain and texture, built in',
  dimension: 128,
  recipe: null,
  licence: 'that of this program',
  access: null,
  gated: false,
  repository: null,
  note: 'Needs no weights. Patches of 64 px and more, made for 0.5 um/px.',
  here: true,
};

const withPlace = async (preset: (typeof presets)[number]) => ({ ...preset, here: await encoderIsHere(preset) });

async function printEncoders(): Promise<void> {
  const rows = await Promise.all(presets.map(withPlace));
  printTable([
    {
      name: BUILT_IN.name,
      features: BUILT_IN.dimension,
      patch: 'any',
      'um/px': 0.5,
      tokens: '-',
      here: 'yes',
      licence: BUILT_IN.licence,
      weights: 'none needed',
    },
    ...rows.map(({ name, dimension, recipe, licence, gated, access, here }) => ({
      name,
      features: dimension,
      patch: recipe.patchPx === recipe.size ? `${recipe.size}` : `${recipe.patchPx} to ${recipe.size}`,
      'um/px': recipe.mpp,
      tokens: recipe.tokens.pool,
      here: here ? 'yes' : 'no',
      licence,
      weights: `${gated ? 'ask at ' : ''}${access}`,
    })),
  ]);
  printLine();
  printLine(
    dim('Weights do not come with the program. Export them to ONNX as docs/encoders.md says, then for example:'),
  );
  printLine(dim('  lamina extract SLIDE --encoder uni --weights uni.onnx --out BAGS'));
  printLine(dim('Any other ONNX file of an image network: --encoder file.onnx, or hf:owner/name/file.onnx.'));
}
