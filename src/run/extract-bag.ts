/** Patches through the encoder into a bag: a batch is read, one is encoded and one written at the same time. */
import type { Encoder } from '../features/encoder.ts';
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
  /** Patches encoded so far, those left out included. Awaited: the next ones are encoded meanwhile, but not put away. */
  readonly onProgress: (done: number) => Promise<void>;
}

interface EncodedBatch {
  readonly batch: PatchStreamBatch;
  /** count x dimension. */
  readonly features: Float32Array;
}

/**
 * Puts the patches that the sieve keeps into the sink, which the caller finishes.
 *
 * @param batches the patches of the grid, in its order.
 * @throws UserError of the sink and the encoder; the signal's reason.
 */
export async function extractBag(
  grid: PatchGrid,
  batches: AsyncIterable<PatchStreamBatch>,
  encoder: Encoder,
  sink: BagSink,
  { sieve, recolouring, signal, onProgress }: ExtractOptions,
): Promise<void> {
  for await (const { batch, features } of encoded(encoder, batches, recolouring, signal)) {
    const rows = sieve.rows(batch);
    batch.release();
    await sink.append(
      pickRows(features, encoder.dimension, rows),
      pickRows(grid.coords.subarray(2 * batch.first, 2 * (batch.first + batch.count)), 2, rows),
    );
    await onProgress(batch.first + batch.count);
  }
}

/** In the order of the batches. The encoder always has the next batch waiting while it works on one. */
async function* encoded(
  encoder: Encoder,
  batches: AsyncIterable<PatchStreamBatch>,
  slide: Recolouring | null,
  signal: AbortSignal,
): AsyncGenerator<EncodedBatch> {
  const underway: Promise<EncodedBatch>[] = [];
  try {
    for await (const batch of batches) {
      const { pixels, count, size, first } = batch;
      const recolouring = slide && { ...slide, first };
      const work = encoder
        .encode({ pixels, count, size, recolouring }, signal)
        .then((features) => ({ batch, features }));
      // It is awaited later; until then its failure is not an unhandled one.
      work.catch(() => {});
      underway.push(work);
      if (underway.length === 2) yield await underway.shift()!;
    }
    while (underway.length > 0) yield await underway.shift()!;
  } finally {
    await Promise.allSettled(underway);
  }
}

function pickRows<T extends Float32Array | Int32Array>(values: T, width: number, rows: readonly number[] | null): T {
  if (!rows) return values;
  const picked = values.slice(0, rows.length * width) as T;
  rows.forEach((row, i) => void picked.set(values.subarray(row * width, (row + 1) * width), i * width));
  return picked;
}
