/** An evaluation on disk: the report, and the same as JSON and CSV. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { formatTable } from '../csv.ts';
import type { Evaluation } from '../mil/evaluation.ts';
import { makeFolder, writeJson, writeWhole } from '../run/whole-file.ts';
import { evaluationReport, type ReportContext } from './evaluation-report.ts';

/** Writes `evaluation.json`, `metrics.csv` and, last, `report.html`. @throws UserError `cannot-write` */
export async function writeEvaluation(folder: string, evaluation: Evaluation, context: ReportContext): Promise<void> {
  await makeFolder(folder);
  await writeJson(join(folder, 'evaluation.json'), { ...context, ...evaluation });
  await writeWhole(join(folder, 'metrics.csv'), metricsTable(evaluation));
  await writeWhole(join(folder, 'report.html'), evaluationReport(evaluation, context));
}

/** One figure a row: model, level, class (empty: of all), figure, value and interval; empty cells are undefined. */
export function metricsTable({ models }: Evaluation): string {
  const rows = models.flatMap((model) =>
    (['slides', 'patients'] as const).flatMap((level) => {
      const found = model[level];
      if (!found) return [];
      const groups = [{ name: '', figures: found.figures }, ...found.classes];
      return groups.flatMap(({ name, figures }) =>
        Object.entries(figures).map(([figure, { value, low, high }]) => {
          return { model: model.name, level, class: name, figure, value, low, high };
        }),
      );
    }),
  );
  return formatTable(['model', 'level', 'class', 'figure', 'value', 'low', 'high'], rows);
}

export function hashOfText(text: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
