/**
 * The patches of a run that are most like a chosen one: cosine of their features, over all slides.
 *
 * Bags are read a record batch at a time, so that memory does not grow with the run; between two of them other requests are served.
 */
import { messageOf, UserError } from '../errors.ts';
import type { BagMeta } from '../features/bag.ts';
import { createSimilarity, type Similarity } from '../features/similarity.ts';
import { readBagHead, readBagRows, type StoredRows } from '../features/store.ts';
import type { SimilarEntry, SimilarPatch, SimilarView } from './api.ts';
import { noPatch, rowAt } from './patch-sources.ts';
import type { RunRecord, SlideRecord } from './run-folder.ts';

const MOST = 100;
/** Scanners and rounding differ by a few percent; the next power of a scanner is a factor of two away. */
const SCALE_TOLERANCE = 0.1;

interface Chosen {
  readonly slide: string;
  readonly x: number;
  readonly y: number;
  readonly dimension: number;
  readonly similarity: Similarity;
  readonly meta: BagMeta;
}

/** @throws UserError `no-patch`, `bad-request`, `no-features`, as `readBag` for the chosen patch's own bag; the signal's reason. */
export async function similarPatches(
  run: RunRecord,
  own: SlideRecord,
  { x, y, count = 12, otherSlides = false }: Partial<SimilarEntry>,
  signal: AbortSignal,
): Promise<SimilarView> {
  if (!Number.isInteger(count) || count < 1 || count > MOST) {
    throw new UserError('bad-request', `${count} patches cannot be found.`, `Ask for 1 to ${MOST}.`);
  }
  const start = performance.now();
  const chosen = await findChosen(own, x, y);
  const best = new Best(count);
  const refused: string[] = [];
  const searched = { slides: 0, patches: 0 };
  let neighbours = 0;
  for (const record of run.slides.values()) {
    if (!record.bag || !record.slide || record.live || (otherSlides && record.id === own.id)) continue;
    const side = record.slide.patch.level0Px;
    try {
      await requireComparable(record, chosen);
      for await (const rows of readBagRows(record.bag)) {
        signal.throwIfAborted();
        neighbours += compare(rows, record.id, side, chosen, best);
        searched.patches += rows.count;
      }
      searched.slides++;
    } catch (error) {
      signal.throwIfAborted();
      refused.push(messageOf(error));
    }
  }
  return { patches: best.patches, searched, neighbours, refused, seconds: (performance.now() - start) / 1000 };
}

async function findChosen({ id, bag }: SlideRecord, x?: number, y?: number): Promise<Chosen> {
  const { meta, dimension } = await readBagHead(bag!);
  if (dimension === 0) throw noFeatures(id);
  for await (const rows of readBagRows(bag!)) {
    const row = rows.coords ? rowAt(rows.coords, { x, y }) : -1;
    if (row < 0) continue;
    const vector = rows.features.slice(row * dimension, (row + 1) * dimension);
    if (vector.some((value) => value !== 0)) {
      return { slide: id, x: x!, y: y!, dimension, similarity: createSimilarity(vector), meta };
    }
    const problem = `All features of this patch of ${id} are zero, so nothing can be like it.`;
    throw new UserError('bad-request', problem, 'Choose another patch.');
  }
  throw noPatch(id);
}

/** Vectors of different encoders, or of patches of different scales, have nothing to do with each other. */
async function requireComparable({ id, slide, bag }: SlideRecord, chosen: Chosen): Promise<void> {
  const { meta, dimension } = await readBagHead(bag!);
  const differ = (what: string, found: unknown, wanted: unknown) =>
    new UserError(
      'encoder-mismatch',
      `${id} was not searched: its ${what} ${found}, the chosen patch’s ${wanted}.`,
      'Extract both slides alike.',
    );
  if (dimension === 0) throw noFeatures(id);
  if (meta.slideHash !== slide!.hash) {
    throw new UserError('bag-mismatch', `${id} was not searched: its bag belongs to another slide.`, 'Run it again.');
  }
  if (meta.encoder !== chosen.meta.encoder) throw differ('features are of', meta.encoder, `of ${chosen.meta.encoder}`);
  if (dimension !== chosen.dimension) throw differ('features a patch are', dimension, chosen.dimension);
  const [a, b] = [meta.patchMpp, chosen.meta.patchMpp];
  if (a === b) return;
  if (a === null || b === null || Math.abs(a / b - 1) > SCALE_TOLERANCE) {
    throw differ('patches are of', `${a ?? 'unknown'} um/px`, `of ${b ?? 'unknown'} um/px`);
  }
}

function noFeatures(id: string): UserError {
  return new UserError(
    'no-features',
    `${id}: the run kept its scores, not its features.`,
    'Run it again and keep bags.',
  );
}

/** @returns how many were left out because they touch the chosen patch. */
function compare({ stored, coords }: StoredRows, slide: string, side: number, chosen: Chosen, best: Best): number {
  if (!coords) return 0;
  let neighbours = 0;
  for (const [row, similarity] of chosen.similarity(stored).entries()) {
    const [x, y] = [coords[2 * row]!, coords[2 * row + 1]!];
    if (slide === chosen.slide && Math.abs(x - chosen.x) <= side && Math.abs(y - chosen.y) <= side) {
      if (x !== chosen.x || y !== chosen.y) neighbours++;
    } else if (similarity > best.least) best.add({ slide, x, y, side, similarity });
  }
  return neighbours;
}

/** The best so far, the first of equals. */
class Best {
  readonly patches: SimilarPatch[] = [];
  private readonly count: number;

  constructor(count: number) {
    this.count = count;
  }

  /** What one has to beat. */
  get least(): number {
    return this.patches.length < this.count ? Number.NEGATIVE_INFINITY : this.patches.at(-1)!.similarity;
  }

  add(patch: SimilarPatch): void {
    const place = this.patches.findIndex(({ similarity }) => similarity < patch.similarity);
    this.patches.splice(place < 0 ? this.patches.length : place, 0, patch);
    if (this.patches.length > this.count) this.patches.pop();
  }
}
