/** `lamina info`: what a slide file holds. */
import type { Command } from 'commander';
import { UserError } from '../errors.ts';
import { findSlides } from '../run/slide-inputs.ts';
import { openSlide } from '../tiling/open-slide.ts';
import type { Slide } from '../tiling/slide.ts';
import { hashSlide } from '../tiling/slide-hash.ts';
import type { MppSource } from '../units.ts';
import { interruptSignal } from './interrupt.ts';
import { parsePositive } from './options.ts';
import { bold, printFacts, printJson, printLine, printTable } from './print.ts';

interface Options {
  readonly mpp?: number;
  readonly json?: boolean;
}

const SCALE_SOURCES: Readonly<Record<MppSource, string>> = {
  file: 'from the file',
  flag: 'from --mpp',
  manifest: 'from the manifest',
  objective: 'derived from the objective; check it',
  none: '',
};

export function configure(command: Command): void {
  command
    .argument('<slide>', 'slide file, folder of DICOM files or of Deep Zoom, or http(s) address')
    .option('--mpp <um>', 'micrometres per pixel, over what the file says', parsePositive)
    .option('--json', 'print one JSON object')
    .action(async (name: string, options: Options) => {
      const source = await oneSlide(name);
      const slide = await openSlide(source, options.mpp === undefined ? {} : { mpp: options.mpp });
      try {
        const hash = await hashSlide(source, interruptSignal());
        if (options.json) printJson({ ...facts(slide), hash, properties: slide.properties });
        else printInfo(slide, hash);
      } finally {
        await slide.close();
      }
    });
}

/** @throws UserError `nothing-matched`, `several-slides` */
async function oneSlide(name: string): Promise<string> {
  const [slide, ...others] = await findSlides([name]);
  if (others.length === 0) return slide!.source;
  const problem = `${name} has ${1 + others.length} slides: ${[slide!, ...others].map(({ id }) => id).join(', ')}.`;
  throw new UserError('several-slides', problem, 'Name one of them.');
}

function facts({ source, format, vendor, scale, objectivePower, levels, associated }: Slide) {
  return { source, format, vendor, mpp: scale.mpp, mppSource: scale.source, objectivePower, levels, associated };
}

function printInfo(slide: Slide, hash: string): void {
  const { scale, levels } = slide;
  printLine(bold(slide.source));
  printFacts({
    format: slide.format,
    vendor: slide.vendor ?? 'not said',
    size: `${levels[0]!.width} x ${levels[0]!.height} px`,
    scale: scale.mpp === null ? 'unknown; give it with --mpp' : `${scale.mpp} um/px, ${SCALE_SOURCES[scale.source]}`,
    objective: slide.objectivePower === null ? 'not said' : `${slide.objectivePower}x`,
    associated: slide.associated.join(', ') || 'none',
    hash,
  });
  printLine();
  printTable(
    levels.map(({ width, height, downsample, tileWidth, tileHeight }, level) => ({
      level,
      width,
      height,
      downsample: Number(downsample.toFixed(4)),
      tiles: `${tileWidth} x ${tileHeight}`,
    })),
  );
}
