/** One of several equal parts of a batch, for array jobs: every n-th slide, so that large and small ones are shared out. */
export interface Shard {
  /** 1 to `count`. */
  readonly index: number;
  readonly count: number;
}

/** Null if the text is not of the form `3/8`. */
export function parseShard(text: string): Shard | null {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text.trim()) ?? [];
  const shard = { index: Number(index), count: Number(count) };
  return shard.index >= 1 && shard.index <= shard.count ? shard : null;
}

/** The parts of all shards together are the whole, each once. */
export function inShard<T>(all: readonly T[], { index, count }: Shard): T[] {
  return all.filter((_, i) => i % count === index - 1);
}
