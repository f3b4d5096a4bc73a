/** Micrometres per pixel: where they may come from, and which values no microscope gives. */
import { UserError } from '../errors.ts';
import type { Mpp, MppSource } from '../units.ts';
import type { Scale } from './slide.ts';

/** What the caller knows better than the file. */
export interface GivenScale {
  /** Micrometres per level-0 pixel; goes before what the file says. */
  readonly mpp?: Mpp | undefined;
  /** Where `mpp` comes from; `flag` if not said. */
  readonly mppSource?: Extract<MppSource, 'flag' | 'manifest'> | undefined;
}

/** Between an oil immersion lens scanned twice too fine and a slide seen with the naked eye. */
const plausible = { least: 0.05, most: 20 };
/** A scanner's lens of 10x gives about one micrometre per pixel. */
const mppOfObjective1 = 10;
const objectiveTolerance = 0.25;
/** The smallest level of a pyramid, alone in a file. */
const greatestReduction = 256;

/**
 * The scale of a slide: what the caller says, else what the file says, else what the objective suggests, else none.
 *
 * @param stated micrometres per pixel in the file, null if it does not say.
 * @param reduced whether the file says that its pixels are a reduced copy of a scan: those may be large, and say nothing of a lens.
 * @throws UserError `implausible-mpp`
 */
export function scaleOf(
  name: string,
  given: GivenScale,
  stated: number | null,
  objectivePower: number | null,
  { reduced = false } = {},
): Scale {
  if (given.mpp !== undefined) {
    const source = given.mppSource ?? 'flag';
    const problem = `${given.mpp} um/px (from the ${source}) is no scale of a microscope slide (${name}).`;
    if (!isPlausible(given.mpp)) {
      throw new UserError('implausible-mpp', problem, `Give a number from ${plausible.least} to ${plausible.most}.`);
    }
    // Who says it on the command line means it; a line of a table may have slipped.
    if (source === 'manifest' && !reduced) requireObjective(`The manifest says of ${name}`, given.mpp, objectivePower);
    return { mpp: given.mpp, source };
  }
  if (stated !== null) {
    if (!(stated >= plausible.least && stated <= plausible.most * (reduced ? greatestReduction : 1))) {
      throw new UserError(
        'implausible-mpp',
        `${name} says that a pixel is ${stated} um wide, which no microscope slide is (${plausible.least} to ${plausible.most}).`,
        'Find out the true scale and give it with --mpp.',
      );
    }
    if (!reduced) requireObjective(`${name} says`, stated, objectivePower);
    return { mpp: stated, source: 'file' };
  }
  if (objectivePower !== null) return { mpp: mppOfObjective1 / objectivePower, source: 'objective' };
  return { mpp: null, source: 'none' };
}

/** Whether a lens of that power gives another scale by more than 25 %. */
export function contradictsObjective(mpp: Mpp, objectivePower: number | null): boolean {
  return objectivePower !== null && Math.abs((mpp * objectivePower) / mppOfObjective1 - 1) > objectiveTolerance;
}

function requireObjective(who: string, mpp: Mpp, objectivePower: number | null): void {
  if (!contradictsObjective(mpp, objectivePower)) return;
  throw new UserError(
    'implausible-mpp',
    `${who} that a pixel is ${mpp} um wide, but it was seen through an objective of ${objectivePower}x, which gives about ${mppOfObjective1 / objectivePower!}.`,
    'Find out the true scale and give it with --mpp.',
  );
}

function isPlausible(mpp: number): boolean {
  return mpp >= plausible.least && mpp <= plausible.most;
}

/** Densities that picture programs write when they know nothing: dots per inch, and "one per millimetre" of libvips. */
const placeholders = [
  1, 25.4, 72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 250, 254, 300, 350, 360, 400, 600, 720, 1200,
];

/** Micrometres per pixel out of TIFF resolution tags; null without a unit or when the number is a density for print. */
export function mppOfResolution(pixelsPerUnit: number, unit: number): number | null {
  const unitUm = unit === 2 ? 25400 : unit === 3 ? 10000 : 0;
  if (unitUm === 0 || !(pixelsPerUnit > 0)) return null;
  const perInch = (pixelsPerUnit * 25400) / unitUm;
  if (placeholders.some((density) => Math.abs(perInch / density - 1) < 0.005)) return null;
  return unitUm / pixelsPerUnit;
}
