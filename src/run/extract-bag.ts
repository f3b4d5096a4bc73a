/** Patches through the encoder into a bag: batches are read, encoded and written at the same time. */
import type { Recolouring } from '../features/stain.ts';
import type { PatchGrid } from '../tiling/grid.ts';
import type { PatchSieve } from '../tiling/patch-sieve.ts';
import type { PatchStreamBatch } from '../tiling/patches.ts';
import type { BagSink } from './bag-sink.ts';

export interface ExtractOptions {
  /** Which patches are kept; afterwards it knows which were not. */
  readonly sieve: PatchSieve;
  /** What is done to the colours of the slide. */
  readonly recolouring: Recolouring | null;
  readonly signal: AbortSignal;
  /** Told when the encoder has been given the last batch. */
  readonly onAllGiven: () => void;
  /** Patches encoded so far, those left out included. Awaited: the next ones are encoded meanwhile, but not put away. */
  readonly onProgress: (done: number) => Promise<void>;
}

interface EncodedBatch<Rows> {
  readonly batch: PatchStreamBatch;
  readonly rows: Rows;
}

/**
 * Puts the patches that the sieve keeps into the sink, which the caller finishes.
 *
 * @param batches the patches of the grid, in its order.
 * @throws UserError of the sink and its encoder; the signal's reason.
 */
export async function extractBag<Rows>(
  grid: PatchGrid,
  batches: AsyncIterable<PatchStreamBatch>,
  sink: BagSink<Rows>,
  { sieve, recolouring, signal, onAllGiven, onProgress }: ExtractOptions,
): Promise<void> {
  for await (const { batch, rows } of encoded(sink, batches, recolouring, signal, onAllGiven)) {
    const kept = sieve.rows(batch);
    batch.release();
    await sink.append(rows, kept, coordsOf(grid, batch, kept));
    await onProgress(batch.first + batch.count);
  }
}

/**
 * Batches in the encoder's hands: one to work on and some that wait, so that it does not run dry while this thread traces another
 * slide's outlines or reckons a prediction.
 */
const BATCHES_IN_HAND = 6;

/** In the order of the batches. */
async function* encoded<Rows>(
  sink: BagSink<Rows>,
  batches: AsyncIterable<PatchStreamBatch>,
  slide: Recolouring | null,
  signal: AbortSignal,
  onAllGiven: () => void,
): AsyncGenerator<EncodedBatch<Rows>> {
  const underway: Promise<EncodedBatch<Rows>>[] = [];
  try {
    for await (const batch of batches) {
      const { pixels, count, size, first } = batch;
      const recolouring = slide && { ...slide, first };
      const work = sink.encode({ pixels, count, size, recolouring }, signal).then((rows) => ({ batch, rows }));
      // It is awaited later; until then its failure is not an unhandled one.
      work.catch(() => {});
      underway.push(work);
      if (underway.length === BATCHES_IN_HAND) yield await underway.shift()!;
    }
    onAllGiven();
    while (underway.length > 0) yield await underway.shift()!;
  } finally {
    await Promise.allSettled(underway);
  }
}

function coordsOf(
  { coords }: PatchGrid,
  { first, count }: PatchStreamBatch,
  kept: readonly number[] | null,
): Int32Array {
  const all = coords.subarray(2 * first, 2 * (first + count));
  return kept ? Int32Array.from(kept.flatMap((row) => [all[2 * row]!, all[2 * row + 1]!])) : all;
}
