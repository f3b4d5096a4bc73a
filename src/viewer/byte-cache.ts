/** A cache of byte arrays, bounded by their sum; what is being made is made once, however many ask for it. */
export class ByteCache {
  /** Least recently used first. */
  private readonly stored = new Map<string, Uint8Array<ArrayBuffer>>();
  private readonly making = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  private readonly limitBytes: number;
  private storedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  async get(key: string, make: () => Promise<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
    const found = this.stored.get(key);
    if (found) {
      this.stored.delete(key);
      this.stored.set(key, found);
      return found;
    }
    const underway = this.making.get(key);
    if (underway) return underway;
    const made = make().then((bytes) => this.keep(key, bytes));
    this.making.set(key, made);
    try {
      return await made;
    } finally {
      this.making.delete(key);
    }
  }

  private keep(key: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (bytes.length > this.limitBytes) return bytes;
    this.stored.set(key, bytes);
    this.storedBytes += bytes.length;
    for (const [oldest, { length }] of this.stored) {
      if (this.storedBytes <= this.limitBytes) break;
      this.stored.delete(oldest);
      this.storedBytes -= length;
    }
    return bytes;
  }
}
