/** First-fit allocation of a growing linear memory: blocks of 64 bytes and more, neighbours joined when freed. */

interface Free {
  start: number;
  bytes: number;
}

const ALIGN = 64;

export class Heap {
  /** Free blocks by address. */
  readonly #free: Free[] = [];
  #end: number;
  #live = 0;
  #peak = 0;

  constructor(
    start: number,
    /** Called with the first byte beyond a block of `bytes` that is wanted; makes the memory reach there or throws. */
    readonly reach: (end: number, bytes: number) => void,
  ) {
    this.#end = Math.ceil(start / ALIGN) * ALIGN;
  }

  get live(): number {
    return this.#live;
  }

  get peak(): number {
    return this.#peak;
  }

  /** Byte address of a block of at least `bytes`. @throws Error for what is no number of bytes, which would give somebody else's. */
  take(bytes: number): number {
    if (!(bytes > 0 && Number.isSafeInteger(bytes))) throw new Error(`a block of ${bytes} bytes`);
    const size = sizeOfBlock(bytes);
    const at = this.#free.findIndex((block) => block.bytes >= size);
    let start: number;
    if (at >= 0) {
      const block = this.#free[at]!;
      start = block.start;
      block.start += size;
      block.bytes -= size;
      if (block.bytes === 0) this.#free.splice(at, 1);
    } else {
      const last = this.#free.at(-1);
      start = last && last.start + last.bytes === this.#end ? last.start : this.#end;
      this.reach(start + size, size);
      if (start !== this.#end) this.#free.pop();
      this.#end = start + size;
    }
    this.#live += size;
    this.#peak = Math.max(this.#peak, this.#live);
    return start;
  }

  give(start: number, bytes: number): void {
    const size = sizeOfBlock(bytes);
    this.#live -= size;
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    const before = this.#free[low - 1];
    const after = this.#free[low];
    const joinsBefore = before && before.start + before.bytes === start;
    const joinsAfter = after && start + size === after.start;
    if (joinsBefore && joinsAfter) {
      before.bytes += size + after.bytes;
      this.#free.splice(low, 1);
    } else if (joinsBefore) before.bytes += size;
    else if (joinsAfter) {
      after.start = start;
      after.bytes += size;
    } else this.#free.splice(low, 0, { start, bytes: size });
  }
}

function sizeOfBlock(bytes: number): number {
  return Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
}
