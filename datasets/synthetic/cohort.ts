/** A cohort of synthetic slides: half of them with tumour, from two laboratories, with the manifest that the commands read. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom, shuffle } from '../../src/random.ts';
import type { Level0Px, Mpp } from '../../src/units.ts';
import type { Artefact } from './artefacts.ts';
import type { Stain } from './paint.ts';
import { DEFAULT_STAIN, type SyntheticTruth, writeSyntheticSlide } from './slide.ts';

export type SyntheticLabel = 'normal' | 'tumour';
export type SyntheticSite = 'A' | 'B' | 'C';

export interface SyntheticCohortOptions {
  readonly slides: number;
  readonly seed: number;
  /** Size of every slide; 6000 x 4500 unless given. */
  readonly widthPx?: Level0Px;
  readonly heightPx?: Level0Px;
  /** 0.5 unless given. */
  readonly mpp?: Mpp;
  /** Only the slides of one split, those that the whole cohort would have. */
  readonly split?: CohortSlide['split'];
  /** Where all slides come from; A and B in turn unless given. */
  readonly site?: SyntheticSite;
  /** What went wrong with every slide; nothing unless given. */
  readonly artefacts?: readonly Artefact[];
  /** Hears of each slide when it is written. */
  readonly onSlide?: (slide: CohortSlide) => void;
}

export interface CohortSlide {
  /** File name without extension. */
  readonly id: string;
  readonly path: string;
  readonly patient: string;
  readonly label: SyntheticLabel;
  readonly split: 'train' | 'test';
  readonly site: SyntheticSite;
  readonly truth: SyntheticTruth;
}

export interface SyntheticCohort {
  /** CSV: slide, patient, label, mpp, split, site; slides relative to it. */
  readonly manifest: string;
  readonly slides: readonly CohortSlide[];
}

/** Laboratory B stains bluer and scans under a warmer lamp; C is like neither: paler nuclei, more eosin. */
const STAINS: Record<SyntheticSite, Stain> = {
  A: DEFAULT_STAIN,
  B: { haematoxylin: [0.96, 0.88, 0.4], eosin: [0.14, 0.46, 0.2], glass: [244, 242, 238] },
  C: { haematoxylin: [0.62, 0.78, 0.42], eosin: [0.08, 0.56, 0.3], glass: [242, 239, 232] },
};
const TEST_SHARE = 0.25;

/**
 * Writes `synthetic-01.tif`, its truth, ... and `manifest.csv` into `directory`. Labels, sites and splits are balanced. The same seed
 * gives the same slides, also when their stain or what went wrong with them is another.
 */
export async function writeSyntheticCohort(
  directory: string,
  options: SyntheticCohortOptions,
): Promise<SyntheticCohort> {
  const { slides: count, seed, widthPx = 6000, heightPx = 4500, mpp = 0.5, artefacts = [] } = options;
  await mkdir(directory, { recursive: true });
  const slides: CohortSlide[] = [];
  for (const [i, planned] of plan(count, seed).entries()) {
    if (options.split && planned.split !== options.split) continue;
    const row = { ...planned, site: options.site ?? planned.site };
    const number = String(i + 1).padStart(2, '0');
    const id = `synthetic-${number}`;
    const path = join(directory, `${id}.tif`);
    const look = { widthPx, heightPx, mpp, tumour: row.label === 'tumour', stain: STAINS[row.site], artefacts };
    const truth = await writeSyntheticSlide(path, { seed: seed * 1000 + i, ...look });
    // On empty glass there is no tumour, whatever was planned.
    const label = truth.tumour ? 'tumour' : 'normal';
    const slide: CohortSlide = { id, path, patient: `P${number}`, ...row, label, truth };
    slides.push(slide);
    options.onSlide?.(slide);
  }

  const manifest = join(directory, 'manifest.csv');
  const lines = slides.map(({ id, patient, label, split, site }) =>
    [`${id}.tif`, patient, label, mpp, split, site].join(','),
  );
  await writeFile(`${manifest}.partial`, `${['slide,patient,label,mpp,split,site', ...lines].join('\n')}\n`);
  await rename(`${manifest}.partial`, manifest);
  return { manifest, slides };
}

/** Per label: the last quarter is for testing (one slide at least), and the sites alternate. */
function plan(count: number, seed: number): Pick<CohortSlide, 'label' | 'split' | 'site'>[] {
  const rows = (['tumour', 'normal'] as const).flatMap((label, odd) => {
    const ofLabel = (count + odd) >> 1;
    const tests = Math.max(1, Math.round(TEST_SHARE * ofLabel));
    return Array.from({ length: ofLabel }, (_, i) => ({
      label,
      split: i >= ofLabel - tests ? ('test' as const) : ('train' as const),
      site: (i + odd) % 2 === 0 ? ('A' as const) : ('B' as const),
    }));
  });
  return shuffle(createRandom(seed), rows);
}
