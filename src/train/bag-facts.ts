/** What the bags of a cohort are, seen before any training: sizes, encoders, scales, numbers that are none. */
import { messageOf, UserError } from '../errors.ts';
import type { BagMeta } from '../features/bag.ts';
import { notFinite } from '../features/bag-fault.ts';
import { readBagHead, readBagRows } from '../features/store.ts';
import type { BagFile } from './bag-files.ts';
import { type CohortRow, listed, namedRows } from './cohort.ts';

export interface BagFacts {
  readonly meta: BagMeta;
  readonly dimension: number;
  readonly count: number;
  readonly placed: boolean;
  /** Patch and feature of the first number that is none; null when all are finite. */
  readonly notFinite: string | null;
}

/** @returns the facts, or in words why the file cannot be read. */
export async function readBagFacts({ path }: BagFile): Promise<BagFacts | string> {
  try {
    const { meta, dimension } = await readBagHead(path);
    let count = 0;
    let placed = false;
    let bad: string | null = null;
    for await (const { first, features, coords, count: rows } of readBagRows(path)) {
      bad ??= notFinite(features, dimension, first);
      count += rows;
      placed = coords !== null;
    }
    return { meta, dimension, count, placed, notFinite: bad };
  } catch (error) {
    return error instanceof UserError ? error.problem : messageOf(error);
  }
}

/** What all bags of a training have in common. */
export interface CommonFacts {
  readonly dimension: number;
  readonly encoder: string;
  readonly patchMpp: BagMeta['patchMpp'];
  readonly patchPx: BagMeta['patchPx'];
  readonly order: BagMeta['order'];
  /** Of each row. */
  readonly counts: readonly number[];
  readonly warnings: readonly string[];
}

/** Of a bag's um/px against that of the first, as a share. */
export const SCALE_TOLERANCE = 0.1;
/** Fewer patches are worth a word. */
export const TINY = 16;

/** @throws UserError `bad-bags` naming every row that cannot be trained on, before any time is spent. */
export async function requireTrainable(
  rows: readonly CohortRow[],
  files: readonly BagFile[],
  signal?: AbortSignal,
): Promise<CommonFacts> {
  const problems: string[] = [];
  const facts: (BagFacts | null)[] = [];
  for (const [i, file] of files.entries()) {
    signal?.throwIfAborted();
    const found = await readBagFacts(file);
    const row = namedRows([rows[i]!]);
    if (typeof found === 'string') problems.push(`${row}: ${found}`);
    else if (found.count === 0) problems.push(`${row}: the bag has no patches`);
    else if (found.notFinite) problems.push(`${row}: ${found.notFinite}`);
    facts.push(typeof found === 'string' ? null : found);
  }
  const known = facts.filter((fact) => fact !== null);
  const first = known[0];
  const differ = (what: string, valueIn: (facts: BagFacts) => string | number) => {
    const strangers = rows.filter((_, i) => facts[i] && first && valueIn(facts[i]) !== valueIn(first));
    if (first && strangers.length > 0) {
      const other = facts[rows.indexOf(strangers[0]!)]!;
      problems.push(`${namedRows(strangers)}: ${what} ${valueIn(other)}, the first bag has ${valueIn(first)}`);
    }
  };
  differ('features a patch:', ({ dimension }) => dimension);
  differ('the encoder is', ({ meta }) => meta.encoder);
  if (problems.length > 0 || !first) {
    const hint = 'Extract these slides again with one encoder, or leave them out of the table.';
    throw new UserError('bad-bags', `${listed(problems, 10)}.`, hint);
  }
  const scaleOf = ({ meta }: BagFacts) => meta.patchMpp ?? first.meta.patchMpp ?? 1;
  const scaled = rows.filter((_, i) => Math.abs(scaleOf(known[i]!) / scaleOf(first) - 1) > SCALE_TOLERANCE);
  const tiny = rows.filter((_, i) => known[i]!.count < TINY);
  const { encoder, patchMpp, patchPx, order } = first.meta;
  return {
    dimension: first.dimension,
    encoder,
    patchMpp,
    patchPx,
    order: known.every(({ meta }) => meta.order === order) ? order : 'unknown',
    counts: known.map(({ count }) => count),
    warnings: [
      ...(scaled.length > 0
        ? [`${namedRows(scaled)} have patches of another scale than ${scaleOf(first)} um/px.`]
        : []),
      ...(tiny.length > 0 ? [`${namedRows(tiny)} have fewer than ${TINY} patches.`] : []),
    ],
  };
}
