/** Where the bags of a cohort are, and how training reads them: from the files of an extraction, or out of memory. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { cellsOfBag } from '../features/bag.ts';
import { notFinite } from '../features/bag-fault.ts';
import { readBag } from '../features/store.ts';
import { type CohortRow, namedRows } from './cohort.ts';
import { type BagSource, memorySource, type TrainingBag } from './training-bag.ts';

export interface BagFile {
  readonly id: string;
  readonly path: string;
}

/** Plain data, so that worker threads can be given it. */
export type SourceSpec =
  | { readonly kind: 'memory'; readonly bags: readonly TrainingBag[] }
  | { readonly kind: 'files'; readonly dimension: number; readonly files: readonly BagFile[] };

export function openBagSource(spec: SourceSpec): BagSource {
  if (spec.kind === 'memory') return memorySource(spec.bags);
  const { dimension, files } = spec;
  return { dimension, fresh: true, read: (row) => readTrainingBag(files[row]!, dimension) };
}

/** @throws UserError naming the file: unreadable, empty, of another width, or with numbers that are none. */
export async function readTrainingBag({ id, path }: BagFile, dimension: number | null): Promise<TrainingBag> {
  const bag = await readBag(path);
  if (dimension !== null && bag.dimension !== dimension) {
    throw new UserError(
      'mixed-bags',
      `${path}: ${bag.dimension} features a patch, the other bags have ${dimension}.`,
      'Extract all slides with one encoder.',
    );
  }
  if (bag.count === 0) {
    throw new UserError(
      'empty-bag',
      `${path}: the bag has no patches.`,
      'Leave the slide out, or check its tissue mask.',
    );
  }
  const bad = notFinite(bag.features, bag.dimension);
  if (bad) throw new UserError('not-finite', `${path}: ${bad}.`, 'Extract the slide again, or leave it out.');
  return {
    id,
    count: bag.count,
    dimension: bag.dimension,
    features: bag.features,
    cells: cellsOfBag(bag),
  };
}

/** A folder of bags, or a run: `<id>.arrow`, `<id>/bag.arrow`, `slides/<id>/bag.arrow`. */
export async function findBag(folder: string, id: string): Promise<string | null> {
  for (const path of [
    join(folder, `${id}.arrow`),
    join(folder, id, 'bag.arrow'),
    join(folder, 'slides', id, 'bag.arrow'),
  ]) {
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return null;
}

/** @throws UserError `no-bag` naming the rows without one. */
export async function findBags(folder: string, rows: readonly CohortRow[]): Promise<BagFile[]> {
  const paths = await Promise.all(rows.map(({ id }) => findBag(folder, id)));
  const missing = rows.filter((_, i) => paths[i] === null);
  if (missing.length > 0) {
    throw new UserError(
      'no-bag',
      `${folder} has no bag of ${missing.length} of ${rows.length} slides: ${namedRows(missing)}.`,
      'Extract them with `lamina extract`, or leave them out of the table.',
    );
  }
  return rows.map(({ id }, i) => ({ id, path: paths[i]! }));
}
