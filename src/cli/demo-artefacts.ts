/** `lamina demo --artefacts`: the held-out slides once more, each time with something else wrong with them, and what that costs. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SyntheticCohortOptions, writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { evaluate } from '../mil/evaluation.ts';
import { readPredictions } from '../mil/predictions.ts';
import { runBatch } from '../run/batch.ts';
import type { OpenLine } from '../run/line.ts';
import { findSlides } from '../run/slide-inputs.ts';
import type { SlideOutcome } from '../run/slide-run.ts';
import { plainTiling } from '../run/survey.ts';
import type { Exclusion } from '../tiling/patch-sieve.ts';
import { extractDefaults } from './options.ts';
import { printLine, printTable } from './print.ts';

interface Fault extends Pick<SyntheticCohortOptions, 'artefacts' | 'site'> {
  readonly name: string;
  readonly folder: string;
}

const FAULTS: readonly Fault[] = [
  { name: 'pen across the tissue', folder: 'pen', artefacts: ['pen'] },
  { name: '30 % out of focus', folder: 'blur', artefacts: ['blur'] },
  { name: 'stain of a third laboratory', folder: 'stain', site: 'C' },
  { name: 'no tissue on the glass', folder: 'empty', artefacts: ['empty'] },
];

/** All sharp patches of these slides are above the focus, those out of it below; a share of ink to start with (docs/slides.md). */
const LIMITS = { minFocus: 50, maxPen: 0.3 };

/**
 * @param folder for the slides and their runs; what is there already is used again.
 * @param heldOut table of the slides as they are. @param cohort what they are of.
 */
export async function runWithArtefacts(
  folder: string,
  heldOut: string,
  cohort: SyntheticCohortOptions,
  line: OpenLine,
  signal: AbortSignal,
): Promise<void> {
  const clean = await runOver(heldOut, join(folder, 'clean-run'), line, signal);
  const rows = [rowOf('nothing', clean, clean)];
  for (const { name, folder: own, ...fault } of FAULTS) {
    const manifest = join(folder, own, 'manifest.csv');
    if (!existsSync(manifest)) {
      process.stderr.write(`writing slides: ${name}\n`);
      const onSlide = () => signal.throwIfAborted();
      await writeSyntheticCohort(join(folder, own), { ...cohort, ...fault, split: 'test', onSlide });
    }
    rows.push(rowOf(name, await runOver(manifest, join(folder, own, 'run'), line, signal), clean));
  }
  printLine();
  printTable(rows);
  printLine(
    `Left out are patches whose sharpness is below ${LIMITS.minFocus} or of which more than ${LIMITS.maxPen} is ink, and all tissue under pen.`,
  );
}

interface SpoiltRun {
  readonly outcomes: readonly SlideOutcome[];
  readonly patches: number;
  readonly auc: number | null;
}

async function runOver(manifest: string, out: string, line: OpenLine, signal: AbortSignal): Promise<SpoiltRun> {
  const outcomes = await runBatch(await findSlides([manifest]), line, {
    out,
    mpp: null,
    tiling: { ...plainTiling(line.patchPx, line.patchMpp), ...LIMITS },
    batchSize: extractDefaults.batch,
    dtype: extractDefaults.dtype,
    keepBags: false,
    live: false,
    retries: 0,
    failFast: true,
    asked: {},
    signal,
    onEvent: () => {},
  });
  const patches = sum(outcomes, ({ finished }) => finished?.slide.nPatches);
  if (!outcomes.some(({ status }) => status === 'done')) return { outcomes, patches, auc: null };
  const summary = join(out, 'summary.csv');
  const predictions = readPredictions(summary, await readFile(summary, 'utf8'));
  const { slides } = evaluate([{ name: 'demo', predictions }]).models[0]!;
  return { outcomes, patches, auc: slides.figures.auc!.value };
}

function rowOf(name: string, { outcomes, patches, auc }: SpoiltRun, clean: SpoiltRun): Record<string, string> {
  const leftOut = (why: Exclusion) => `${sum(outcomes, ({ finished }) => finished?.slide.leftOut[why])}`;
  return {
    'what is wrong': name,
    slides: `${outcomes.length}`,
    'no tissue': `${outcomes.filter(({ status }) => status === 'no-tissue').length}`,
    patches: `${patches}`,
    'change, %': `${Math.round((100 * (patches - clean.patches)) / clean.patches)}`,
    blurred: leftOut('blurred'),
    'with ink': leftOut('pen'),
    AUC: auc?.toFixed(3) ?? '-',
  };
}

function sum(outcomes: readonly SlideOutcome[], of: (outcome: SlideOutcome) => number | undefined): number {
  return outcomes.reduce((total, outcome) => total + (of(outcome) ?? 0), 0);
}
