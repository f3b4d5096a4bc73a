/** What the bags of a cohort are, seen before any training: sizes, encoders, scales, numbers that are none. */
import { stat } from 'node:fs/promises';
import { messageOf, UserError } from '../errors.ts';
import type { BagMeta } from '../features/bag.ts';
import { notFinite } from '../features/bag-fault.ts';
import { readBagHead, readBagRows } from '../features/store.ts';
import { listed } from '../listed.ts';
import type { ModelConfig } from '../mil/model-card.ts';
import type { BagFile } from './bag-files.ts';
import { type CohortRow, namedRows } from './cohort.ts';
import type { Recipe } from './recipe.ts';
import { slideMark } from './training-slides.ts';

export interface BagFacts {
  readonly meta: BagMeta;
  readonly dimension: number;
  readonly count: number;
  /** Whether the bag says where its patches lie on the grid. */
  readonly placed: boolean;
  /** Another one when the file is written anew: its size and time. */
  readonly mark: string;
  /** Patch and feature of the first number that is none; null when all are finite. */
  readonly notFinite: string | null;
}

/** @returns the facts, or in words why the file cannot be read. */
export async function readBagFacts({ path }: BagFile): Promise<BagFacts | string> {
  try {
    const { meta, dimension } = await readBagHead(path);
    const { size, mtimeMs } = await stat(path);
    const stride = meta.strideLevel0Px ?? meta.patchLevel0Px;
    let count = 0;
    let placed = false;
    let bad: string | null = null;
    for await (const { first, features, coords, count: rows } of readBagRows(path)) {
      bad ??= notFinite(features, dimension, first);
      count += rows;
      placed = coords !== null && stride !== null;
    }
    return { meta, dimension, count, placed, mark: `${size} ${mtimeMs}`, notFinite: bad };
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
  /** Bags of each row order. */
  readonly orders: ReadonlyMap<BagMeta['order'], number>;
  /** Of each row. */
  readonly counts: readonly number[];
  readonly placed: readonly boolean[];
  readonly marks: readonly string[];
  /** `slideMark` of each row. */
  readonly slides: readonly string[];
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
  const orders = new Map<BagMeta['order'], number>();
  for (const { meta } of known) orders.set(meta.order, (orders.get(meta.order) ?? 0) + 1);
  return {
    dimension: first.dimension,
    encoder,
    patchMpp,
    patchPx,
    order: orders.size === 1 ? order : 'unknown',
    orders,
    counts: known.map(({ count }) => count),
    placed: known.map(({ placed }) => placed),
    marks: known.map(({ mark }) => mark),
    slides: known.map(({ meta }, i) => slideMark(files[i]!.id, meta)),
    warnings: [
      ...(scaled.length > 0
        ? [`${namedRows(scaled)} have patches of another scale than ${scaleOf(first)} um/px.`]
        : []),
      ...(tiny.length > 0 ? [`${namedRows(tiny)} have fewer than ${TINY} patches.`] : []),
    ],
  };
}

/** @throws UserError `no-coords` naming the rows whose patches lie nowhere, if the recipe orders them by their places. */
export function requirePlaced(
  rows: readonly CohortRow[],
  { placed }: CommonFacts,
  { scanOrders, rowOrders }: Recipe,
): void {
  const lost = rows.filter((_, i) => !placed[i]);
  const field = scanOrders.length > 0 ? 'scanOrders' : rowOrders.length > 0 ? 'rowOrders' : null;
  if (field === null || lost.length === 0) return;
  throw new UserError(
    'no-coords',
    `${namedRows(lost)}: these bags do not say where their patches lie, which ${field} goes by.`,
    `Extract these slides again with coordinates, or train without ${field}.`,
  );
}

/** A sentence if bags are listed in different orders and the model reads them as they are listed. */
export function mixedOrders({ orders }: CommonFacts, config: ModelConfig): string[] {
  if (orders.size < 2 || !('layers' in config) || config.orders) return [];
  const found = [...orders].map(([order, count]) => `${count} ${order}`).join(', ');
  return [
    `Bags list their patches in different orders (${found}), and a model that scans learns from who follows whom: extract all slides with one --order. The model will not refuse slides for their order.`,
  ];
}
