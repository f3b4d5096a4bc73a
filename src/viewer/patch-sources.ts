/** Which patches feed a chosen one in the scans of the model (hidden attention, docs/explanations.md). */
import { UserError } from '../errors.ts';
import type { PatchEntry, Scores } from './api.ts';
import type { PredictedSlide, RunModel } from './run-model.ts';

/** @throws UserError `no-patch`, `no-scan`, and as `RunModel.ask`. */
export async function patchSources(
  model: RunModel,
  subject: PredictedSlide,
  entry: Partial<PatchEntry>,
  signal: AbortSignal,
): Promise<Scores> {
  return await model.ask(subject, signal, async (predictor, bag) => {
    const row = rowAt(bag.coords, entry);
    if (row < 0) throw noPatch(subject.slide.id);
    return { coords: bag.coords, values: await predictor.sources(bag, row) };
  });
}

/** The row of the patch at a place; -1 when there is none. */
export function rowAt(coords: Int32Array, { x, y }: Partial<PatchEntry>): number {
  for (let row = 0; row < coords.length / 2; row++) if (coords[2 * row] === x && coords[2 * row + 1] === y) return row;
  return -1;
}

export function noPatch(slide: string): UserError {
  return new UserError('no-patch', `${slide} has no patch there.`, 'Choose a patch of the heatmap.');
}
