/** A cache of byte arrays, bounded by their sum; what is being made is made once, however many ask for it. */
export type Bytes = Uint8Array<ArrayBuffer>;

interface Making {
  readonly made: Promise<Bytes>;
  readonly limit: NodeJS.Timeout;
  readonly stop: AbortController;
  waiting: number;
  done: boolean;
}

export class ByteCache {
  /** Least recently used first. */
  private readonly stored = new Map<string, Bytes>();
  private readonly making = new Map<string, Making>();
  private readonly limitBytes: number;
  private readonly limitMs: number;
  private storedBytes = 0;

  /** @param limitMs what takes longer to make is given up: a network drive may hang. */
  constructor(limitBytes: number, limitMs = 30_000) {
    this.limitBytes = limitBytes;
    this.limitMs = limitMs;
  }

  /** What is kept under `key`, else what `make` gives. Its work is stopped when nobody waits for it any more. */
  async get(key: string, make: (signal: AbortSignal) => Promise<Bytes>, signal?: AbortSignal): Promise<Bytes> {
    const found = this.find(key);
    if (found) return found;
    signal?.throwIfAborted();
    const underway = this.making.get(key) ?? this.start(key, make);
    underway.waiting++;
    const leave = () => {
      if (--underway.waiting === 0) this.end(key, underway);
    };
    return signal ? untilAborted(underway.made, signal).finally(leave) : underway.made.finally(leave);
  }

  /** What is kept under `key`; it is then the most recently used. */
  find(key: string): Bytes | undefined {
    const found = this.stored.get(key);
    if (!found) return undefined;
    this.stored.delete(key);
    this.stored.set(key, found);
    return found;
  }

  keep(key: string, bytes: Bytes): Bytes {
    if (bytes.length > this.limitBytes) return bytes;
    this.storedBytes += bytes.length - (this.stored.get(key)?.length ?? 0);
    this.stored.set(key, bytes);
    for (const [oldest, { length }] of this.stored) {
      if (this.storedBytes <= this.limitBytes) break;
      this.stored.delete(oldest);
      this.storedBytes -= length;
    }
    return bytes;
  }

  private start(key: string, make: (signal: AbortSignal) => Promise<Bytes>): Making {
    const stop = new AbortController();
    const limit = setTimeout(() => stop.abort(new DOMException('It took too long.', 'TimeoutError')), this.limitMs);
    const finished = make(stop.signal)
      .then((bytes) => this.keep(key, bytes))
      .finally(() => {
        underway.done = true;
      });
    const made = untilAborted(finished, stop.signal);
    made.catch(() => {}); // whoever waits hears of it
    const underway = { made, limit, stop, waiting: 0, done: false };
    this.making.set(key, underway);
    return underway;
  }

  private end(key: string, underway: Making): void {
    if (this.making.get(key) === underway) this.making.delete(key);
    clearTimeout(underway.limit);
    if (!underway.done) underway.stop.abort();
  }
}

/** What `work` gives, or the signal's reason as soon as it is aborted. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
