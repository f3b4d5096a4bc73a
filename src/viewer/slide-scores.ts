/** The scores of a slide's patches, out of its bag. */
import { UserError } from '../errors.ts';
import { readBagHead, readBagRows } from '../features/store.ts';
import type { SlideResult } from '../mil/result.ts';
import type { Scores } from './api.ts';

/**
 * Names of the score columns, `attention` first.
 * @throws UserError `no-bag`, `bad-bag`, `bag-mismatch` (a bag of another slide), `no-coords`, `no-scores`.
 */
export async function scoreColumns(bagPath: string, slide: SlideResult): Promise<string[]> {
  const { meta } = await readBagHead(bagPath);
  if (meta.slideHash !== slide.hash) {
    throw new UserError(
      'bag-mismatch',
      `The bag of ${slide.id} belongs to another slide (${meta.slideHash}, this one is ${slide.hash}); its scores are not shown.`,
      'Extract and run the slide again.',
    );
  }
  for await (const { coords, scores } of readBagRows(bagPath)) {
    if (!coords) {
      throw new UserError(
        'no-coords',
        `The bag of ${slide.id} does not say where its patches lie.`,
        'Extract it again with coordinates to see a heatmap.',
      );
    }
    const names = Object.keys(scores);
    if (names.length > 0) return names.sort((a, b) => rank(a) - rank(b));
    break;
  }
  throw new UserError(
    'no-scores',
    `The bag of ${slide.id} has no scores, so there is no heatmap.`,
    'Run the slide with a model that has attention.',
  );
}

function rank(column: string): number {
  return column === 'attention' ? 0 : 1;
}

/** One column with the places of the patches. Errors as `readBagRows`; `no-scores` when the bag lacks the column. */
export async function readScores(bagPath: string, column: string): Promise<Scores> {
  const coords: Int32Array[] = [];
  const values: Float32Array[] = [];
  for await (const rows of readBagRows(bagPath)) {
    const score = Object.hasOwn(rows.scores, column) ? rows.scores[column] : undefined;
    if (!rows.coords || !score) {
      throw new UserError('no-scores', `The bag has no scores named ${column}.`, 'Reload the page.');
    }
    coords.push(rows.coords);
    values.push(score);
  }
  return {
    coords: joined(coords, (length) => new Int32Array(length)),
    values: joined(values, (length) => new Float32Array(length)),
  };
}

function joined<T extends Int32Array | Float32Array>(parts: readonly T[], create: (length: number) => T): T {
  const whole = create(parts.reduce((sum, part) => sum + part.length, 0));
  let start = 0;
  for (const part of parts) {
    whole.set(part, start);
    start += part.length;
  }
  return whole;
}
