/** So many things a second for each key, a burst more at once (token bucket). */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

const MOST_KEYS = 10_000;

export class RateLimit {
  private readonly rate: Rate;
  /** Least recently used first. */
  private readonly buckets = new Map<string, { left: number; at: number }>();

  constructor(rate: Rate) {
    this.rate = rate;
  }

  /** Whether one more is allowed now. */
  take(key: string, now = performance.now()): boolean {
    const { perSecond, burst } = this.rate;
    const bucket = this.buckets.get(key) ?? { left: burst, at: now };
    const left = Math.min(burst, bucket.left + ((now - bucket.at) / 1000) * perSecond);
    const allowed = left >= 1;
    this.buckets.delete(key);
    this.buckets.set(key, { left: allowed ? left - 1 : left, at: now });
    if (this.buckets.size > MOST_KEYS) this.buckets.delete(this.buckets.keys().next().value!);
    return allowed;
  }

  forget(key: string): void {
    this.buckets.delete(key);
  }
}
