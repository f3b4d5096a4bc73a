/**
 * Packed bags as the scan and the convolution see them: where bags start, and how they are cut into segments.
 * lbmamba-scan.md §3 (segments count from a bag's first token in scan order) and §4 (packing).
 */
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** Segment length of the local backward scan: a number, `auto` (by the bag's length, as the original), 0 or 1: forward only. */
export type SegmentLength = number | 'auto';

/** Token count of the segments that a forward-only scan is cut into; it does not change the result. */
const PLAIN_SEGMENT = 16;

export const FIRST_OF_BAG = 1;
export const LAST_OF_BAG = 2;
export const REVERSED = 4;
/** Of a piece of a segment: the segment goes on in the next row of the table, or comes from the row before. */
export const GOES_ON = 8;
export const CONTINUES = 16;

/** K of the original CUDA code on NVIDIA cards, which is what published weights were trained with. */
export function autoSegmentLength(tokens: number): number {
  return tokens <= 128 ? 4 : tokens <= 256 ? 8 : 16;
}

/** A run of bags, one after another, that are computed each as if alone. */
export class Sequence {
  readonly #cache = new Map<string, Segments>();
  #offsets: Tensor | null = null;

  constructor(
    readonly tape: Tape,
    /** Row at which each bag starts, and the total: `[0, 37, 74]`. */
    readonly offsets: readonly number[],
  ) {
    for (let i = 1; i < offsets.length; i++) {
      if (!((offsets[i] as number) >= (offsets[i - 1] as number))) throw new Error(`bag offsets fall: ${offsets}`);
    }
  }

  get tokens(): number {
    return this.offsets.at(-1) ?? 0;
  }

  get bags(): number {
    return this.offsets.length - 1;
  }

  /** The offsets on the device. */
  get offsetsOnDevice(): Tensor {
    this.#offsets ??= this.tape.keep(this.tape.constant(Int32Array.from(this.offsets), [this.offsets.length]));
    return this.#offsets;
  }

  segments(K: SegmentLength, reversed: boolean): Segments {
    const key = `${K} ${reversed}`;
    let segments = this.#cache.get(key);
    if (!segments) {
      const table = cutSegments(this.offsets, K, reversed, this.tape.device.scanPiece);
      const count = table.length / 4;
      segments = {
        table: this.tape.keep(this.tape.constant(table, [count, 4])),
        count,
        longest: longestRow(table),
        local: localKind(K, table),
      };
      this.#cache.set(key, segments);
    }
    return segments;
  }
}

export interface Segments {
  /** (count, 4) i32: first token, token count, flags, bag; in scan order. A row is a segment, or a piece of one. */
  readonly table: Tensor;
  readonly count: number;
  /** Tokens of the longest row. */
  readonly longest: number;
  readonly local: LocalKind;
}

/** Whether there is a local backward part, and if so, whether some segment takes more than one row. Kernels know the numbers. */
export const LOCAL = { none: 0, whole: 1, inPieces: 2 } as const;
export type LocalKind = (typeof LOCAL)[keyof typeof LOCAL];

/** @param longestPiece segments of more tokens take several rows of at most so many. */
export function cutSegments(
  offsets: readonly number[],
  K: SegmentLength,
  reversed: boolean,
  longestPiece: number,
): Int32Array {
  const rows: number[] = [];
  for (let bag = 0; bag + 1 < offsets.length; bag++) {
    const start = offsets[bag] as number;
    const end = offsets[bag + 1] as number;
    const chosen = K === 'auto' ? autoSegmentLength(end - start) : K;
    const length = chosen > 1 ? chosen : PLAIN_SEGMENT;
    for (let p = 0; p < end - start; ) {
      const inSegment = p % length;
      const left = Math.min(length - inSegment, end - start - p);
      const count = Math.min(left, longestPiece);
      const flags =
        (p === 0 ? FIRST_OF_BAG : 0) |
        (p + count === end - start ? LAST_OF_BAG : 0) |
        (reversed ? REVERSED : 0) |
        (count < left ? GOES_ON : 0) |
        (inSegment > 0 ? CONTINUES : 0);
      rows.push(reversed ? end - 1 - p : start + p, count, flags, bag);
      p += count;
    }
  }
  return Int32Array.from(rows);
}

export function longestRow(table: Int32Array): number {
  let longest = 1;
  for (let i = 1; i < table.length; i += 4) longest = Math.max(longest, table[i] as number);
  return longest;
}

export function localKind(K: SegmentLength, table: Int32Array): LocalKind {
  if (K !== 'auto' && K <= 1) return LOCAL.none;
  for (let i = 2; i < table.length; i += 4) if ((table[i] as number) & GOES_ON) return LOCAL.inPieces;
  return LOCAL.whole;
}
