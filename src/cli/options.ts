/** Options that several commands share, and how their values are read. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DeviceChoice } from '../kernels/open-device.ts';
import type { BlockType } from '../mil/mamba-block.ts';
import type { LineOptions } from '../run/line.ts';

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

/** What `tile`, `extract` and `run` are told about the slides and the patches. */
export interface PatchFlags {
  readonly mpp?: number;
  readonly patchPx?: number;
  readonly patchMpp?: number;
}

export function addPatchOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--mpp <um>', 'micrometres per pixel of the slides, over what the files say')
        .argParser(parsePositive)
        .env('LAMINA_MPP'),
    )
    .addOption(
      new Option('--patch-px <px>', 'side of a patch (default: what the model or encoder wants)')
        .argParser(parseCount)
        .env('LAMINA_PATCH_PX'),
    )
    .addOption(
      new Option('--patch-mpp <um>', 'micrometres per pixel of the patches (default: likewise)')
        .argParser(parsePositive)
        .env('LAMINA_PATCH_MPP'),
    );
}

export interface ExtractFlags extends PatchFlags {
  readonly encoder?: string;
  readonly batch: number;
  readonly dtype: 'f16' | 'f32';
}

export function addExtractOptions(command: Command): Command {
  return addPatchOptions(command)
    .addOption(
      new Option('--encoder <name>', 'patch encoder (default: the one the model needs, or stain-texture)').env(
        'LAMINA_ENCODER',
      ),
    )
    .addOption(new Option('--batch <n>', 'patches a batch').argParser(parseCount).default(64).env('LAMINA_BATCH'))
    .addOption(
      new Option('--dtype <type>', 'precision of the stored features')
        .choices(['f16', 'f32'])
        .default('f16')
        .env('LAMINA_DTYPE'),
    );
}

export interface DeviceFlags {
  readonly device: DeviceChoice;
  readonly threads?: number;
  readonly modelType?: BlockType;
}

/** What was not said is null. */
export function lineOptions(flags: ExtractFlags & Partial<DeviceFlags>, model: string | null): LineOptions {
  const { encoder = null, device = 'auto', threads = null, modelType = null, patchPx = null, patchMpp = null } = flags;
  return { model, modelType, encoder, device, threads, patchPx, patchMpp };
}

export function addDeviceOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--device <kind>', 'where the model runs; auto takes a GPU if there is a real one')
        .choices(['auto', 'webgpu', 'wasm'])
        .default('auto')
        .env('LAMINA_DEVICE'),
    )
    .addOption(
      new Option('--threads <n>', 'threads of the wasm device (default: the cores)')
        .argParser(parseCount)
        .env('LAMINA_THREADS'),
    );
}
