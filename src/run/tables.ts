/** The tables of a run: `summary.csv` with every slide, `failures.csv` with those that failed and why. */
import { formatTable } from '../csv.ts';
import type { SlideOutcome } from './batch.ts';
import { writeWhole } from './whole-file.ts';

export async function writeSummary(
  path: string,
  outcomes: readonly SlideOutcome[],
  classes: readonly string[],
): Promise<void> {
  const columns = ['slide', 'patient', 'status', 'n_patches', ...classes.map(probabilityColumn), 'prediction', 'label'];
  await writeWhole(path, formatTable(columns, outcomes.map(summaryRow)));
}

export async function writeFailures(path: string, outcomes: readonly SlideOutcome[]): Promise<void> {
  const rows = outcomes.flatMap(({ input, failure }) => (failure ? [{ slide: input.id, ...failure }] : []));
  await writeWhole(path, formatTable(['slide', 'stage', 'code', 'message', 'hint'], rows));
}

function summaryRow({ input, status, finished }: SlideOutcome): Record<string, string | number | null> {
  const prediction = finished?.prediction;
  const probabilities =
    prediction?.classes.map((name, i) => [probabilityColumn(name), prediction.probabilities[i]!]) ?? [];
  return {
    slide: input.id,
    patient: input.patient,
    status,
    n_patches: finished?.slide.nPatches ?? null,
    ...Object.fromEntries(probabilities),
    prediction: prediction?.prediction ?? null,
    label: input.label,
  };
}

function probabilityColumn(name: string): string {
  return `probability_${name}`;
}
