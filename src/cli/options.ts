/** Options that several commands share, and how their values are read. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type StainMethod, stainMethods } from '../features/stain-fit.ts';
import { type DeviceChoice, deviceChoices } from '../kernels/open-device.ts';
import type { BlockType } from '../mil/mamba-block.ts';
import { type GridOrder, isGridOrder } from '../row-order.ts';
import type { LineOptions } from '../run/line.ts';
import { parseShard, type Shard } from '../run/shard.ts';
import type { TilingOptions } from '../run/survey.ts';
import { checkGridOptions, gridDefaults } from '../tiling/grid.ts';
import { noLimits } from '../tiling/patch-sieve.ts';
import type { Mpp } from '../units.ts';

/** @throws InvalidArgumentError, which commander shows with the option's name. */
export function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

export function parseCount(text: string): number {
  const value = parsePositive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

export function parsePort(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || text.trim() === '' || value < 0 || value > 65535) {
    throw new InvalidArgumentError('It must be a port, 0 to 65535.');
  }
  return value;
}

/** @throws InvalidArgumentError */
export function parseShare(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) {
    throw new InvalidArgumentError('It must be a number from 0 to 1.');
  }
  return value;
}

function parseWhole(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 2 ** 32) throw new InvalidArgumentError('It must be a whole number, 0 or above.');
  return value;
}

function parseOrder(text: string): GridOrder {
  if (isGridOrder(text)) return text;
  throw new InvalidArgumentError('It must be row-major, column-major, snake, hilbert or window-W, such as window-4.');
}

function parseTargetMpp(text: string): number | 'native' {
  return text === 'native' ? text : parsePositive(text);
}

/** Where a value comes from: the later goes over the earlier. */
const SOURCES = ['default', 'config', 'env', 'cli'];

/** Of two options that exclude each other the one whose source goes over the other's; both from one source are wrong usage. */
function addEither(command: Command, one: Option, other: Option): void {
  command.hook('preAction', () => {
    const [first, second] = [rankOf(command, one), rankOf(command, other)];
    if (first === 0 || second === 0) return;
    if (first === second) command.error(`error: '${one.flags}' cannot be used with '${other.flags}'`);
    const weaker = first < second ? one : other;
    command.setOptionValueWithSource(weaker.attributeName(), undefined, 'default');
  });
}

/** Of the source of an option's value; 0 if nothing was asked for. */
function rankOf(command: Command, option: Option): number {
  const value = command.getOptionValue(option.attributeName());
  if (value === undefined || value === false) return 0;
  return SOURCES.indexOf(command.getOptionValueSource(option.attributeName())!);
}

/** A switch that may stand in the environment: commander alone would take any value for yes. */
function addSwitch(command: Command, option: Option): Command {
  return command.addOption(option).on(`optionEnv:${option.name()}`, () => {
    const text = process.env[option.envVar!]!;
    const value = /^(1|true)$/i.test(text) || (/^(0|false|)$/i.test(text) ? false : null);
    if (value === null) command.error(`error: ${option.envVar} is '${text}'. It must be 1 or 0.`);
    command.setOptionValueWithSource(option.attributeName(), value, 'env');
  });
}

/** What `tile`, `extract` and `run` are told about the slides and the patches. */
export interface PatchFlags {
  readonly mpp?: number;
  readonly patchSize?: number;
  readonly targetMpp?: number | 'native';
  readonly stride?: number;
  readonly overlap?: number;
  readonly minTissue: number;
  readonly maxPatches?: number;
  readonly seed: number;
  readonly order?: GridOrder;
  readonly jitter: number;
  readonly minFocus?: number;
  readonly maxPen?: number;
  readonly maxBadFraction: number;
  readonly mask?: string;
  readonly roi?: string;
}

/** Each may also stand in the environment: `--patch-size` as LAMINA_PATCH_SIZE. */
export function addPatchOptions(command: Command): Command {
  const add = (flags: string, description: string, parse?: (text: string) => unknown, fallback?: unknown) => {
    const option = new Option(flags, description);
    if (parse) option.argParser(parse);
    if (fallback !== undefined) option.default(fallback);
    command.addOption(option.env(`LAMINA_${option.name().toUpperCase().replaceAll('-', '_')}`));
    return option;
  };
  add('--mpp <um>', 'micrometres per pixel of the slides, over what the files say', parsePositive);
  add('--patch-size <px>', 'side of a patch (default: what the model or encoder wants, else 256)', parseCount);
  add(
    '--target-mpp <um>',
    'micrometres per pixel of the patches, or native (default: likewise, else 0.5)',
    parseTargetMpp,
  );
  addEither(
    command,
    add('--stride <px>', 'from one patch to the next (default: the side of a patch)', parsePositive),
    add('--overlap <px>', 'of neighbouring patches, instead of --stride', parseWhole),
  );
  add('--min-tissue <share>', 'least share of a patch that is tissue', parseShare, gridDefaults.minTissue);
  add('--max-patches <n>', 'at most so many patches a slide, chosen by --seed', parseCount);
  add('--seed <n>', 'of what is left to chance', parseWhole, gridDefaults.seed);
  add(
    '--order <name>',
    'of patches: row-major, column-major, snake, hilbert, window-W (default: what the model wants, else row-major)',
    parseOrder,
  );
  add('--jitter <px>', 'move each patch at random by up to so much', parseWhole, gridDefaults.jitterPx);
  add('--min-focus <value>', 'leave out patches less sharp (see coords.arrow for values)', parsePositive);
  add('--max-pen <share>', 'leave out patches with more ink', parseShare);
  add('--max-bad-fraction <share>', 'leave out patches with more unreadable', parseShare, noLimits.maxBadFraction);
  add('--mask <path>', 'GeoJSON of the tissue, or a folder of <slide>.geojson (default: found)');
  add('--roi <path>', 'GeoJSON of what of the tissue is wanted, likewise');
  return command;
}

/**
 * The options as the run takes them.
 * @param line what the model or encoder wants
 * @throws UserError `bad-grid`
 */
export function tilingOptions(
  flags: PatchFlags,
  { patchPx, patchMpp, order }: { patchPx: number; patchMpp: Mpp | null; order: GridOrder },
): TilingOptions {
  const { stride, overlap, minTissue, maxPatches = null, seed, jitter, mask, roi } = flags;
  const { minFocus = null, maxPen = null, maxBadFraction } = flags;
  const grid = { patchPx, stridePx: stride ?? patchPx - (overlap ?? 0), minTissue, jitterPx: jitter };
  checkGridOptions(grid);
  return {
    ...grid,
    patchMpp,
    maxPatches,
    seed,
    order: flags.order ?? order,
    mask: mask === undefined ? null : resolve(mask),
    roi: roi === undefined ? null : resolve(roi),
    minFocus,
    maxPen,
    maxBadFraction,
  };
}

export interface EncoderFlags {
  readonly encoder?: string;
  readonly weights?: string;
  readonly stain: StainMethod | 'none';
  readonly stainTarget?: string;
  readonly stainAugment?: number;
}

export interface ExtractFlags extends PatchFlags, EncoderFlags {
  readonly batch: number;
  readonly dtype: 'f16' | 'f32';
}

/** Which encoder, and what is done to the colours before it. */
export function addEncoderOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--encoder <name>',
        'a name that `lamina encoders` lists, an ONNX file or a folder with one, or hf:owner/name[/file] (default: the one the model needs, or stain-texture)',
      ).env('LAMINA_ENCODER'),
    )
    .addOption(
      new Option('--weights <place>', 'weights of a listed encoder: an ONNX file, a folder, hf:owner/name[/file]').env(
        'LAMINA_WEIGHTS',
      ),
    )
    .addOption(
      new Option('--stain <method>', 'normalise the stains of each slide')
        .choices(['none', ...stainMethods])
        .default('none')
        .env('LAMINA_STAIN'),
    )
    .addOption(
      new Option('--stain-target <file>', 'picture of the colours to reach, or their numbers (JSON)').env(
        'LAMINA_STAIN_TARGET',
      ),
    )
    .addOption(
      new Option('--stain-augment <seed>', 'change the stains of each patch a little, at random').argParser(parseWhole),
    );
}

export const extractDefaults = { batch: 64, dtype: 'f16' } as const;

export function addExtractOptions(command: Command): Command {
  const { batch, dtype } = extractDefaults;
  return addEncoderOptions(addPatchOptions(command))
    .addOption(new Option('--batch <n>', 'patches a batch').argParser(parseCount).default(batch).env('LAMINA_BATCH'))
    .addOption(
      new Option('--dtype <type>', 'precision of the stored features')
        .choices(['f16', 'f32'])
        .default(dtype)
        .env('LAMINA_DTYPE'),
    );
}

/** How a batch goes about its slides. */
export interface BatchFlags {
  readonly retry: number;
  readonly failFast?: boolean;
  readonly shard?: Shard;
}

export function addBatchOptions(command: Command): Command {
  const keepGoing = new Option('--keep-going', 'go on when a slide fails (the default)');
  const failFast = new Option('--fail-fast', 'end with the first slide that fails').env('LAMINA_FAIL_FAST');
  addEither(command, keepGoing, failFast);
  return addSwitch(command.addOption(keepGoing), failFast)
    .option(
      '--dry-run',
      'only say how many patches, minutes and bytes what is not finished would be, from a sample of each slide',
    )
    .addOption(
      new Option('--retry <n>', 'try slides that failed so often again, after the others')
        .argParser(parseWhole)
        .default(0)
        .env('LAMINA_RETRY'),
    )
    .addOption(
      new Option('--shard <i/n>', 'only the i-th of n parts of the slides, for array jobs; i begins at 1')
        .argParser(shard)
        .env('LAMINA_SHARD'),
    );
}

/** @throws InvalidArgumentError */
function shard(text: string): Shard {
  const found = parseShard(text);
  if (!found) throw new InvalidArgumentError('It must be a part and the number of parts, such as 1/8 to 8/8.');
  return found;
}

export function addExplainOption(command: Command): Command {
  return addSwitch(
    command,
    new Option(
      '--explain',
      'evidence, gradients and hidden attention of each patch as well, as `lamina explain` writes them',
    ).env('LAMINA_EXPLAIN'),
  );
}

export interface QueueFlags {
  readonly queue: string;
}

export function addQueueOption(command: Command): Command {
  const option = new Option('--queue <url>', 'the Redis that keeps the queue').env('LAMINA_QUEUE');
  return command.addOption(option.makeOptionMandatory());
}

export interface DeviceFlags {
  readonly device: DeviceChoice;
  readonly threads?: number;
  readonly modelType?: BlockType;
  readonly explain?: boolean;
}

/** What was not said is null. Paths are made whole: a queue's workers may run elsewhere. */
export function lineOptions(
  flags: Partial<EncoderFlags> & Pick<ExtractFlags, 'patchSize' | 'targetMpp'> & Partial<DeviceFlags>,
  model: string | null,
): LineOptions {
  const { encoder, weights, device = 'auto', threads = null, modelType = null, explain = false } = flags;
  const { patchSize: patchPx = null, targetMpp: patchMpp = null } = flags;
  const { stain: method = 'none', stainTarget, stainAugment: augmentSeed = null } = flags;
  return {
    model,
    modelType,
    encoder: encoder === undefined ? null : wholePlace(encoder),
    weights: weights === undefined ? null : wholePlace(weights),
    stain: { method, target: stainTarget === undefined ? null : resolve(stainTarget), augmentSeed },
    device,
    threads,
    explain,
    patchPx,
    patchMpp,
  };
}

/** Names and `hf:` addresses stay as they are. */
function wholePlace(place: string): string {
  const isPath = !place.startsWith('hf:') && (/[/\\]/.test(place) || place.endsWith('.onnx'));
  return isPath ? resolve(place) : place;
}

export function addDeviceOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--device <kind>',
        'where model and encoder run; auto takes a GPU if there is a real one; webgpu-f16 stores activations of the model in 16 bits',
      )
        .choices(deviceChoices)
        .default('auto')
        .env('LAMINA_DEVICE'),
    )
    .addOption(
      new Option(
        '--threads <n>',
        'threads on the CPU, of the wasm device and of an encoder in ONNX (default: the cores)',
      )
        .argParser(parseCount)
        .env('LAMINA_THREADS'),
    );
}
